//! Posts that wait for a worker, and the choice of the next batch. Pure.
//!
//! The batch is chosen when a worker asks, not before. It starts from the post
//! whose tag it is and fills up with posts of like length if the engine pads,
//! since padding is then the biggest waste, or else with those whose tags are
//! next. Tags are fair between flows: a flow's post is one tag behind its last
//! one, and never behind the tag being served
//! (start-time fair queueing, Goyal et al. 1996, with every post of size 1).

use std::collections::{BTreeMap, HashMap};

/// Identifies a job of the scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct JobId(pub(super) u64);

/// Identifies a stream, or whatever else shares fairly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FlowId(pub(super) u64);

/// What a batch may hold.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Posts.
    pub posts_max: usize,
    /// Tokens, padding included.
    pub tokens_max: usize,
    /// Share of the tokens that may be padding, 0 to 1; `None`: posts are not padded.
    pub padding_max: Option<f64>,
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
struct StartTag {
    round: u64,
    arrival: u64,
}

/// The posts that wait, by tag and by length.
#[derive(Debug, Default)]
pub(super) struct BatchQueue {
    by_tag: BTreeMap<StartTag, (JobId, usize)>,
    by_length: BTreeMap<(usize, StartTag), JobId>,
    tags: HashMap<JobId, (StartTag, usize)>,
    last_round: HashMap<FlowId, u64>,
    round: u64,
    arrivals: u64,
}

impl BatchQueue {
    /// Number of posts.
    pub(super) fn posts(&self) -> usize {
        self.tags.len()
    }

    /// Adds a job of `length` tokens behind the flow's last one.
    pub(super) fn push(&mut self, job: JobId, flow: FlowId, length: usize) {
        let behind_own = self.last_round.get(&flow).map_or(0, |last| last + 1);
        let tag = StartTag { round: behind_own.max(self.round), arrival: self.arrivals };
        self.arrivals += 1;
        self.last_round.insert(flow, tag.round);
        self.by_tag.insert(tag, (job, length));
        self.by_length.insert((length, tag), job);
        self.tags.insert(job, (tag, length));
    }

    /// Takes a job out; false if it was not waiting.
    pub(super) fn remove(&mut self, job: JobId) -> bool {
        let Some((tag, length)) = self.tags.remove(&job) else { return false };
        self.by_tag.remove(&tag);
        self.by_length.remove(&(length, tag));
        true
    }

    /// Forgets a flow that will push no more.
    pub(super) fn forget(&mut self, flow: FlowId) {
        self.last_round.remove(&flow);
    }

    /// Takes the next batch out; `None` if nobody waits.
    pub(super) fn next_batch(&mut self, limits: &BatchLimits) -> Option<(Vec<JobId>, Closed)> {
        let (&first, &(job, length)) = self.by_tag.first_key_value()?;
        self.round = first.round;
        self.remove(job);
        let mut jobs = vec![job];
        let (mut width, mut tokens) = (length, length);
        let closed = loop {
            if jobs.len() >= limits.posts_max {
                break Closed::Full;
            }
            let next = match limits.padding_max {
                Some(_) => self.best_fit(jobs.len(), width, tokens),
                None => self.by_tag.first_key_value().map(|(_, &next)| next),
            };
            let Some((job, length)) = next else { break Closed::Drained };
            let area = match limits.padding_max {
                Some(_) => (jobs.len() + 1) * width.max(length),
                None => tokens + length,
            };
            if area > limits.tokens_max {
                break Closed::Tokens;
            }
            if limits.padding_max.is_some_and(|max| padding(area, tokens + length) > max) {
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
    /// leaves less padding; of equally long ones the one whose tag comes first.
    fn best_fit(&self, rows: usize, width: usize, tokens: usize) -> Option<(JobId, usize)> {
        let floor = StartTag { round: 0, arrival: 0 };
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

    const LIMITS: BatchLimits =
        BatchLimits { posts_max: 4, tokens_max: 400, padding_max: Some(0.1) };
    const PACKED: BatchLimits = BatchLimits { padding_max: None, ..LIMITS };
    const FLOW: FlowId = FlowId(0);

    fn waiting(lengths: &[usize]) -> BatchQueue {
        let mut waiting = BatchQueue::default();
        for (job, &length) in lengths.iter().enumerate() {
            waiting.push(JobId(job as u64), FLOW, length);
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
    fn posts_that_are_not_padded_leave_in_turn() {
        let mut waiting = waiting(&[20, 90, 20, 91, 300, 19, 90]);
        assert_eq!(ids(waiting.next_batch(&PACKED)), (vec![0, 1, 2, 3], Closed::Full));
        assert_eq!(ids(waiting.next_batch(&PACKED)), (vec![4, 5], Closed::Tokens));
        assert_eq!(ids(waiting.next_batch(&PACKED)), (vec![6], Closed::Drained));
    }

    #[test]
    fn a_trickle_does_not_wait_behind_a_firehose() {
        let mut waiting = BatchQueue::default();
        for job in 0..100 {
            waiting.push(JobId(job), FlowId(1), 10);
        }
        waiting.next_batch(&LIMITS);
        waiting.push(JobId(100), FlowId(2), 200);
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
            packed in any::<bool>(),
        ) {
            let limits = if packed { PACKED } else { LIMITS };
            let mut waiting = BatchQueue::default();
            for (job, &(flow, length)) in posts.iter().enumerate() {
                waiting.push(JobId(job as u64), FlowId(flow), length);
            }
            let mut left = Vec::new();
            while let Some((jobs, _)) = waiting.next_batch(&limits) {
                let lengths: Vec<usize> = jobs.iter().map(|job| posts[usize::try_from(job.0).expect("small")].1).collect();
                let width = lengths.iter().max().expect("not empty");
                let area = if packed { lengths.iter().sum() } else { lengths.len() * width };
                prop_assert!(lengths.len() <= LIMITS.posts_max);
                prop_assert!(lengths.len() == 1 || area <= LIMITS.tokens_max);
                prop_assert!(padding(area, lengths.iter().sum()) <= 0.1);
                left.extend(jobs);
            }
            left.sort();
            prop_assert_eq!(left, (0..posts.len() as u64).map(JobId).collect::<Vec<_>>());
            prop_assert!(waiting.by_tag.is_empty() && waiting.by_length.is_empty());
        }
    }
}
