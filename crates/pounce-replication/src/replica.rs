//! The state machine: entries in the order of the log go in, changes of alerts and cases come out.
//!
//! Deterministic: replicas that applied the same entries are equal, whatever their own clocks
//! say. The only clock is the time at which the log took an entry in. It never goes back here, except
//! where a server of the log had a wrong clock: see [`AlertEngine::turn_back`].

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use crate::entry::{Advocate, Batch, EntryError, Item, LoggedObservation, NewerVersion};
use crate::form::{EntryForm, Membership};
use crate::log::{Entry, Extent};
use crate::sessions::{Session, Sessions};
use pounce_alerts::alert::{AlertChange, ChangeKind};
use pounce_alerts::{
    Acknowledged, AlertEngine, CloseError, ClosedAlert, Outage, Signal, UnknownAlert,
};
use pounce_cases::{Acted, CaseChange, CaseEngine, CaseError, FlaggedPost};
use pounce_types::post::Timestamp;

/// While any replica reaches the log there is an entry every second or two. A longer silence was an
/// outage, after which observations are on their way that belong into it.
const OUTAGE_MIN: Duration = Duration::from_secs(10);
/// Time that writers have after an outage to append what they kept.
const OUTAGE_GRACE: Duration = Duration::from_secs(30);

/// A writer appends something every few seconds. One that was silent for longer was killed, or is cut
/// off: nobody waits for the posts that it had in flight.
const WRITER_SILENCE_MAX: Duration = Duration::from_secs(10);
/// Who was not heard of for longer before an outage ended is no member of the fleet.
const CUT_OFF_MAX: Duration = Duration::from_secs(3600);
/// A signal that no observation rested on for this long is no longer used.
const SIGNAL_UNUSED: Duration = Duration::from_secs(60);
/// How often a snapshot is due, by the time of the log.
const SNAPSHOT_INTERVAL_MILLIS: u64 = 30_000;

/// What came of one item.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// An observation was counted, or not.
    Observed {
        /// Too far behind the watermark to be counted.
        late: bool,
        /// Its topic and id were seen before.
        duplicate: bool,
    },
    /// Somebody took an alert, or there is none with this id.
    Acknowledged(Result<Box<Acknowledged>, UnknownAlert>),
    /// Somebody closed an alert, or could not.
    Closed(Result<Box<ClosedAlert>, CloseError>),
    /// Somebody did something with a case, or could not.
    Case(Result<Box<Acted>, CaseError>),
    /// Nothing to tell.
    Done,
}

/// Where a change lies among all changes: the same on every replica.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChangePosition {
    /// Which log the numbers began with: when it was made, in milliseconds since 1970.
    pub origin: u64,
    /// From 1, without gaps.
    pub number: u64,
}

impl fmt::Display for ChangePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.origin, self.number)
    }
}

impl FromStr for ChangePosition {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let (origin, number) = text.split_once('.').unwrap_or((text, ""));
        Ok(Self { origin: origin.parse()?, number: number.parse()? })
    }
}

/// A change, numbered alike on every replica.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbered<C> {
    /// None where nobody can go on after it.
    pub position: Option<ChangePosition>,
    /// The change.
    pub change: C,
}

impl<C> Numbered<C> {
    /// Whether a watcher whose last change is `seen` saw it, on a replica that was ahead of this one.
    #[must_use]
    pub fn was_seen(&self, seen: Option<ChangePosition>) -> bool {
        let both = self.position.zip(seen);
        both.is_some_and(|(of, seen)| of.origin == seen.origin && of.number <= seen.number)
    }
}

/// A change of an alert.
pub type NumberedChange = Numbered<AlertChange>;

/// The engines that entries drive.
#[derive(Debug)]
pub struct Engines<'a> {
    /// Counts topics.
    pub alerts: &'a mut AlertEngine,
    /// Keeps cases.
    pub cases: &'a mut CaseEngine,
}

