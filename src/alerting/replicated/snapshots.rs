//! Snapshots for replicas that start, and for those whose log no longer has what they read.
//!
//! A server that lost its power may come back without the newest entries of the log, and others take
//! their places: no snapshot that holds such an entry fits the log.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use tokio::time::timeout;

use pounce_alerts::{AlertEngine, HashKey, Settings};
use pounce_cases::{CaseEngine, CaseSettings};
use pounce_replication::log::Extent;
use pounce_replication::store::SnapshotLabel;
use pounce_replication::{
    LogError, ObservationLog, Published, Replica, ReplicaSnapshot, RestoreError, SnapshotStore,
};

/// Longest time that a snapshot may take to be published.
const PUBLISH_MAX: Duration = Duration::from_secs(60);
/// Longest time that an entry may take to come.
const ENTRY_MAX: Duration = Duration::from_secs(3);

/// A replica and the engines that it drives.
pub(super) struct State {
    pub(super) replica: Replica,
    pub(super) alerts: AlertEngine,
    pub(super) cases: CaseEngine,
}

/// What this process has its engines count by.
pub(super) struct Terms {
    pub(super) alerts: Settings,
    pub(super) topics_max: usize,
    pub(super) cases: CaseSettings,
    pub(super) hash_key: HashKey,
}

impl Terms {
    /// Nothing is known.
    pub(super) fn empty(self) -> State {
        let mut alerts = AlertEngine::new(self.alerts, self.topics_max);
        alerts.hash_key(|| self.hash_key);
        State { replica: Replica::default(), alerts, cases: CaseEngine::new(self.cases) }
    }

    async fn restore(&self, bytes: Bytes) -> Result<Box<State>, RestoreError> {
        let (settings, topics_max, cases) = (self.alerts.clone(), self.topics_max, self.cases);
        let restored = tokio::task::spawn_blocking(move || {
            let (replica, alerts, cases) =
                Replica::restore(&bytes[..], settings, topics_max, cases)?;
            Ok(Box::new(State { replica, alerts, cases }))
        });
        restored.await.expect("a panic of the restore ends the task")
    }
}

/// Why no snapshot could be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FindError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
}

/// What snapshots there are.
pub(super) enum Found {
    /// There never was one.
    None,
    /// None is as new as asked for.
    Older,
    /// Go on with it.
    State(Box<State>),
}

/// The newest snapshot that fits the log, if it is as far as `position_min`. Where none fits, the
/// newest one with the whole log still to be read.
pub(super) async fn find<L: ObservationLog + SnapshotStore>(
    log: &L,
    terms: &Terms,
    extent: Extent,
    position_min: u64,
) -> Result<Found, FindError> {
    let Some((label, bytes)) = log.newest().await? else { return Ok(Found::None) };
    let same_log = label.created == extent.created;
    if same_log && label.position < position_min {
        return Ok(Found::Older);
    }
    let mut newest = terms.restore(bytes).await?;
    if same_log {
        if is_held(log, &newest.replica, extent).await? {
            return Ok(Found::State(newest));
        }
        tracing::warn!(
            position = label.position,
            "the newest snapshot holds entries that the observation log has lost"
        );
        if let Some(before) = before(log, terms, extent, &label).await? {
            let older = before.replica.position() < position_min;
            return Ok(if older { Found::Older } else { Found::State(before) });
        }
    }
    newest.replica.begin_anew(extent);
    Ok(Found::State(newest))
}

/// The snapshot before the one that `label` names, if it fits the log, which has all entries after it.
async fn before<L: ObservationLog + SnapshotStore>(
    log: &L,
    terms: &Terms,
    extent: Extent,
    label: &SnapshotLabel,
) -> Result<Option<Box<State>>, FindError> {
    let Some((label, bytes)) = log.before(label).await? else { return Ok(None) };
    if label.created != extent.created || label.position + 1 < extent.first {
        return Ok(None);
    }
    let state = terms.restore(bytes).await?;
    Ok(is_held(log, &state.replica, extent).await?.then_some(state))
}

/// Whether the log still has what `replica` has read, as far as it tells. An entry that took the
/// place of its last one came later than its clock says.
pub(super) async fn is_held<L: ObservationLog>(
    log: &L,
    replica: &Replica,
    extent: Extent,
) -> Result<bool, LogError> {
    let position = replica.position();
    if position > extent.last {
        return Ok(false);
    }
    if position < extent.first.max(1) {
        return Ok(true);
    }
    let mut entries = log.read_after(position - 1).await?;
    let Ok(Some(entry)) = timeout(ENTRY_MAX, entries.next()).await else {
        return Err(LogError::Unreachable("its entries do not come".to_owned()));
    };
    let entry = entry?;
    Ok(entry.position != position || entry.at <= replica.clock())
}

/// Encodes a snapshot and makes it the newest.
pub(super) async fn publish<L: SnapshotStore>(
    log: L,
    snapshot: ReplicaSnapshot,
    created: u64,
    position: u64,
) -> Result<Published, LogError> {
    let encoded = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        snapshot.write(&mut bytes).expect("a vector takes everything");
        bytes
    });
    let bytes = encoded.await.map_err(|error| LogError::Refused(error.to_string()))?;
    let published = timeout(PUBLISH_MAX, log.publish(created, position, bytes.into())).await;
    published.unwrap_or_else(|_| Err(LogError::Unreachable("it takes too long".to_owned())))
}
