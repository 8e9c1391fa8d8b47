//! When the next batch leaves: with company, where company is near.
//!
//! A batch wakes idle processors: to be sent, and to be read back. So its first item waits a little for the
//! next, and both leave when a third would come too late, if it came as fast. Where none comes, as
//! with a caller that sends one post at a time, waiting is for nothing: then ever more items leave at
//! once before it is tried again, as in truncated exponential backoff (Metcalfe and Boggs, 1976).
//!
//! Pure: the time is an argument.

use std::time::{Duration, Instant};

/// A batch of so many items leaves in any case.
const FULL: usize = 100;
/// A batch of so many items waits for no others: each further one would save less than the last.
const ENOUGH: usize = 4;
/// The first item of a batch waits so long at most for others.
const WAIT_MAX: Duration = Duration::from_millis(6);
/// A batch that is not full leaves so long after the one before.
const INTERVAL_MIN: Duration = Duration::from_millis(2);
/// So many first items leave at once, at most, before one waits again.
const SKIP_MAX: u32 = 63;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the batch before left.
    left_at: Option<Instant>,
    /// When the next batch is to leave.
    due_at: Option<Instant>,
    /// When its first item came, while that waits for others.
    waits_since: Option<Instant>,
    /// First items that leave at once after one that waited in vain ...
    skip: u32,
    /// ... and how many of these are still to come.
    skip_left: u32,
}

impl Pace {
    /// When the next batch is to leave; none while it has no items.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.due_at
    }

    /// An item came, with which the next batch has `items`.
    pub(super) fn came(&mut self, items: usize, now: Instant) {
        let soonest = self.left_at.map_or(now, |left_at| now.max(left_at + INTERVAL_MIN));
        if items >= FULL {
            (self.due_at, self.waits_since) = (Some(now), None);
        } else if items <= 1 {
            let waits = self.skip_left == 0;
            self.skip_left = self.skip_left.saturating_sub(1);
            self.waits_since = waits.then_some(now);
            self.due_at = Some(if waits { now + WAIT_MAX } else { soonest });
        } else if let Some(since) = self.waits_since {
            let waited = now.saturating_duration_since(since);
            let gap = waited / u32::try_from(items - 1).unwrap_or(u32::MAX);
            // The next one may be a little late.
            let next_in = gap + gap / 4;
            if waited < WAIT_MAX && (items >= ENOUGH || waited + next_in > WAIT_MAX) {
                (self.due_at, self.waits_since) = (Some(soonest), None);
                (self.skip, self.skip_left) = (self.skip / 4, 0);
            }
        }
    }

    /// The batch left; `more` is set if there is another one, which waits for nothing.
    pub(super) fn left(&mut self, more: bool, now: Instant) {
        if self.waits_since.take().is_some_and(|since| now >= since + WAIT_MAX) {
            self.skip = (self.skip * 2 + 1).min(SKIP_MAX);
            self.skip_left = self.skip;
        }
        self.left_at = Some(now);
        self.due_at = more.then_some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// What became of posts.
    struct Played {
        batches: usize,
        /// Of each post, oldest first.
        waited: Vec<Duration>,
    }

    /// Plays `posts` to an appender that is ready whenever a batch is due: the n-th comes `gap(n)` after the
    /// one before, or after that was sent if `in_turn`.
    fn play(posts: usize, in_turn: bool, gap: impl Fn(usize) -> Duration) -> Played {
        let mut pace = Pace::default();
        let mut now = Instant::now();
        let mut played = Played { batches: 0, waited: Vec::new() };
        let mut held: Vec<Instant> = Vec::new();
        let mut send = |pace: &mut Pace, held: &mut Vec<Instant>, at: Instant| {
            played.batches += 1;
            played.waited.extend(held.drain(..).map(|came| at - came));
            pace.left(false, at);
        };
        for n in 0..posts {
            let mut next = now + gap(n);
            while let Some(due_at) = pace.due_at().filter(|due_at| in_turn || *due_at < next) {
                let at = due_at.max(now);
                send(&mut pace, &mut held, at);
                next = if in_turn { at + gap(n) } else { next };
            }
            now = next;
            held.push(now);
            pace.came(held.len(), now);
        }
        while let Some(due_at) = pace.due_at() {
            send(&mut pace, &mut held, due_at.max(now));
        }
        played
    }

    #[test]
    fn posts_that_come_evenly_share_batches_and_none_waits_long() {
        for (rate, batches) in
            [(260, 130..=131), (300, 150..=151), (500, 166..=168), (1200, 300..=301)]
        {
            let played = play(rate as usize, false, |_| SECOND / rate);
            assert!(batches.contains(&played.batches), "{rate}: {}", played.batches);
            assert!(played.waited.iter().all(|waited| *waited <= WAIT_MAX), "{rate}");
        }
    }

    #[test]
    fn a_caller_that_sends_a_post_at_a_time_seldom_waits() {
        let played = play(1000, true, |_| Duration::from_millis(3));
        assert_eq!(played.batches, 1000);
        let waited = played.waited.iter().filter(|waited| !waited.is_zero()).count();
        assert!(waited < 25, "{waited} waited");
    }
}
