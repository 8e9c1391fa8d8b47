//! All topics together: posts go in, changes of alerts come out.
//!
//! The engine has no clock and does no work of its own: whoever drives it calls
//! [`AlertEngine::observe`] for each scored post and [`AlertEngine::tick`] every second.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::alert::AlertChange;
use super::bounded_map::BoundedMap;
use super::hashing::HashKey;
use super::in_flight::{Hold, InFlight, Outage, Ticket};
use super::key::{AlertId, AlertKind, Key};
use super::ledger::Ledger;
use super::observation::{Observation, Record};
use super::recency::{Rank, Recency, Standing};
use super::settings::Settings;
use super::signal::Signal;
use super::topic::{EngineContext, Intake, SeenPost, TopicState};
use super::votes::Votes;
use pounce_types::post::{Timestamp, Topic};

/// Entries outlive by this much what is asked of them in event time.
const MEMORY_SLACK: Duration = Duration::from_secs(3600);

/// What came of one post.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observed {
    /// Too far behind the watermark to be counted.
    pub late: bool,
    /// Its topic and id were seen before: not counted again.
    pub duplicate: bool,
    /// What changed by it, oldest first: of its topic, or of one that was
    /// forgotten for want of room.
    pub changes: Vec<AlertChange>,
}

/// Counts scored posts by topic and place, and tells when a key_state's mood
/// changes. See the [module](super) for what it promises.
#[derive(Debug, Clone)]
pub struct AlertEngine {
    pub(super) settings: Settings,
    pub(super) topics_max: usize,
    pub(super) topics: HashMap<Topic, Arc<TopicState>>,
    pub(super) posts: BoundedMap<SeenPost>,
    pub(super) votes: Votes,
    pub(super) hash_key: Option<HashKey>,
    pub(super) signal: Option<Signal>,
    pub(super) ledger: Ledger,
    /// Number of posts taken in; orders keys by when they were seen.
    pub(super) seen: u64,
    /// Posts waiting in open minutes.
    pub(super) open: usize,
    /// Memory of the keys' states.
    pub(super) bytes: usize,
    pub(super) in_flight: InFlight,
    pub(super) recency: Recency,
    /// Topics that time alone can change, by when it will.
    pub(super) due: BTreeSet<(Timestamp, Topic)>,
    pub(super) firing: BTreeMap<AlertId, (Key, AlertKind)>,
    /// The latest that the clock has shown, and how often it was followed back since.
    pub(super) clock: Timestamp,
    pub(super) turned_back: u64,
}

impl AlertEngine {
    /// An empty engine. At most `topics_max` (at least 1) topics and places are
    /// counted at a time; past it the one seen least recently is forgotten.
    #[must_use]
    pub fn new(settings: Settings, topics_max: usize) -> Self {
        Self {
            topics_max: topics_max.max(1),
            topics: HashMap::new(),
            posts: BoundedMap::new(settings.limits.post_ids_max),
            votes: Votes::new(&settings.limits),
            hash_key: None,
            signal: None,
            settings,
            ledger: Ledger::default(),
            seen: 0,
            open: 0,
            bytes: 0,
            in_flight: InFlight::default(),
            recency: Recency::default(),
            due: BTreeSet::new(),
            firing: BTreeMap::new(),
            clock: Timestamp::MIN,
            turned_back: 0,
        }
    }

    /// The key of the hashes in the observations that it counts: that of its snapshot, or else a
    /// `fresh` one, which it keeps from then on.
    pub fn hash_key(&mut self, fresh: impl FnOnce() -> HashKey) -> HashKey {
        *self.hash_key.get_or_insert_with(fresh)
    }

    /// Digest of the settings and the room for topics: engines that are to be equal agree on it.
    #[must_use]
    pub fn settings_digest(&self) -> u64 {
        self.settings.digest() ^ (self.topics_max as u64)
    }

    /// The settings, and how many topics and places are counted at most.
    #[must_use]
    pub fn terms(&self) -> (&Settings, usize) {
        (&self.settings, self.topics_max)
    }

    /// How far behind its topic's watermark a post may be and still count.
    #[must_use]
    pub fn lateness(&self) -> Duration {
        self.settings.counting.lateness()
    }

