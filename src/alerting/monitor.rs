//! The engine of topics behind a lock, and those who hear of its changes.
//!
//! The only place that drives the engine: it reads the clock, counts, and tells.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;

use super::{metrics, wire};
use pounce_alerts::alert::{AlertChange, ChangeKind};
use pounce_alerts::key::AlertId;
use pounce_alerts::{
    Acknowledged, AlertEngine, HashKey, Observation, Observed, Signal, SignalId, Snapshot, Ticket,
    UnknownAlert,
};
use pounce_client::json;
use pounce_types::clock::now;
use pounce_types::post::{Place, Timestamp, Topic};

/// Changes that a slow watcher may be behind before it misses some.
const CHANGES_MAX: usize = 1024;
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
    changes: broadcast::Sender<Arc<AlertChange>>,
    signal: SignalId,
    hash_key: HashKey,
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
                "discontent is decided otherwise than before: counts set aside, topics warm up"
            );
        }
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        let hash_key = engine.hash_key(|| HashKey::from_bytes(random));
        metrics::engine_state(&engine, now());
        let (changes, _) = broadcast::channel(CHANGES_MAX);
        let engine = Mutex::new(engine);
        Ok(Self { inner: Arc::new(Inner { engine, changes, signal: id, hash_key }) })
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

    /// Ids of the alerts that fire for a topic, and for a place within it.
    pub(crate) fn alert_ids(&self, topic: &Topic, place: Option<&Place>) -> Vec<AlertId> {
        self.engine().alert_ids(topic, place)
    }

    /// Moves time on; due every [`TICK`].
    pub fn tick(&self) {
        let mut engine = self.engine();
        let changes = engine.tick(now());
        self.tell(&changes);
        metrics::engine_state(&engine, now());
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

    /// Looks at the engine.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&AlertEngine) -> T) -> T {
        look(&self.engine())
    }

    /// What `look` sees, and every change after that.
    pub(crate) fn watch<T>(
        &self,
        look: impl FnOnce(&AlertEngine) -> T,
    ) -> (T, broadcast::Receiver<Arc<AlertChange>>) {
        // Changes are told under the lock: none can fall in between.
        let engine = self.engine();
        (look(&engine), self.inner.changes.subscribe())
    }

    /// Everything that is known now. Posts do not wait for its encoding.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.engine().snapshot()
    }

    fn tell(&self, changes: &[AlertChange]) {
        for change in changes {
            metrics::alert_changed(change, now());
            log(wire::show_change(change));
            // Nobody may be watching.
            let _ = self.inner.changes.send(Arc::new(change.clone()));
        }
    }

    fn engine(&self) -> MutexGuard<'_, AlertEngine> {
        self.inner.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a change to the log, in the form that `pounce watch` shows. Ids of posts are left out:
/// they lead to people, and logs are kept longer and read by more.
fn log(change: pounce_proto::AlertChange) {
    let kind = change.kind().name();
    let Some(mut alert) = change.alert else { return };
    if let Some(evidence) = &mut alert.evidence {
        evidence.sample_post_ids.clear();
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
    /// Counts the post, which was scored.
    pub(crate) fn observe(mut self, observation: &Observation) -> Observed {
        let Some(ticket) = self.ticket.take() else { return Observed::default() };
        let mut engine = self.monitor.engine();
        let observed = engine.observe_admitted(observation, &ticket, now());
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
