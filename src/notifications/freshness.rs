//! Whether this process knows the alerts of now.
//!
//! A replica that no longer reads the log knows those of the past. Others, which read on, may have
//! told that they ended; but if none does, silence would end them all: a false all-clear. So it
//! goes on with what it told, escalating nothing, for as long as a log usually takes to come back,
//! and then is silent. One that never read the log to its end tells nothing: its snapshot may be
//! hours old.

use std::time::{Duration, Instant};

/// What may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Telling {
    /// All that is known.
    AsItIs,
    /// What was told before.
    AsItWas,
    /// Nothing: it is too old, or nothing was known yet.
    Nothing,
}

/// See the module. Pure: time is an argument.
pub(super) struct Freshness<F> {
    is_up_to_date: F,
    /// For so long what was told is told as it was.
    as_it_was_for: Duration,
    /// When it was up to date last, unless that is too long ago.
    fresh_at: Option<Instant>,
}

impl<F: Fn() -> bool> Freshness<F> {
    pub(super) fn new(is_up_to_date: F, as_it_was_for: Duration) -> Self {
        Self { is_up_to_date, as_it_was_for, fresh_at: None }
    }

    /// What may be told at `now`.
    pub(super) fn look(&mut self, now: Instant) -> Telling {
        if (self.is_up_to_date)() {
            self.fresh_at = Some(now);
            return Telling::AsItIs;
        }
        let Some(at) = self.fresh_at else { return Telling::Nothing };
        if now.saturating_duration_since(at) < self.as_it_was_for {
            return Telling::AsItWas;
        }
        self.fresh_at = None;
        tracing::warn!("behind the observation log for too long: alerts are told no longer");
        Telling::Nothing
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_a_replica_knows_is_told_for_a_while_after_it_fell_behind() {
        let (up_to_date, start) = (Cell::new(false), Instant::now());
        let mut freshness = Freshness::new(|| up_to_date.get(), Duration::from_secs(600));
        let mut look = |seconds| freshness.look(start + Duration::from_secs(seconds));
        assert_eq!(look(0), Telling::Nothing);
        up_to_date.set(true);
        assert_eq!(look(10), Telling::AsItIs);
        up_to_date.set(false);
        assert_eq!(look(609), Telling::AsItWas);
        assert_eq!(look(610), Telling::Nothing);
        assert_eq!(look(611), Telling::Nothing);
        up_to_date.set(true);
        assert_eq!(look(612), Telling::AsItIs);
    }
}
