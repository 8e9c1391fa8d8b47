//! How many messages may be in flight: read from the source and not yet acknowledged.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A bound on messages in flight. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Window {
    free: Arc<Semaphore>,
    size: u32,
}

/// The right to have a message in flight, or several.
#[derive(Debug)]
pub struct Permit(OwnedSemaphorePermit);

impl Window {
    /// A window of `size` messages, at least 1.
    #[must_use]
    pub fn new(size: u32) -> Self {
        let size = size.max(1);
        let free = usize::try_from(size).unwrap_or(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(free)), size }
    }

    /// Messages that may be in flight.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Waits for room for `count` messages, at most as many as the window has. Safe to drop.
    /// # Panics
    /// Never: the semaphore is not closed.
    pub async fn admit(&self, count: u32) -> Permit {
        let permit = Arc::clone(&self.free).acquire_many_owned(count.clamp(1, self.size)).await;
        Permit(permit.expect("it is never closed"))
    }
}

impl Permit {
    /// Takes the right for one message out of several; none if there is none left.
    pub fn one(&mut self) -> Option<Self> {
        self.0.split(1).map(Self)
    }
}
