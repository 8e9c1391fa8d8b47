//! The engine of topics behind a lock, and those who hear of its changes.
//!
//! The only place that drives the engine: it reads the clock, counts, and tells.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{metrics, wire};
use crate::change_feed::{ChangeFeed, Changes, Resumed, Told};
use pounce_alerts::alert::{AlertChange, ChangeKind};
use pounce_alerts::key::AlertId;
use pounce_alerts::{
    Acknowledged, AlertEngine, CloseAction, CloseError, ClosedAlert, Closings, HashKey,
    Observation, Observed, Signal, SignalId, Snapshot, Ticket, UnknownAlert,
};
use pounce_client::json;
use pounce_replication::{ChangePosition, NumberedChange};
use pounce_types::clock::now;
use pounce_types::post::{Place, Timestamp, Topic};

/// How often time moves on for topics that no post comes for.
pub const TICK: Duration = Duration::from_secs(1);

/// The engine and its watchers. Cheap to clone.
#[derive(Clone)]
pub struct AlertMonitor {
    inner: Arc<Inner>,
}

struct Inner {
    // std Mutex: held for a few map operations, never across an await.
    engine: Mutex<AlertEngine>,
    changes: ChangeFeed<AlertChange>,
    signal: SignalId,
    hash_key: HashKey,
    lateness: Duration,
    /// How often the engine followed the clock back, as was told.
    turned_back: AtomicU64,
}

impl AlertMonitor {
    /// Takes over an engine, new or restored, to count posts whose discontent rests on `signal`.
    /// # Errors
    /// If the system has no random bytes.
    pub fn new(mut engine: AlertEngine, signal: Signal) -> std::io::Result<Self> {
        let id = signal.id();
        let counted_by = engine.signal().map(ToString::to_string);
        if engine.use_signal(signal.clone()) {
            tracing::warn!(
                from = counted_by, to = %signal,
                "another model or threshold than before: counts set aside, topics warm up again"
            );
        }
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        let hash_key = engine.hash_key(|| HashKey::from_bytes(random));
        metrics::engine_state(&engine, now());
        metrics::engine_totals(&engine.totals());
        Ok(Self::with(engine, id, hash_key))
    }

    /// Takes over the engine of a replica: what it counts by is for the log to say. Observations
    /// of this process rest on `signal`, and their hashes on `hash_key`.
    pub(crate) fn replicated(mut engine: AlertEngine, signal: SignalId, hash_key: HashKey) -> Self {
        engine.hash_key(|| hash_key);
        metrics::engine_state(&engine, now());
        metrics::engine_totals(&engine.totals());
        Self::with(engine, signal, hash_key)
    }

    fn with(engine: AlertEngine, signal: SignalId, hash_key: HashKey) -> Self {
        let turned_back = AtomicU64::new(engine.turned_back());
        let lateness = engine.lateness();
        let (engine, changes) = (Mutex::new(engine), ChangeFeed::new());
        let inner = Inner { engine, changes, signal, hash_key, lateness, turned_back };
        Self { inner: Arc::new(inner) }
    }

    /// What the discontent of observations must rest on.
    pub(crate) fn signal(&self) -> SignalId {
        self.inner.signal
    }

    /// The key of the hashes in observations.
    pub(crate) fn hash_key(&self) -> HashKey {
        self.inner.hash_key
    }

    /// Registers a post of `topic` that arrived: the topic's watermark waits for it until it
    /// is counted, or the admission is dropped.
    pub(crate) fn admit(&self, topic: &Topic, at: Timestamp) -> Admission {
        let ticket = self.engine().admit(topic, at, now());
        Admission { monitor: self.clone(), ticket: Some(ticket) }
    }

    /// Whether a post of `topic` that arrives now is too far behind those that were counted.
    pub(crate) fn is_late(&self, topic: &Topic, at: Timestamp) -> bool {
        let now = now();
        // A recent one is late nowhere: the engine is locked for older ones alone.
        at.after(self.inner.lateness) < now && self.engine().is_late(topic, at, now)
    }

    /// Ids of the alerts that fire for a topic, and for a place within it.
    pub(crate) fn alert_ids(&self, topic: &Topic, place: Option<&Place>) -> Vec<AlertId> {
        self.engine().alert_ids(topic, place)
    }

    /// Moves time on; due every [`TICK`].
    pub fn tick(&self) {
        let mut engine = self.engine();
        let changes = engine.tick(now());
        self.tell(&changes);
        self.show(&engine);
        metrics::engine_totals(&engine.totals());
    }

    /// Notes who took an alert; tells of it if they are the first.
    pub(crate) fn acknowledge(
        &self,
        id: &str,
        by: &str,
        note: &str,
    ) -> Result<Acknowledged, UnknownAlert> {
        let mut engine = self.engine();
        let acknowledged = engine.acknowledge(id, by, note, now())?;
        if let Some(waited) = acknowledged.waited {
            metrics::alert_acknowledged(acknowledged.alert.kind, waited);
            let alert = acknowledged.alert.clone();
            self.tell(&[AlertChange { kind: ChangeKind::Acknowledged, alert }]);
        }
        Ok(acknowledged)
    }

