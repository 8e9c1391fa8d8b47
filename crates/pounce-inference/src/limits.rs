//! How much inference may use, and the largest values that make sense.

use crate::batching::BatchLimits;

/// Most worker threads: more than any machine has cores.
pub const WORKERS_MAX: usize = 1024;
/// Most posts that may be in the queue and in the model; each takes some kilobytes.
pub const QUEUE_POSTS_MAX: usize = 1 << 24;
/// Most bytes that their texts may have.
pub const QUEUE_BYTES_MAX: usize = 1 << 31;
/// Most bytes that the cache of scores may have.
pub const CACHE_BYTES_MAX: usize = 1 << 31;
/// Most posts that may run through the model together.
pub const BATCH_POSTS_MAX: usize = 4096;
/// Most tokens that may run through the model together.
pub const BATCH_TOKENS_MAX: usize = 1 << 20;

/// How much of what inference may use.
#[derive(Debug, Clone)]
pub struct ScorerLimits {
    /// Worker threads.
    pub workers: usize,
    /// Posts that may be in the queue and in the model at a time, over all flows. A quarter
    /// of the room is kept for callers and flows that hold little.
    pub queue_posts_max: usize,
    /// Bytes of the texts of these posts, at most.
    pub queue_bytes_max: usize,
    /// Bytes of the cache of scores; 0 turns it off.
    pub cache_bytes_max: usize,
    /// What a batch may hold.
    pub batch: BatchLimits,
}

/// A limit that is out of its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {value}, but must be between {min} and {max}")]
pub struct LimitsError {
    /// Name of the setting, as in [`ScorerLimits`].
    pub name: &'static str,
    /// What it was set to.
    pub value: usize,
    /// The least that it may be.
    pub min: usize,
    /// The most that it may be.
    pub max: usize,
}

impl ScorerLimits {
    /// Checks that every limit is in its range.
    /// # Errors
    /// [`LimitsError`] for the first that is not.
    pub fn check(&self) -> Result<(), LimitsError> {
        [
            ("workers", self.workers, 1, WORKERS_MAX),
            ("queue_posts_max", self.queue_posts_max, 1, QUEUE_POSTS_MAX),
            ("queue_bytes_max", self.queue_bytes_max, 1, QUEUE_BYTES_MAX),
            ("cache_bytes_max", self.cache_bytes_max, 0, CACHE_BYTES_MAX),
            ("forward_posts_max", self.batch.posts_max, 1, BATCH_POSTS_MAX),
            ("forward_tokens_max", self.batch.tokens_max, 1, BATCH_TOKENS_MAX),
        ]
        .into_iter()
        .find(|(_, value, min, max)| !(min..=max).contains(&value))
        .map_or(Ok(()), |(name, value, min, max)| Err(LimitsError { name, value, min, max }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_out_of_range_is_named() {
        let limits = ScorerLimits {
            workers: 2,
            queue_posts_max: 100,
            queue_bytes_max: 1000,
            cache_bytes_max: 0,
            batch: BatchLimits { posts_max: 8, tokens_max: 512, padding_max: Some(0.15) },
        };
        assert_eq!(limits.check(), Ok(()));
        let many = ScorerLimits { workers: 100_000, ..limits.clone() };
        let error = many.check().expect_err("too many").to_string();
        assert_eq!(error, "workers is 100000, but must be between 1 and 1024");
        let none = ScorerLimits { queue_posts_max: 0, ..limits.clone() };
        assert_eq!(none.check().map_err(|error| error.name), Err("queue_posts_max"));
        let huge = ScorerLimits { queue_posts_max: usize::MAX, ..limits };
        assert_eq!(huge.check().map_err(|error| error.name), Err("queue_posts_max"));
    }
}
