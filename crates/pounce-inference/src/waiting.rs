//! Posts that wait for a worker, and the choice of the next batch. Pure.
//!
//! The batch is chosen when a worker asks, not before. It starts from the post
//! whose turn it is and fills up with posts of like length, since padding is
//! the biggest waste. Turns are fair between lanes: a lane's post is one turn
//! behind its last one, and never behind the turn being served
//! (start-time fair queueing, Goyal et al. 1996, with every post of size 1).

use std::collections::{BTreeMap, HashMap};

/// Identifies a job of the scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct JobId(pub(super) u64);

/// Identifies a stream, or whatever else shares fairly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LaneId(pub(super) u64);

/// What a batch may hold.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Posts.
    pub posts_max: usize,
    /// Tokens, padding included.
    pub tokens_max: usize,
    /// Share of the tokens that may be padding, 0 to 1.
    pub padding_max: f64,
}

/// Why a batch was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// It holds as many posts as it may.
    Full,
    /// The next post would pass the tokens it may hold.
    Tokens,
    /// The next post would add too much padding.
    Padding,
    /// Nobody else was waiting.
    Drained,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    round: u64,
    arrival: u64,
}

/// The posts that wait, by turn and by length.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    by_turn: BTreeMap<Turn, (JobId, usize)>,
    by_length: BTreeMap<(usize, Turn), JobId>,
    turns: HashMap<JobId, (Turn, usize)>,
    last_round: HashMap<LaneId, u64>,
    round: u64,
    arrivals: u64,
}

impl Waiting {
    /// Number of posts.
    pub(super) fn posts(&self) -> usize {
        self.turns.len()
    }

    /// Adds a job of `length` tokens behind the lane's last one.
    pub(super) fn push(&mut self, job: JobId, lane: LaneId, length: usize) {
        let behind_own = self.last_round.get(&lane).map_or(0, |last| last + 1);
        let turn = Turn { round: behind_own.max(self.round), arrival: self.arrivals };
        self.arrivals += 1;
        self.last_round.insert(lane, turn.round);
        self.by_turn.insert(turn, (job, length));
        self.by_length.insert((length, turn), job);
        self.turns.insert(job, (turn, length));
    }

    /// Takes a job out; false if it was not waiting.
    pub(super) fn remove(&mut self, job: JobId) -> bool {
        let Some((turn, length)) = self.turns.remove(&job) else { return false };
        self.by_turn.remove(&turn);
        self.by_length.remove(&(length, turn));
        true
    }

    /// Forgets a lane that will push no more.
    pub(super) fn forget(&mut self, lane: LaneId) {
        self.last_round.remove(&lane);
    }

    /// Takes the next batch out; `None` if nobody waits.
    pub(super) fn next_batch(&mut self, limits: &BatchLimits) -> Option<(Vec<JobId>, Closed)> {
        let (&first, &(job, length)) = self.by_turn.first_key_value()?;
        self.round = first.round;
        self.remove(job);
        let mut jobs = vec![job];
        let (mut width, mut tokens) = (length, length);
        let closed = loop {
            if jobs.len() >= limits.posts_max {
                break Closed::Full;
            }
            let Some((job, length)) = self.best_fit(jobs.len(), width, tokens) else {
                break Closed::Drained;
            };
            let area = (jobs.len() + 1) * width.max(length);
            if area > limits.tokens_max {
                break Closed::Tokens;
            }
            if padding(area, tokens + length) > limits.padding_max {
                break Closed::Padding;
            }
            self.remove(job);
            jobs.push(job);
            width = width.max(length);
            tokens += length;
        };
        Some((jobs, closed))
    }

