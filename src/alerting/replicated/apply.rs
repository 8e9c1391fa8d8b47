//! Reads the log from where this process is, without end, and applies it.

use std::time::Duration;

use futures::StreamExt;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::metrics::{self, EntryResult};
use super::snapshots::{self, FindError, Found, State, Terms, publish};
use super::writer::Writer;
use crate::alerting::advocates::Advocates;
use crate::alerting::metrics as alerting_metrics;
use crate::alerting::monitor::AlertMonitor;
use crate::cases::monitor::CaseMonitor;
use crate::change_feed::Told;
use pounce_alerts::alert::AlertChange;
use pounce_cases::CaseChange;
use pounce_replication::log::Extent;
use pounce_replication::{
    Applied, Disposition, Engines, Entry, LogError, NewerVersion, ObservationLog, Outcome,
    Published, Replica, ReplicaSnapshot, RestoreError, SnapshotStore,
};
use pounce_types::post::Timestamp;

/// While the log answers there is a tick every second or two: after a longer silence the log is
/// opened anew.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// How often a process whose signal is not in force tells it.
const OFFER_INTERVAL: Duration = Duration::from_secs(10);
/// A server that was just made the leader may not show its newest entries yet.
const LOSS_AGE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often an entry that can't be read is tried again: a newer release may replace this process.
const NEWER_PAUSE: Duration = Duration::from_secs(30);

/// Drives the engines of alerts and cases by the log.
pub(crate) struct Applier<L> {
    log: L,
    writer: Writer,
    monitor: AlertMonitor,
    cases: CaseMonitor,
    advocates: Advocates,
    replica: Replica,
    /// When the log was made that `replica` has read.
    created: Option<u64>,
    /// The newest entry of the log when it was opened: who is in the fleet is known behind it.
    seen: u64,
    /// The entry that came where others should have: those are gone.
    gap_end: Option<u64>,
    /// When this process looked which signal is in force, by the time of the log.
    offered_at: Timestamp,
    /// A snapshot that is being published.
    publishing: JoinSet<()>,
}

/// Why reading was given up for now.
enum Stopped {
    Silent,
    /// Another entry came than the next.
    Gap,
    Log(LogError),
    Newer(NewerVersion),
    Restore(RestoreError),
}

impl Stopped {
    /// What is wrong, if something is.
    fn error(&self) -> Option<String> {
        match self {
            Self::Silent | Self::Gap => None,
            Self::Log(error) => Some(error.to_string()),
            Self::Newer(error) => Some(error.to_string()),
            Self::Restore(error) => Some(error.to_string()),
        }
    }
}

impl From<FindError> for Stopped {
    fn from(error: FindError) -> Self {
        match error {
            FindError::Log(error) => Self::Log(error),
            FindError::Restore(error) => Self::Restore(error),
        }
    }
}

/// What became of entries that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// The log is another one.
    Log,
    /// The newest are gone.
    Tail,
}

impl<L: ObservationLog + SnapshotStore + Clone> Applier<L> {
    /// Drives the engines of `monitor` and `cases`, which are empty.
    pub(crate) fn new(
        log: L,
        writer: Writer,
        monitor: AlertMonitor,
        cases: CaseMonitor,
        advocates: Advocates,
    ) -> Self {
        Self {
            log,
            writer,
            monitor,
            cases,
            advocates,
            replica: Replica::default(),
            created: None,
            seen: 0,
            gap_end: None,
            offered_at: Timestamp::MIN,
            publishing: JoinSet::new(),
        }
    }