/// What was done with an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// Its items were applied.
    Counted,
    /// It is a retry of a batch that was applied before: only the time went on.
    Repeated,
    /// No release writes such an entry: it was skipped, as on every replica.
    Damaged(String),
}

/// What came of one entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// Who wrote it; 0 if it is damaged.
    pub writer: u64,
    /// Of the writer's batches.
    pub number: u64,
    /// What was done with it.
    pub disposition: Disposition,
    /// What came of each item, in order.
    pub outcomes: Vec<Outcome>,
    /// In the order in which they happened.
    pub changes: Vec<NumberedChange>,
    /// Those of cases, in the order in which they happened.
    pub case_changes: Vec<Numbered<CaseChange>>,
    /// Advocates that were not seen before.
    pub advocates: Vec<Advocate>,
    /// A snapshot is due, after this entry: whoever wrote it takes it, so that one process does.
    pub snapshot_due: bool,
}

/// All that a replica knows besides the engines.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Replica {
    pub(crate) clock: Timestamp,
    pub(crate) position: u64,
    /// Of the last change of an alert.
    pub(crate) last_change: ChangePosition,
    /// Number of the last change of a case; of the same origin.
    pub(crate) last_case_change: u64,
    pub(crate) sessions: Sessions,
    /// When the signal in force was used last.
    pub(crate) signal_used_at: Timestamp,
    /// Version of the newest form that an entry had: who can't read it can't go on in any case.
    pub(crate) form: u32,
    /// When the first entry after the last outage came.
    pub(crate) resumed_at: Timestamp,
}

impl Replica {
    /// Position of the last entry that was applied.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Time of the log: when it took in the newest entry that was applied.
    #[must_use]
    pub fn clock(&self) -> Timestamp {
        self.clock
    }

    /// Position of the last change of an alert; its number is 0 if there was none.
    #[must_use]
    pub fn last_change(&self) -> ChangePosition {
        self.last_change
    }

    /// Position of the last change of a case; its number is 0 if there was none.
    #[must_use]
    pub fn last_case_change(&self) -> ChangePosition {
        ChangePosition { number: self.last_case_change, ..self.last_change }
    }

    /// The log that is read was made at `created`, in milliseconds since 1970.
    pub fn begin(&mut self, created: u64) {
        if self.last_change.origin == 0 {
            self.last_change.origin = created;
        }
    }

    /// `log` is not the one that was read: it is read from its first entry, and what is known already
    /// is a retry. Numbers of changes may have gone back, and have the origin of this log.
    pub fn begin_anew(&mut self, log: Extent) {
        self.position = log.first.saturating_sub(1);
        self.last_change.origin = log.created;
    }

    /// Entries up to `position` are gone: the next one is the one after it.
    pub fn skip_to(&mut self, position: u64) {
        self.position = self.position.max(position);
    }

    /// Writers that had other alert settings than `settings` in the last minute.
    #[must_use]
    pub fn other_settings(&self, settings: u64) -> usize {
        let since = self.clock.before(Duration::from_secs(60));
        self.sessions.settings_since(since).filter(|other| *other != settings).count()
    }

    /// The newest form that a member may write: the newest that all read who were heard of lately,
    /// itself among them, or that the log has already.
    #[must_use]
    pub fn form_to_write(&self, membership: &Membership) -> EntryForm {
        let recently = self.clock.before(membership.silence_max);
        // Who was cut off by an outage has the same time afterwards to be heard.
        let cut_off = recently < self.resumed_at;
        let since = if cut_off { self.clock.before(CUT_OFF_MAX).min(recently) } else { recently };
        let read = self.sessions.reads_since(since).unwrap_or(u32::MAX);
        membership.reads.min(EntryForm::read_by(read.max(self.form)))
    }