    /// Of the nearest posts not longer and longer than `width`, the one that
    /// leaves less padding; of equally long ones the one whose turn comes first.
    fn best_fit(&self, rows: usize, width: usize, tokens: usize) -> Option<(JobId, usize)> {
        let floor = Turn { round: 0, arrival: 0 };
        let first_of = |length: usize| {
            let (&(length, _), &job) = self.by_length.range((length, floor)..).next()?;
            Some((job, length))
        };
        let shorter = self
            .by_length
            .range(..(width + 1, floor))
            .next_back()
            .and_then(|(&(length, _), _)| first_of(length));
        let longer = first_of(width + 1);
        let cost = |&(_, length): &(JobId, usize)| {
            padding((rows + 1) * width.max(length), tokens + length)
        };
        match (shorter, longer) {
            (Some(a), Some(b)) => Some(if cost(&a) <= cost(&b) { a } else { b }),
            (a, b) => a.or(b),
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "token counts are far below 2^52")]
fn padding(area: usize, tokens: usize) -> f64 {
    1.0 - tokens as f64 / area as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: BatchLimits = BatchLimits { posts_max: 4, tokens_max: 400, padding_max: 0.1 };
    const LANE: LaneId = LaneId(0);

    fn waiting(lengths: &[usize]) -> Waiting {
        let mut waiting = Waiting::default();
        for (job, &length) in lengths.iter().enumerate() {
            waiting.push(JobId(job as u64), LANE, length);
        }
        waiting
    }

    fn ids(batch: Option<(Vec<JobId>, Closed)>) -> (Vec<u64>, Closed) {
        let (mut jobs, closed) = batch.expect("somebody waits");
        jobs.sort();
        (jobs.into_iter().map(|job| job.0).collect(), closed)
    }

    #[test]
    fn the_oldest_post_leaves_with_posts_of_its_length() {
        let mut waiting = waiting(&[20, 90, 20, 91, 21, 19, 90]);
        assert_eq!(ids(waiting.next_batch(&LIMITS)), (vec![0, 2, 4, 5], Closed::Full));
        assert_eq!(ids(waiting.next_batch(&LIMITS)), (vec![1, 3, 6], Closed::Drained));
        assert!(waiting.next_batch(&LIMITS).is_none());
    }

    #[test]
    fn a_batch_closes_before_it_pads_too_much_or_grows_too_wide() {
        assert_eq!(ids(waiting(&[10, 30]).next_batch(&LIMITS)), (vec![0], Closed::Padding));
        assert_eq!(ids(waiting(&[300, 300]).next_batch(&LIMITS)), (vec![0], Closed::Tokens));
    }

    #[test]
    fn a_trickle_does_not_wait_behind_a_firehose() {
        let mut waiting = Waiting::default();
        for job in 0..100 {
            waiting.push(JobId(job), LaneId(1), 10);
        }
        waiting.next_batch(&LIMITS);
        waiting.push(JobId(100), LaneId(2), 200);
        let (jobs, _) = ids(waiting.next_batch(&LIMITS));
        assert_eq!(jobs, [100]);
    }

    #[test]
    fn a_job_that_left_is_in_no_batch() {
        let mut waiting = waiting(&[10, 10]);
        assert!(waiting.remove(JobId(0)));
        assert!(!waiting.remove(JobId(0)));
        assert_eq!(ids(waiting.next_batch(&LIMITS)), (vec![1], Closed::Drained));
    }

    proptest! {
        #[test]
        fn every_post_leaves_once_and_batches_keep_their_limits(
            posts in prop::collection::vec((0_u64..4, 2_usize..128), 1..200),
        ) {
            let mut waiting = Waiting::default();
            for (job, &(lane, length)) in posts.iter().enumerate() {
                waiting.push(JobId(job as u64), LaneId(lane), length);
            }
            let mut left = Vec::new();
            while let Some((jobs, _)) = waiting.next_batch(&LIMITS) {
                let lengths: Vec<usize> = jobs.iter().map(|job| posts[usize::try_from(job.0).expect("small")].1).collect();
                let area = lengths.len() * lengths.iter().max().expect("not empty");
                prop_assert!(lengths.len() <= LIMITS.posts_max);
                prop_assert!(lengths.len() == 1 || area <= LIMITS.tokens_max);
                prop_assert!(padding(area, lengths.iter().sum()) <= LIMITS.padding_max);
                left.extend(jobs);
            }
            left.sort();
            prop_assert_eq!(left, (0..posts.len() as u64).map(JobId).collect::<Vec<_>>());
            prop_assert!(waiting.by_turn.is_empty() && waiting.by_length.is_empty());
        }
    }
}
