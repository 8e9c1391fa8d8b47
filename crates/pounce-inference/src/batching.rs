//! The choice of the next batch. Pure.
//!
//! A batch is chosen when a worker asks, not before. It starts with the post whose turn it is. If
//! the engine pads, it fills up with posts of like length, since padding is then the biggest
//! waste; if not, with those whose turn is next, but with no more than half of a worker's share of
//! those who wait: posts of a batch wait for each other, and all that they gain is one wake-up for
//! several. So posts leave alone while few wait, and in full batches while many do.

use crate::fair_queue::{FairQueue, JobId};

/// What a batch may hold.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Posts of a batch, at most.
    pub posts_max: usize,
    /// Tokens of a batch, padding included, at most.
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
    /// It has half of a worker's share of those who wait.
    Share,
    /// Nobody else was waiting.
    Drained,
}

/// Takes the next batch out of `queue`, from which `workers` take theirs; `None` if it is empty.
pub fn next_batch(
    queue: &mut FairQueue,
    limits: &BatchLimits,
    workers: usize,
) -> Option<(Vec<JobId>, Closed)> {
    let share = match limits.padding_max {
        Some(_) => usize::MAX,
        None => queue.len().div_ceil(2 * workers.max(1)),
    };
    let (job, length) = queue.pop()?;
    let mut jobs = vec![job];
    let (mut width, mut tokens) = (length, length);
    let closed = loop {
        if jobs.len() >= limits.posts_max {
            break Closed::Full;
        }
        let rows = jobs.len() + 1;
        let cost = |length: usize| padding(rows * width.max(length), tokens + length);
        let next = match limits.padding_max {
            Some(_) => queue.best_fit(width, cost),
            None => queue.first(),
        };
        let Some((job, length)) = next else { break Closed::Drained };
        if jobs.len() >= share {
            break Closed::Share;
        }
        let area = match limits.padding_max {
            Some(_) => rows * width.max(length),
            None => tokens + length,
        };
        if area > limits.tokens_max {
            break Closed::Tokens;
        }
        if limits.padding_max.is_some_and(|max| padding(area, tokens + length) > max) {
            break Closed::Padding;
        }
        match limits.padding_max {
            Some(_) => queue.serve(job),
            None => queue.pop().is_some(),
        };
        jobs.push(job);
        width = width.max(length);
        tokens += length;
    };
    Some((jobs, closed))
}

#[allow(clippy::cast_precision_loss, reason = "token counts are far below 2^52")]
fn padding(area: usize, tokens: usize) -> f64 {
    1.0 - tokens as f64 / area as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flow_key::{CallerId, FlowId, FlowKey};

    const LIMITS: BatchLimits =
        BatchLimits { posts_max: 4, tokens_max: 400, padding_max: Some(0.1) };
    const PACKED: BatchLimits = BatchLimits { padding_max: None, ..LIMITS };
    const FLOW: FlowKey = FlowKey { caller: CallerId(0), flow: FlowId(0) };

    fn caller(caller: u64) -> FlowKey {
        FlowKey::shared(CallerId(caller))
    }

    fn queue_of(lengths: &[usize]) -> FairQueue {
        let mut queue = FairQueue::default();
        for (job, &length) in lengths.iter().enumerate() {
            queue.push(JobId(job as u64), FLOW, length);
        }
        queue
    }

    fn ids(batch: Option<(Vec<JobId>, Closed)>) -> (Vec<u64>, Closed) {
        let (mut jobs, closed) = batch.expect("somebody waits");
        jobs.sort();
        (jobs.into_iter().map(|job| job.0).collect(), closed)
    }

    #[test]
    fn the_oldest_post_leaves_with_posts_of_its_length() {
        let mut queue = queue_of(&[20, 90, 20, 91, 21, 19, 90]);
        assert_eq!(ids(next_batch(&mut queue, &LIMITS, 1)), (vec![0, 2, 4, 5], Closed::Full));
        assert_eq!(ids(next_batch(&mut queue, &LIMITS, 1)), (vec![1, 3, 6], Closed::Drained));
        assert!(next_batch(&mut queue, &LIMITS, 1).is_none());
    }

    #[test]
    fn a_batch_closes_before_it_pads_too_much_or_grows_too_wide() {
        assert_eq!(
            ids(next_batch(&mut queue_of(&[10, 30]), &LIMITS, 1)),
            (vec![0], Closed::Padding)
        );
        assert_eq!(
            ids(next_batch(&mut queue_of(&[300, 300]), &LIMITS, 1)),
            (vec![0], Closed::Tokens)
        );
    }

    #[test]
    fn posts_that_are_not_padded_leave_in_turn() {
        let mut queue = queue_of(&[20, 90, 20, 91, 300, 101, 90]);
        assert_eq!(ids(next_batch(&mut queue, &PACKED, 1)), (vec![0, 1, 2, 3], Closed::Full));
        assert_eq!(ids(next_batch(&mut queue, &PACKED, 1)), (vec![4], Closed::Tokens));
        assert_eq!(ids(next_batch(&mut queue, &PACKED, 1)), (vec![5], Closed::Share));
        assert_eq!(ids(next_batch(&mut queue, &PACKED, 1)), (vec![6], Closed::Drained));
    }

    #[test]
    fn a_worker_takes_half_of_its_share_of_those_who_are_not_padded() {
        let sizes = |limits: &BatchLimits, workers| {
            let mut queue = queue_of(&[10; 24]);
            let batches = std::iter::from_fn(|| next_batch(&mut queue, limits, workers));
            batches.map(|(jobs, _)| jobs.len()).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&PACKED, 1), [4, 4, 4, 4, 4, 2, 1, 1]);
        assert_eq!(sizes(&PACKED, 3), [4, 4, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1]);
        assert_eq!(sizes(&LIMITS, 3), [4; 6], "padding wants company");
    }

    #[test]
    fn a_trickle_does_not_wait_behind_a_firehose() {
        let mut queue = FairQueue::default();
        for job in 0..100 {
            queue.push(JobId(job), caller(1), 10);
        }
        next_batch(&mut queue, &LIMITS, 1);
        queue.push(JobId(100), caller(2), 200);
        let (jobs, _) = ids(next_batch(&mut queue, &LIMITS, 1));
        assert_eq!(jobs, [100]);
    }

    #[test]
    fn a_job_that_left_is_in_no_batch() {
        let mut queue = queue_of(&[10, 10]);
        assert!(queue.remove(JobId(0)));
        assert!(!queue.remove(JobId(0)));
        assert_eq!(ids(next_batch(&mut queue, &LIMITS, 1)), (vec![1], Closed::Drained));
    }

    proptest! {
        #[test]
        fn every_post_leaves_once_and_batches_keep_their_limits(
            posts in prop::collection::vec((0_u64..4, 2_usize..128), 1..200),
            packed in any::<bool>(),
            workers in 1_usize..9,
        ) {
            let limits = if packed { PACKED } else { LIMITS };
            let mut queue = FairQueue::default();
            for (job, &(flow, length)) in posts.iter().enumerate() {
                queue.push(JobId(job as u64), FlowKey { caller: CallerId(flow % 2), flow: FlowId(flow) }, length);
            }
            let mut left = Vec::new();
            while let Some((jobs, _)) = next_batch(&mut queue, &limits, workers) {
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
            prop_assert!(queue.is_empty());
        }
    }
}