    /// Applies the next entry.
    /// # Errors
    /// [`NewerVersion`]: nothing has changed, and no later entry may be applied.
    pub fn apply(&mut self, engines: Engines<'_>, entry: &Entry) -> Result<Applied, NewerVersion> {
        let decoded = match Batch::decode(&entry.bytes) {
            Err(EntryError::NewerVersion(error)) => return Err(error),
            Err(EntryError::Damaged(reason)) => Err(reason),
            Ok(batch) => Ok(batch),
        };
        self.position = entry.position;
        let before = self.clock;
        let Engines { alerts, cases } = engines;
        let (mut changes, mut case_changes) = self.move_time(alerts, cases, entry.at);
        let mut applied = match &decoded {
            Ok(batch) => Applied::of(batch.writer, batch.number, Disposition::Counted),
            Err(reason) => Applied::of(0, 0, Disposition::Damaged(reason.clone())),
        };
        if let Ok(Batch { form, reads, writer, number, settings, items }) = decoded {
            let now = self.clock;
            self.form = self.form.max(form.version());
            let session = Session { number, heard_at: now, settings, reads };
            if self.sessions.advance(writer, session) {
                let used_at = &mut self.signal_used_at;
                let (changes, case_changes) = (&mut changes, &mut case_changes);
                let mut intake =
                    Intake { engine: alerts, cases, writer, now, changes, case_changes, used_at };
                for item in items {
                    applied.outcomes.push(intake.apply(item, &mut applied.advocates));
                }
            } else {
                applied.disposition = Disposition::Repeated;
            }
        }
        let interval = |at: Timestamp| at.millis() / SNAPSHOT_INTERVAL_MILLIS;
        applied.snapshot_due = interval(before) != interval(self.clock);
        applied.changes = changes.into_iter().map(|change| self.numbered(change)).collect();
        applied.case_changes =
            case_changes.into_iter().map(|change| self.numbered_case(change)).collect();
        Ok(applied)
    }

    /// Digest of all that is known: equal for replicas that applied the same entries. It takes as
    /// long as a snapshot.
    #[must_use]
    pub fn digest(&self, engine: &AlertEngine, cases: &CaseEngine) -> u64 {
        let mut bytes = Vec::new();
        engine.snapshot().write(&mut bytes).expect("a vector takes everything");
        cases.snapshot().write(&mut bytes).expect("a vector takes everything");
        engine.closings().write(&mut bytes).expect("a vector takes everything");
        let (holds, outage) = engine.holds();
        bytes.extend_from_slice(format!("{self:?}{holds:?}{outage:?}").as_bytes());
        xxh3_64(&bytes)
    }

    /// Moves the clock on, and what depends on it. A whole second that has passed is a tick.
    fn move_time(
        &mut self,
        engine: &mut AlertEngine,
        cases: &mut CaseEngine,
        at: Timestamp,
    ) -> (Vec<AlertChange>, Vec<CaseChange>) {
        if engine.has_gone_back(self.clock, at) {
            self.turn_back(engine, at);
        }
        let before = self.clock;
        let now = before.max(at);
        self.clock = now;
        let silence = Duration::from_millis(now.millis().saturating_sub(before.millis()));
        if before > Timestamp::MIN && silence >= OUTAGE_MIN {
            engine.wait_for_writers(Outage { from: before, until: now.after(OUTAGE_GRACE) });
            self.resumed_at = now;
        }
        if before.millis() / 1000 == now.millis() / 1000 {
            return (Vec::new(), Vec::new());
        }
        self.sessions.forget(now);
        if now >= self.resumed_at.after(OUTAGE_GRACE) {
            let since = now.before(WRITER_SILENCE_MAX);
            engine.forget_writers(|writer| !self.sessions.heard_since(writer, since));
        }
        (engine.tick(now), cases.tick(now))
    }

    /// The log's clock was wrong until `now`. Times that were noted by it would hold until it shows them again.
    fn turn_back(&mut self, engine: &mut AlertEngine, now: Timestamp) {
        self.clock = now;
        self.signal_used_at = self.signal_used_at.min(now);
        self.resumed_at = self.resumed_at.min(now);
        self.sessions.turn_back(now);
        engine.turn_back(now);
    }

    fn numbered(&mut self, change: AlertChange) -> NumberedChange {
        self.last_change.number += 1;
        NumberedChange { position: Some(self.last_change), change }
    }