    /// Closes an alert; tells of it unless that was done before.
    pub(crate) fn close(&self, action: &CloseAction) -> Result<ClosedAlert, CloseError> {
        let mut engine = self.engine();
        let closed = engine.close(action, now())?;
        if let Some(waited) = closed.waited {
            metrics::alert_acknowledged(closed.alert.kind, waited);
        }
        self.tell(closed.told().as_slice());
        Ok(closed)
    }

    /// Looks at the engine.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&AlertEngine) -> T) -> T {
        look(&self.engine())
    }

    /// What `look` sees, and every change after that.
    pub(crate) fn watch<T>(
        &self,
        look: impl FnOnce(&AlertEngine) -> T,
    ) -> (T, Changes<AlertChange>) {
        // Changes are told under the lock: none can fall in between.
        let engine = self.engine();
        (look(&engine), self.inner.changes.watch())
    }

    /// See [`ChangeFeed::watch_after`].
    pub(crate) fn watch_after(&self, position: ChangePosition) -> Option<Resumed<AlertChange>> {
        let _engine = self.engine();
        self.inner.changes.watch_after(position)
    }

    /// Everything that is known now, and the outcomes of alerts beside it. Posts do not wait for
    /// the encoding.
    #[must_use]
    pub fn snapshot(&self) -> (Snapshot, Closings) {
        self.snapshot_with(|| ()).0
    }

    /// As [`AlertMonitor::snapshot`], with what `also` gives at the same moment.
    pub(crate) fn snapshot_with<T>(&self, also: impl FnOnce() -> T) -> ((Snapshot, Closings), T) {
        let engine = self.engine();
        ((engine.snapshot(), engine.closings()), also())
    }

    /// Has `act` change the engine, which says what is to be told of it.
    pub(crate) fn apply<T>(
        &self,
        act: impl FnOnce(&mut AlertEngine) -> (T, Told<AlertChange>),
    ) -> T {
        let mut engine = self.engine();
        let before = engine.totals();
        let (out, Told { changes, counted }) = act(&mut engine);
        if counted {
            metrics::engine_counted(&before, &engine.totals());
        }
        for change in changes {
            self.tell_one(change, counted);
        }
        out
    }

    /// Goes on with another engine, whose last change has the position `last`.
    pub(crate) fn replace(&self, engine: AlertEngine, last: ChangePosition) {
        let mut own = self.engine();
        *own = engine;
        self.inner.changes.replace(last);
    }

    /// Shows what is known of the engine in the metrics.
    pub(crate) fn show_metrics(&self) {
        self.show(&self.engine());
    }

    fn show(&self, engine: &AlertEngine) {
        metrics::engine_state(engine, now());
        let turned_back = engine.turned_back();
        let before = self.inner.turned_back.swap(turned_back, Ordering::Relaxed);
        if before < turned_back {
            metrics::turned_back(turned_back - before);
            tracing::warn!(
                "the clock went back: topics that were ahead of it set their counts aside and warm up"
            );
        }
    }

    fn tell(&self, changes: &[AlertChange]) {
        for change in changes {
            self.tell_one(NumberedChange { position: None, change: change.clone() }, true);
        }
    }

    fn tell_one(&self, numbered: NumberedChange, counted: bool) {
        if counted {
            metrics::alert_changed(&numbered.change, now());
            log(wire::show_change(&numbered));
        }
        self.inner.changes.tell(numbered);
    }

    fn engine(&self) -> MutexGuard<'_, AlertEngine> {
        self.inner.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a change to the log, in the form that `pounce watch` shows. Ids of posts and notes are
/// left out: they lead to people, and logs are kept longer and read by more.
fn log(change: pounce_proto::AlertChange) {
    let kind = change.kind().name();
    let Some(mut alert) = change.alert else { return };
    if let Some(evidence) = &mut alert.evidence {
        evidence.sample_post_ids.clear();
    }
    if let Some(taken) = &mut alert.acknowledgement {
        taken.note.clear();
    }
    if let Some(closing) = &mut alert.closing {
        closing.note.clear();
    }
    tracing::info!(change = kind, alert = %json::show_alert(&alert), "alert changed");
}

/// A post that arrived and is not counted yet.
pub(crate) struct Admission {
    monitor: AlertMonitor,
    /// Taken out once the post is counted.
    ticket: Option<Ticket>,
}

impl Admission {
    /// Counts the post, which was scored. `also` is done before anybody can take a snapshot of the
    /// engine that holds the post.
    pub(crate) fn observe(
        mut self,
        observation: &Observation,
        also: impl FnOnce(&Observed),
    ) -> Observed {
        let Some(ticket) = self.ticket.take() else { return Observed::default() };
        let mut engine = self.monitor.engine();
        let observed = engine.observe_admitted(observation, &ticket, now());
        also(&observed);
        self.monitor.tell(&observed.changes);
        drop(engine);
        metrics::post_counted(observed.late, observed.duplicate);
        observed
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(ticket) = &self.ticket {
            self.monitor.engine().release(ticket);
        }
    }
}