    /// Applies without end.
    pub(crate) async fn run(mut self) {
        let mut pause = PAUSE_MIN;
        // Each cause is told once, until an entry is applied.
        let mut told = None;
        loop {
            let before = self.replica.position();
            let stopped = self.read().await;
            if self.replica.position() > before {
                (pause, told) = (PAUSE_MIN, None);
            }
            let cause = stopped.error();
            let is_new = cause.is_some() && cause != told;
            told = cause.or(told);
            match stopped {
                Stopped::Silent => tracing::debug!("the observation log is silent: opened anew"),
                Stopped::Gap => tracing::warn!(
                    position = self.replica.position() + 1,
                    "the observation log did not go on with its next entry: opened anew"
                ),
                Stopped::Newer(error) => {
                    self.writer.stop(error.to_string());
                    // The log has left behind whoever reads less than this process.
                    self.writer.use_form(self.writer.membership().reads);
                    if is_new {
                        tracing::error!(
                            %error,
                            position = self.replica.position() + 1,
                            "a newer release wrote to the observation log: this process counts no \
                             further; update it"
                        );
                    }
                    tokio::time::sleep(NEWER_PAUSE).await;
                }
                Stopped::Restore(error) => {
                    self.writer.stop(error.to_string());
                    if matches!(error, RestoreError::NewerVersion(_)) {
                        self.writer.use_form(self.writer.membership().reads);
                    }
                    if is_new {
                        tracing::error!(
                            %error,
                            "the newest snapshot can't be used: waiting for another"
                        );
                    }
                }
                Stopped::Log(error) if is_new => {
                    tracing::warn!(%error, "the observation log can't be read: trying again");
                }
                Stopped::Log(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn read(&mut self) -> Stopped {
        let extent = match self.log.extent().await {
            Ok(extent) => extent,
            Err(error) => return Stopped::Log(error),
        };
        if let Err(error) = self.prepare(extent).await {
            return error;
        }
        let mut entries = match self.log.read_after(self.replica.position()).await {
            Ok(entries) => entries,
            Err(error) => return Stopped::Log(error),
        };
        self.seen = extent.last;
        if self.seen <= self.replica.position() {
            self.use_form();
            self.writer.applied_entry(None, 0);
        }
        loop {
            let entry = match timeout(SILENCE_MAX, entries.next()).await {
                Ok(Some(Ok(entry))) => entry,
                Ok(Some(Err(error))) => return Stopped::Log(error),
                Ok(None) | Err(_) => return Stopped::Silent,
            };
            if entry.position != self.replica.position() + 1 {
                self.gap_end = Some(entry.position);
                return Stopped::Gap;
            }
            if let Err(error) = self.apply(&entry) {
                return Stopped::Newer(error);
            }
        }
    }

    /// Tells the writer which form all read who were heard of.
    fn use_form(&self) {
        self.writer.use_form(self.replica.form_to_write(self.writer.membership()));
    }

    /// Begins with the newest snapshot where the log alone is not enough: at the start, when the
    /// log lost what was read, and when it no longer has the next entry.
    async fn prepare(&mut self, extent: Extent) -> Result<(), Stopped> {
        let next = self.replica.position() + 1;
        let loss = self.loss(extent).await?;
        let gap_end = self.gap_end.take().filter(|&end| loss.is_none() && end <= extent.last);
        let first = extent.first.max(gap_end.unwrap_or(0));
        if self.created.is_none() || loss.is_some() || first > next {
            self.adopt(extent, loss).await?;
        }
        self.created = Some(extent.created);
        self.replica.begin(extent.created);
        self.cases.begin(self.replica.last_case_change());
        let missing = first.saturating_sub(self.replica.position() + 1);
        if missing > 0 {
            metrics::entries(EntryResult::Missing, missing);
            tracing::error!(
                missing,
                "the observation log no longer has entries that no snapshot holds: topics go on \
                 without them"
            );
            self.replica.skip_to(first - 1);
        }
        Ok(())
    }

    /// What the log has lost of that which was read, if it has.
    async fn loss(&self, extent: Extent) -> Result<Option<Loss>, Stopped> {
        let position = self.replica.position();
        if self.created.is_some_and(|created| created != extent.created) {
            tracing::error!(
                position,
                "the observation log was made anew: what it held since the last snapshot is lost"
            );
            return Ok(Some(Loss::Log));
        }
        if snapshots::is_held(&self.log, &self.replica, extent).await.map_err(Stopped::Log)? {
            return Ok(None);
        }
        tokio::time::sleep(LOSS_AGE_MIN).await;
        let again = self.log.extent().await.map_err(Stopped::Log)?;
        if snapshots::is_held(&self.log, &self.replica, again).await.map_err(Stopped::Log)? {
            return Err(Stopped::Silent);
        }
        tracing::error!(
            position,
            "the observation log lost its newest entries: what they held is lost"
        );
        Ok(Some(Loss::Tail))
    }

    /// Takes over the newest snapshot, an older one than what is known only after a loss. Of a log
    /// that was made anew, without a snapshot, the first process to say what it knows makes one for
    /// all.
    async fn adopt(&mut self, extent: Extent, loss: Option<Loss>) -> Result<(), Stopped> {
        let terms = self.terms();
        let position_min = if loss.is_some() { 0 } else { self.replica.position() };
        let found = snapshots::find(&self.log, &terms, extent, position_min).await;
        let state = match found? {
            Found::State(state) => {
                tracing::info!(
                    position = state.replica.position(),
                    keys = state.alerts.keys(),
                    "began with a snapshot of the observation log"
                );
                *state
            }
            Found::None if loss == Some(Loss::Log) => return self.begin_anew(extent).await,
            // The log has all that there ever was.
            Found::None if loss == Some(Loss::Tail) => terms.empty(),
            Found::None | Found::Older => return Ok(()),
        };
        let State { mut replica, alerts, cases } = state;
        replica.begin(extent.created);
        self.monitor.replace(alerts, replica.last_change());
        self.cases.replace(cases, replica.last_case_change());
        self.replica = replica;
        Ok(())
    }

    /// Makes what is known the first snapshot of a log that was made anew.
    async fn begin_anew(&mut self, extent: Extent) -> Result<(), Stopped> {
        self.replica.begin_anew(extent);
        let (created, position) = (extent.created, self.replica.position());
        let published = publish(self.log.clone(), self.snapshot(), created, position);
        if published.await.map_err(Stopped::Log)? == Published::Outdated {
            let told = "another process published a snapshot meanwhile".to_owned();
            return Err(Stopped::Log(LogError::Refused(told)));
        }
        Ok(())
    }

    fn terms(&self) -> Terms {
        let (alerts, topics_max) = self.monitor.read(|engine| {
            let (settings, topics_max) = engine.terms();
            (settings.clone(), topics_max)
        });
        let (cases, hash_key) = (self.cases.spec().settings, self.monitor.hash_key());
        Terms { alerts, topics_max, cases, hash_key }
    }

    /// Publishes a snapshot, unless the last one is still on its way.
    fn take_snapshot(&mut self) {
        while self.publishing.try_join_next().is_some() {}
        let Some(created) = self.created.filter(|_| self.publishing.is_empty()) else { return };
        let position = self.replica.position();
        let snapshot = self.snapshot();
        let published = publish(self.log.clone(), snapshot, created, position);
        self.publishing.spawn(async move {
            match published.await {
                Ok(published) => {
                    metrics::snapshot(Some(published));
                    tracing::debug!(position, ?published, "snapshot of the observation log");
                }
                Err(error) => {
                    metrics::snapshot(None);
                    tracing::warn!(%error, position, "the snapshot can't be published");
                }
            }
        });
    }

    /// Nobody else changes the engines meanwhile.
    fn snapshot(&self) -> ReplicaSnapshot {
        self.monitor.read(|alerts| self.cases.read(|cases| self.replica.snapshot(alerts, cases)))
    }

    /// Applies one entry.
    fn apply(&mut self, entry: &Entry) -> Result<(), NewerVersion> {
        let (replica, nonce) = (&mut self.replica, self.writer.nonce());
        let applied = self.monitor.apply(|alerts| {
            self.cases.apply(|cases| {
                let applied = replica.apply(Engines { alerts, cases }, entry);
                let (told, cases_told) = told_of(applied.as_ref().ok(), nonce);
                ((applied, told), cases_told)
            })
        });
        let applied = applied.inspect_err(|_| metrics::entries(EntryResult::Newer, 1))?;
        self.offer_signal();
        if self.seen <= self.replica.position() {
            self.use_form();
        }
        metrics::position(self.replica.position());
        metrics::other_settings(self.replica.other_settings(self.writer.settings()));
        metrics::entries(
            match &applied.disposition {
                Disposition::Counted => EntryResult::Applied,
                Disposition::Repeated => EntryResult::Repeated,
                Disposition::Damaged(reason) => {
                    let position = entry.position;
                    tracing::error!(reason, position, "skipped a damaged entry of the log");
                    EntryResult::Damaged
                }
            },
            1,
        );
        self.tell(&applied, nonce);
        if applied.snapshot_due && applied.writer == nonce {
            self.take_snapshot();
        }
        self.writer.applied_entry(Some(applied), entry.behind);
        Ok(())
    }

    /// Tells the signal of this process again while another is in force: it comes into force once
    /// nobody uses that one.
    fn offer_signal(&mut self) {
        let (clock, own) = (self.replica.clock(), self.writer.signal());
        // The log's clock may have gone back.
        self.offered_at = self.offered_at.min(clock);
        let due = clock >= self.offered_at.after(OFFER_INTERVAL);
        if due && self.writer.is_caught_up() {
            self.offered_at = clock;
            if self.monitor.read(|engine| engine.signal() != Some(own)) {
                self.writer.tell_signal();
            }
        }
    }

    /// Tells watchers, and counts what this process scored.
    fn tell(&self, applied: &Applied, nonce: u64) {
        for advocate in &applied.advocates {
            self.advocates.tell(advocate.clone());
        }
        if applied.writer != nonce {
            return;
        }
        for outcome in &applied.outcomes {
            match outcome {
                Outcome::Observed { late, duplicate } => {
                    alerting_metrics::post_counted(*late, *duplicate);
                }
                Outcome::Acknowledged(Ok(acknowledged)) => {
                    if let Some(waited) = acknowledged.waited {
                        alerting_metrics::alert_acknowledged(acknowledged.alert.kind, waited);
                    }
                }
                Outcome::Closed(Ok(closed)) => {
                    if let Some(waited) = closed.waited {
                        alerting_metrics::alert_acknowledged(closed.alert.kind, waited);
                    }
                }
                Outcome::Acknowledged(Err(_))
                | Outcome::Closed(Err(_))
                | Outcome::Case(_)
                | Outcome::Done => {}
            }
        }
    }
}

/// What is to be told of an entry, if it was applied; `nonce` is this process's own.
fn told_of(applied: Option<&Applied>, nonce: u64) -> (Told<AlertChange>, Told<CaseChange>) {
    let Some(applied) = applied else { return Default::default() };
    let counted = applied.writer == nonce;
    (
        Told { changes: applied.changes.clone(), counted },
        Told { changes: applied.case_changes.clone(), counted },
    )
}

/// Watches over the wait for the log, without end.
pub(crate) async fn watch(writer: Writer) {
    let mut looks = tokio::time::interval(super::writer::CHECK_INTERVAL);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        writer.look();
    }
}
