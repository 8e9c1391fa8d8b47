//! The board of topics behind a lock, and those who hear of its changes.
//!
//! The only place that drives the board: it reads the clock, counts, and tells.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;

use super::metrics;
use pounce_alerts::alert::{AlertChange, ChangeKind};
use pounce_alerts::{Acknowledged, Board, Observation, Observed, UnknownAlert};
use pounce_types::clock::now;

/// Changes that a slow watcher may be behind before it misses some.
const CHANGES_MAX: usize = 1024;
/// How often time moves on for topics that no post comes for.
pub const TICK: Duration = Duration::from_secs(1);

/// The board and its watchers. Cheap to clone.
#[derive(Clone)]
pub struct AlertMonitor {
    inner: Arc<Inner>,
}

struct Inner {
    // std Mutex: held for a few map operations, never across an await.
    board: Mutex<Board>,
    changes: broadcast::Sender<Arc<AlertChange>>,
}

impl AlertMonitor {
    /// Takes over a board, new or restored.
    #[must_use]
    pub fn new(board: Board) -> Self {
        metrics::board(&board);
        let (changes, _) = broadcast::channel(CHANGES_MAX);
        Self { inner: Arc::new(Inner { board: Mutex::new(board), changes }) }
    }

    /// Counts a scored post.
    pub(crate) fn observe(&self, observation: &Observation) -> Observed {
        let mut board = self.board();
        let observed = board.observe(observation, now());
        self.tell(&observed.changes);
        drop(board);
        metrics::post_counted(observed.late, observed.duplicate);
        observed
    }

    /// Moves time on; due every [`TICK`].
    pub fn tick(&self) {
        let mut board = self.board();
        let changes = board.tick(now());
        self.tell(&changes);
        metrics::board(&board);
    }

    /// Notes who took an alert; tells of it if they are the first.
    pub(crate) fn acknowledge(
        &self,
        id: &str,
        by: &str,
        note: &str,
    ) -> Result<Acknowledged, UnknownAlert> {
        let mut board = self.board();
        let acknowledged = board.acknowledge(id, by, note, now())?;
        if let Some(waited) = acknowledged.waited {
            metrics::alert_acknowledged(acknowledged.alert.kind, waited);
            let alert = acknowledged.alert.clone();
            self.tell(&[AlertChange { kind: ChangeKind::Acknowledged, alert }]);
        }
        Ok(acknowledged)
    }

    /// Looks at the board.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Board) -> T) -> T {
        look(&self.board())
    }

    /// What `look` sees, and every change after that.
    pub(crate) fn watch<T>(
        &self,
        look: impl FnOnce(&Board) -> T,
    ) -> (T, broadcast::Receiver<Arc<AlertChange>>) {
        // Changes are told under the lock: none can fall in between.
        let board = self.board();
        (look(&board), self.inner.changes.subscribe())
    }

    /// Everything that is known, as bytes.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        // A copy, so that posts don't wait for the encoding.
        let board = self.board().clone();
        board.snapshot()
    }

    fn tell(&self, changes: &[AlertChange]) {
        for change in changes {
            metrics::alert_changed(change, now());
            tracing::info!(
                alert = change.alert.id.as_str(),
                kind = change.alert.kind.name(),
                change = ?change.kind,
                severity = change.alert.severity.name(),
                "alert"
            );
            // Nobody may be watching.
            let _ = self.inner.changes.send(Arc::new(change.clone()));
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.inner.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
