//! Who praised us and has an audience: told to those who watch, kept by nobody.

use std::sync::Arc;

use tokio::sync::broadcast;

use crate::post::{Place, PostId, Timestamp, Topic};

/// Advocates that a slow watcher may be behind before it misses some. They have
/// a line of their own: however many there are, no alert is missed for them.
const ADVOCATES_MAX: usize = 1024;

/// A post that was flagged as advocate. Its text stays behind.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Advocate {
    pub(super) topic: Option<Topic>,
    pub(super) place: Option<Place>,
    pub(super) post_id: PostId,
    /// Of its author.
    pub(super) followers: u64,
    /// Of positive.
    pub(super) probability: f32,
    /// Event time.
    pub(super) at: Timestamp,
}

/// Tells those who watch. Cheap to clone.
#[derive(Clone)]
pub(super) struct Advocates(broadcast::Sender<Arc<Advocate>>);

impl Advocates {
    pub(super) fn new() -> Self {
        Self(broadcast::channel(ADVOCATES_MAX).0)
    }

    /// Never waits: who reads too slowly misses some.
    pub(super) fn tell(&self, advocate: Advocate) {
        // Nobody may be watching.
        let _ = self.0.send(Arc::new(advocate));
    }

    /// Every advocate from now on.
    pub(super) fn watch(&self) -> broadcast::Receiver<Arc<Advocate>> {
        self.0.subscribe()
    }
}
