//! Pauses between attempts: doubling, up to a limit.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

/// How long to wait before the next attempt.
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) fn new() -> Self {
        Self(FIRST)
    }

    /// The last attempt led somewhere: the next pause is short again.
    pub(super) fn reset(&mut self) {
        self.0 = FIRST;
    }

    /// Waits for this pause; the next one is twice as long. Safe to drop.
    pub(super) async fn wait(&mut self) {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST);
        tokio::time::sleep(pause).await;
    }
}
