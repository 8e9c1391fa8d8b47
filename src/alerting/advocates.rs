//! Who praised us and has an audience: told to those who watch, kept by nobody.

use std::sync::Arc;

use tokio::sync::broadcast;

use pounce_types::post::{Place, PostId, Timestamp, Topic};

/// Advocates that a slow watcher may be behind before it misses some. They have
/// a line of their own: however many there are, no alert is missed for them.
const ADVOCATES_MAX: usize = 1024;

/// A post that was flagged as advocate. Its text stays behind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Advocate {
    pub(crate) topic: Option<Topic>,
    pub(crate) place: Option<Place>,
    pub(crate) post_id: PostId,
    /// Of its author.
    pub(crate) followers: u64,
    /// Of positive.
    pub(crate) probability: f32,
    /// Event time.
    pub(crate) at: Timestamp,
}

/// Tells those who watch. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Advocates(broadcast::Sender<Arc<Advocate>>);

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