    fn numbered_case(&mut self, change: CaseChange) -> Numbered<CaseChange> {
        self.last_case_change += 1;
        Numbered { position: Some(self.last_case_change()), change }
    }
}

impl Applied {
    fn of(writer: u64, number: u64, disposition: Disposition) -> Self {
        Self {
            writer,
            number,
            disposition,
            outcomes: Vec::new(),
            changes: Vec::new(),
            case_changes: Vec::new(),
            advocates: Vec::new(),
            snapshot_due: false,
        }
    }
}

/// The engines as one batch meets them.
struct Intake<'a> {
    engine: &'a mut AlertEngine,
    cases: &'a mut CaseEngine,
    writer: u64,
    now: Timestamp,
    changes: &'a mut Vec<AlertChange>,
    case_changes: &'a mut Vec<CaseChange>,
    /// When the signal in force was used last.
    used_at: &'a mut Timestamp,
}

impl Intake<'_> {
    fn apply(&mut self, item: Item, advocates: &mut Vec<Advocate>) -> Outcome {
        match item {
            Item::Observation(logged) => self.observe(logged, advocates),
            Item::Acknowledge { id, by, note } => {
                let acknowledged = self.engine.acknowledge(&id, &by, &note, self.now);
                if let Ok(Acknowledged { alert, waited: Some(_) }) = &acknowledged {
                    let alert = alert.clone();
                    self.changes.push(AlertChange { kind: ChangeKind::Acknowledged, alert });
                }
                Outcome::Acknowledged(acknowledged.map(Box::new))
            }
            Item::Advocate(advocate) => {
                advocates.push(advocate);
                Outcome::Done
            }
            Item::Release { topic, oldest_in_flight } => {
                self.engine.hold(&topic, self.writer, oldest_in_flight, self.now);
                Outcome::Done
            }
            Item::Signal(signal) => {
                self.offer(signal);
                Outcome::Done
            }
            Item::Case(action) => {
                let acted = self.cases.act(&action, self.now);
                self.case_changes.extend(acted.as_ref().ok().and_then(Acted::told));
                Outcome::Case(acted.map(Box::new))
            }
            Item::CloseAlert(action) => {
                let closed = self.engine.close(&action, self.now);
                self.changes.extend(closed.as_ref().ok().and_then(ClosedAlert::told));
                Outcome::Closed(closed.map(Box::new))
            }
        }
    }

    /// A writer's decisions rest on `signal`: it comes into force once nobody uses the one that
    /// is. While a fleet changes its model, topics go on by the old one, and are set aside once.
    fn offer(&mut self, signal: Signal) {
        let unused = self.now >= self.used_at.after(SIGNAL_UNUSED);
        if self.engine.signal().is_none() || unused {
            self.engine.use_signal(signal);
            *self.used_at = self.now;
        }
    }

    fn observe(&mut self, logged: LoggedObservation, advocates: &mut Vec<Advocate>) -> Outcome {
        let LoggedObservation { observation, oldest_in_flight, advocate, respond_within } = logged;
        let (writer, now) = (self.writer, self.now);
        if self.engine.signal().is_some_and(|signal| signal.id() == observation.signal) {
            *self.used_at = now;
        }
        let observed = self.engine.observe_logged(&observation, writer, oldest_in_flight, now);
        let case = respond_within.filter(|_| !observed.duplicate);
        if let Some(post) = case.and_then(|within| FlaggedPost::of(&observation, within)) {
            self.case_changes.extend(self.cases.observe(&post, now));
        }
        if let Some(probability) = advocate.filter(|_| !observed.duplicate) {
            advocates.push(Advocate {
                topic: Some(observation.topic),
                place: observation.place,
                post_id: observation.post_id,
                followers: observation.followers,
                probability,
                at: observation.at,
            });
        }
        self.changes.extend(observed.changes);
        Outcome::Observed { late: observed.late, duplicate: observed.duplicate }
    }
}