    /// Registers a post of `topic` that arrived and is to be scored: until its ticket is given
    /// back, the topic's watermark does not pass it. Whether it is late is decided here, by
    /// the posts that arrived before it.
    pub fn admit(&mut self, topic: &Topic, at: Timestamp, now: Timestamp) -> Ticket {
        self.keep_time(now);
        let at = self.clamp(at, now);
        let late = self.is_late(topic, at, now);
        self.in_flight.add(topic, at, late, now)
    }

    /// Gives back the ticket of a post that will not be scored.
    pub fn release(&mut self, ticket: &Ticket) {
        self.in_flight.remove(ticket);
    }

    /// Counts the scored post that `ticket` was given for; `now` is the wall clock.
    pub fn observe_admitted(
        &mut self,
        observation: &Observation,
        ticket: &Ticket,
        now: Timestamp,
    ) -> Observed {
        self.keep_time(now);
        self.in_flight.remove(ticket);
        // Anew: the clock may have gone back since the post arrived.
        let at = self.clamp(ticket.at, now);
        self.count(observation, at, ticket.late, now)
    }

    /// Counts a scored post that comes through a log which several writers share. `oldest` is the
    /// event time of the oldest post of its topic that the writer has in flight besides; `now` is
    /// the clock of the log.
    pub fn observe_logged(
        &mut self,
        observation: &Observation,
        writer: u64,
        oldest: Option<Timestamp>,
        now: Timestamp,
    ) -> Observed {
        self.keep_time(now);
        let at = self.clamp(observation.at, now);
        // Before what it tells of the others: the post itself was held for until now.
        let late = self.is_late(&observation.topic, at, now);
        self.in_flight.hold(writer, &observation.topic, oldest, now);
        self.count(observation, at, late, now)
    }

    /// A writer tells the oldest post of `topic` that it has in flight; none if it has none.
    pub fn hold(&mut self, topic: &Topic, writer: u64, oldest: Option<Timestamp>, now: Timestamp) {
        self.in_flight.hold(writer, topic, oldest, now);
    }

    /// Posts that writers had in flight will not come: those writers have ended.
    pub fn forget_writers(&mut self, ended: impl Fn(u64) -> bool) {
        self.in_flight.forget_writers(ended);
    }

    /// No minute closes past [`Outage::from`] before [`Outage::until`].
    pub fn wait_for_writers(&mut self, outage: Outage) {
        self.in_flight.outage(outage);
    }

    /// Puts back one of [`AlertEngine::holds`].
    pub fn restore_hold(&mut self, hold: &Hold) {
        self.in_flight.hold(hold.writer, &hold.topic, Some(hold.oldest), hold.told_at);
    }

    /// What watermarks wait for, which a snapshot does not hold.
    #[must_use]
    pub fn holds(&self) -> (Vec<Hold>, Option<Outage>) {
        self.in_flight.holds()
    }

    /// Counts a scored post that arrives now.
    pub fn observe(&mut self, observation: &Observation, now: Timestamp) -> Observed {
        self.keep_time(now);
        let at = self.clamp(observation.at, now);
        let late = self.is_late(&observation.topic, at, now);
        self.count(observation, at, late, now)
    }

    fn count(
        &mut self,
        observation: &Observation,
        at: Timestamp,
        late: bool,
        now: Timestamp,
    ) -> Observed {
        if observation.foreign {
            return Observed::default();
        }
        if self.signal.as_ref().is_some_and(|signal| signal.id() != observation.signal) {
            self.ledger.totals.other_signal += 1;
            return Observed::default();
        }
        self.seen += 1;
        self.ledger.totals.posts += 1;
        let mut observed = Observed { late, ..Observed::default() };
        let counted =
            self.with_topic(&observation.topic, Some(at), now, |topic, context, changes| {
                topic.touch(observation.place.as_ref(), context);
                let record = Record::of(observation, topic.whole.hash(), at);
                let intake = topic.take_in(record, late, context);
                topic.advance(context, changes);
                intake
            });
        if let Some((intake, changes)) = counted {
            observed.duplicate = intake == Intake::Duplicate;
            observed.changes = changes;
        }
        self.ledger.totals.late += u64::from(observed.late);
        self.ledger.totals.duplicates += u64::from(observed.duplicate);
        self.make_room(&mut observed.changes);
        self.index(&observed.changes);
        observed
    }

