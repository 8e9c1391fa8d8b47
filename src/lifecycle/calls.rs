//! How many calls are open, for a drain to know when the last one has ended.

use tokio::sync::watch;

/// Counts open calls. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OpenCalls(watch::Sender<usize>);

impl OpenCalls {
    /// None are open.
    #[must_use]
    pub fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    /// Counts a call until what this returns is dropped.
    pub(crate) fn begin(&self) -> OpenCall {
        self.0.send_modify(|open| *open += 1);
        OpenCall(self.0.clone())
    }

    /// Whether a call is open.
    #[must_use]
    pub fn any(&self) -> bool {
        *self.0.borrow() > 0
    }

    /// Completes when no call is open. Safe to drop.
    pub async fn none(&self) {
        // This holds the sender, so that the wait can't fail.
        let _ = self.0.subscribe().wait_for(|open| *open == 0).await;
    }
}

impl Default for OpenCalls {
    fn default() -> Self {
        Self::new()
    }
}

/// A call that is open.
#[derive(Debug)]
pub(crate) struct OpenCall(watch::Sender<usize>);

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}
