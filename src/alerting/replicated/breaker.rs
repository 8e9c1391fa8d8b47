//! Whether replies wait for the log.
//!
//! A circuit breaker (Nygard, Release It!, 2007): while it is open, nobody waits. It opens when nothing
//! is applied for a while, and closes when the log was read to its end. Pure: the time is an argument.

use std::time::{Duration, Instant};

/// Nobody waits when the oldest item has waited for so much longer than the longest silence, whatever
/// else is applied.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(super) struct Breaker {
    open: bool,
    /// Nobody waits when nothing was applied for this long.
    silence_max: Duration,
    applied_at: Instant,
}

impl Breaker {
    /// Open: until the first entry was read back nobody knows that the log answers.
    pub(super) fn new(silence_max: Duration, now: Instant) -> Self {
        Self { open: true, silence_max, applied_at: now }
    }

    /// Whether nobody waits.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// When an entry was last applied.
    pub(super) fn applied_at(&self) -> Instant {
        self.applied_at
    }

    /// An entry was applied.
    pub(super) fn applied(&mut self, now: Instant) {
        self.applied_at = now;
    }

    /// Opens if the log is silent while an item waits since `oldest`; tells whether it does.
    pub(super) fn opens(&mut self, oldest: Instant, now: Instant) -> bool {
        let waited = now.saturating_duration_since(oldest);
        let silent = now.saturating_duration_since(self.applied_at) > self.silence_max;
        let opens = (silent && waited > self.silence_max) || waited > self.silence_max + WAIT_MAX;
        let opened = opens && !self.open;
        self.open |= opens;
        opened
    }

    /// Closes if all was read, and no item has waited since `oldest` for too long; tells whether it
    /// does.
    pub(super) fn closes(
        &mut self,
        caught_up: bool,
        oldest: Option<Instant>,
        now: Instant,
    ) -> bool {
        let delayed =
            oldest.is_some_and(|oldest| now.saturating_duration_since(oldest) > self.silence_max);
        let closed = self.open && caught_up && !delayed;
        self.open &= !closed;
        closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE_MAX: Duration = Duration::from_millis(250);

    fn closed(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(SILENCE_MAX, now);
        assert!(breaker.is_open(), "until the log has answered");
        assert!(breaker.closes(true, None, now));
        breaker
    }

    #[test]
    fn it_opens_once_when_the_log_is_silent_and_somebody_waits() {
        let start = Instant::now();
        let mut breaker = closed(start);
        let late = start + SILENCE_MAX + Duration::from_millis(1);
        assert!(!breaker.opens(late, late), "nobody has waited");
        assert!(!breaker.opens(start, start + SILENCE_MAX), "not yet");
        assert!(breaker.opens(start, late));
        assert!(!breaker.opens(start, late), "it is open");
    }

    #[test]
    fn it_stays_closed_while_entries_are_applied_but_not_for_ever() {
        let start = Instant::now();
        let mut breaker = closed(start);
        let late = start + 2 * SILENCE_MAX;
        breaker.applied(late);
        assert!(!breaker.opens(start, late), "others' entries are applied");
        let later = start + SILENCE_MAX + WAIT_MAX + Duration::from_millis(1);
        breaker.applied(later);
        assert!(breaker.opens(start, later));
    }

    #[test]
    fn it_closes_when_all_was_read_and_nobody_is_late() {
        let start = Instant::now();
        let mut breaker = Breaker::new(SILENCE_MAX, start);
        let late = start + 2 * SILENCE_MAX;
        assert!(!breaker.closes(false, None, late), "behind");
        assert!(!breaker.closes(true, Some(start), late), "an item waits since the silence");
        assert!(breaker.closes(true, Some(late), late));
        assert!(!breaker.is_open());
    }
}
