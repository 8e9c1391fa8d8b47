//! Pauses between attempts: doubling up to a limit, with jitter, so that clients that lost the same
//! server do not all come back at once.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

/// How long to wait before the next attempt: 50 ms, doubling up to 2 s, times a random factor of 1 to 2.
#[derive(Debug)]
pub struct Backoff(ExponentialBackoff);

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

impl Backoff {
    /// Before the first attempt.
    #[must_use]
    pub fn new() -> Self {
        let pauses = ExponentialBuilder::new()
            .with_min_delay(FIRST)
            .with_max_delay(LONGEST)
            .with_factor(2.0)
            .with_jitter()
            .without_max_times();
        Self(pauses.build())
    }

    /// The last attempt succeeded: the next pause is short again.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// Waits for this pause. Safe to drop.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.0.next().unwrap_or(LONGEST)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_differ_between_clients() {
        let pauses = |_| Backoff::new().0.take(100).collect::<Vec<_>>();
        let clients: Vec<Vec<Duration>> = (0..20).map(pauses).collect();
        for pauses in &clients {
            assert_eq!(pauses.len(), 100, "it never gives up");
            for (nth, pause) in (0..).zip(pauses) {
                let base = (FIRST * 2_u32.pow(nth.min(10))).min(LONGEST);
                assert!((base..=base * 2).contains(pause), "pause {nth} is {pause:?}");
            }
        }
        assert!(clients.iter().any(|pauses| pauses[0] != clients[0][0]), "no jitter");
    }
}