    /// Whether a post that arrives now lies too far behind those that arrived before it.
    #[must_use]
    pub fn is_late(&self, topic: &Topic, at: Timestamp, now: Timestamp) -> bool {
        let counting = &self.settings.counting;
        let state = self.topics.get(topic);
        let newest = state.map(|state| state.newest()).max(self.in_flight.newest(topic));
        let Some(newest) = newest else { return false };
        let closed = state.map_or(Timestamp::default(), |state| state.next().start());
        let watermark = counting.watermark(newest.min(now));
        let held = self.in_flight.held(topic, closed, now, counting.lateness());
        let watermark = held.map_or(watermark, |held| watermark.min(held));
        at.after(counting.lateness()) < watermark.max(closed)
    }

    /// Moves time on when no post comes. Call it every second: it costs what
    /// there is to do, not what there is.
    pub fn tick(&mut self, now: Timestamp) -> Vec<AlertChange> {
        self.keep_time(now);
        let mut changes = Vec::new();
        for topic in self.take_due(now) {
            if let Some(((), more)) =
                self.with_topic(&topic, None, now, |state, context, changes| {
                    state.advance(context, changes);
                })
            {
                changes.extend(more);
            }
        }
        let counting = &self.settings.counting;
        let hours = |hours: u32| Duration::from_secs(u64::from(hours) * 3600) + MEMORY_SLACK;
        self.posts.forget(now, hours(counting.duplicate_hours));
        self.votes.forget(now, counting, MEMORY_SLACK);
        self.ledger.forget(now, hours(self.settings.limits.resolved_hours) - MEMORY_SLACK);
        self.in_flight.forget(now, counting.lateness());
        self.make_room(&mut changes);
        self.index(&changes);
        changes
    }

    /// Runs `act` on a topic, made at `first` if it is new, and keeps up what
    /// the engine knows of it. None if there is no such topic.
    pub(super) fn with_topic<T>(
        &mut self,
        name: &Topic,
        first: Option<Timestamp>,
        now: Timestamp,
        act: impl FnOnce(&mut TopicState, &mut EngineContext<'_>, &mut Vec<AlertChange>) -> T,
    ) -> Option<(T, Vec<AlertChange>)> {
        let (mut changes, mut created) = (Vec::new(), Vec::new());
        let counting = &self.settings.counting;
        let closed =
            self.topics.get(name).map_or_else(Timestamp::default, |state| state.next().start());
        let mut context = EngineContext {
            settings: &self.settings,
            posts: &mut self.posts,
            votes: &mut self.votes,
            ledger: &mut self.ledger,
            open: &mut self.open,
            created: &mut created,
            seen: self.seen,
            oldest_in_flight: self.in_flight.oldest(name, closed, now, counting.lateness()),
            now,
        };
        let limits = &self.settings.limits;
        context.ledger.at(now, limits.resolved_alerts_max);
        if let Some(first) = first.filter(|_| !self.topics.contains_key(name)) {
            let state = TopicState::new(name.clone(), first, &mut context);
            self.bytes += state.bytes;
            self.topics.insert(name.clone(), Arc::new(state));
        }
        let state = Arc::make_mut(self.topics.get_mut(name)?);
        let before = state.bytes;
        let out = act(state, &mut context, &mut changes);
        self.bytes = self.bytes + state.bytes - before;
        for (created, key) in created {
            self.recency.put(key, Standing { rank: Rank::Newcomer, seen: created });
        }
        self.schedule(name);
        Some((out, changes))
    }

    fn clamp(&mut self, at: Timestamp, now: Timestamp) -> Timestamp {
        let ahead = Duration::from_secs(self.settings.counting.future_max_seconds.into());
        if at <= now.after(ahead) {
            return at;
        }
        self.ledger.totals.clamped += 1;
        now
    }
}
