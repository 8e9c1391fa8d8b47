//! Who praised us and has an audience: told to those who watch, kept by nobody.

use std::sync::Arc;

use tokio::sync::broadcast;

pub(crate) use pounce_replication::Advocate;

/// Advocates that a slow watcher may be behind before it misses some. They have
/// a line of their own: however many there are, no alert is missed for them.
const ADVOCATES_MAX: usize = 1024;

/// Tells those who watch. Cheap to clone.
#[derive(Clone)]
pub struct Advocates(broadcast::Sender<Arc<Advocate>>);

impl Advocates {
    pub(crate) fn new() -> Self {
        Self(broadcast::channel(ADVOCATES_MAX).0)
    }

    /// Never waits: who reads too slowly misses some.
    pub(crate) fn tell(&self, advocate: Advocate) {
        // Nobody may be watching.
        let _ = self.0.send(Arc::new(advocate));
    }

    /// Every advocate from now on.
    pub(crate) fn watch(&self) -> broadcast::Receiver<Arc<Advocate>> {
        self.0.subscribe()
    }
}
