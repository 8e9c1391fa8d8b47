//! What inference may use: threads, queue, cache, batches.

use clap::Args;
use pounce_inference::batching::BatchLimits;
use pounce_inference::limits::{
    BATCH_POSTS_MAX, BATCH_TOKENS_MAX, CACHE_BYTES_MAX, QUEUE_BYTES_MAX, QUEUE_POSTS_MAX,
    WORKERS_MAX,
};
use pounce_inference::scorer::ScorerLimits;

use super::error::{ConfigError, within};

/// Share of a batch that may be padding; with more, a batch of its own is faster.
const PADDING_MAX: f64 = 0.15;

#[derive(Debug, Args)]
#[command(next_help_heading = "Inference")]
pub(super) struct InferenceFlags {
    /// Worker threads [default: one for each core that the process may use]
    #[arg(long, env = "POUNCE_WORKERS", value_name = "N")]
    workers: Option<usize>,
    /// Posts that wait or are being scored, over all callers, at most
    #[arg(long, env = "POUNCE_QUEUE_POSTS_MAX", default_value_t = 8192, value_name = "N")]
    pub(super) queue_posts_max: usize,
    /// Bytes of the texts of these posts, at most
    #[arg(long, env = "POUNCE_QUEUE_BYTES_MAX", default_value_t = 16 << 20, value_name = "BYTES")]
    queue_bytes_max: usize,
    /// Bytes of the cache of scores; 0: no cache
    #[arg(long, env = "POUNCE_CACHE_BYTES_MAX", default_value_t = 16 << 20, value_name = "BYTES")]
    cache_bytes_max: usize,
    /// Posts of a batch that runs through the model, at most
    #[arg(long, env = "POUNCE_FORWARD_POSTS_MAX", default_value_t = 8, value_name = "N")]
    forward_posts_max: usize,
    /// Tokens of such a batch, padding included, at most
    #[arg(long, env = "POUNCE_FORWARD_TOKENS_MAX", default_value_t = 2048, value_name = "N")]
    forward_tokens_max: usize,
}

impl InferenceFlags {
    /// Checks the limits; a text of `text_bytes_max` bytes must fit into the queue.
    pub(super) fn checked(self, text_bytes_max: usize) -> Result<ScorerLimits, ConfigError> {
        let workers = self.workers.unwrap_or_else(cores);
        Ok(ScorerLimits {
            workers: within("--workers", workers, 1, WORKERS_MAX)?,
            queue_posts_max: within("--queue-posts-max", self.queue_posts_max, 1, QUEUE_POSTS_MAX)?,
            queue_bytes_max: within(
                "--queue-bytes-max",
                self.queue_bytes_max,
                text_bytes_max,
                QUEUE_BYTES_MAX,
            )?,
            cache_bytes_max: within("--cache-bytes-max", self.cache_bytes_max, 0, CACHE_BYTES_MAX)?,
            batch: BatchLimits {
                posts_max: within(
                    "--forward-posts-max",
                    self.forward_posts_max,
                    1,
                    BATCH_POSTS_MAX,
                )?,
                tokens_max: within(
                    "--forward-tokens-max",
                    self.forward_tokens_max,
                    1,
                    BATCH_TOKENS_MAX,
                )?,
                padding_max: Some(PADDING_MAX),
            },
        })
    }
}

/// Cores that the process may use: those of its cgroup's quota.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
