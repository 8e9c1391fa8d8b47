//! What a caller asks of the scorer and what it answers. Plain values.

use std::time::Duration;

use opentelemetry::trace::SpanContext;
use pounce_types::post::LanguageTag;
use pounce_types::score::{Probabilities, Sentiment};
use tokio::time::Instant;

/// A score and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// Class probabilities.
    pub probabilities: Probabilities,
    /// The class that the model's labels make of them.
    pub sentiment: Sentiment,
    /// Tokens the model read.
    pub tokens_used: usize,
    /// Tokens of the whole text.
    pub tokens_total: usize,
    /// Whether the same text was scored before, or was asked for by the same caller.
    pub duplicate_text: bool,
    /// Whether the text is confidently in a language that the model does not know.
    pub foreign_language: bool,
    /// Where the time went.
    pub timings: Timings,
    /// The span of the batch it ran in, if the text's own is sampled.
    pub batch: Option<SpanContext>,
}

/// Time spent in each stage of inference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Normalising and splitting.
    pub tokenize: Duration,
    /// Waiting for room and for a worker.
    pub queue: Duration,
    /// In the model, together with the rest of the batch.
    pub infer: Duration,
}

/// Why a text got no score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScoreError {
    /// The queue has no room for another post of this caller, who did not want to wait.
    #[error("the queue of {queue_posts_max} posts has no room for another post of this caller")]
    Full {
        /// The limit.
        queue_posts_max: usize,
        /// When there may be room again.
        retry_delay: Duration,
    },
    /// The deadline passed first.
    #[error("the deadline passed before the post was scored")]
    Deadline,
    /// The model failed on this text.
    #[error("the model failed on this post")]
    Failed,
    /// The service is going away.
    #[error("the service is shutting down")]
    Closed,
}

/// What to do when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// Wait for room: streams, which are slowed by not being read.
    Wait,
    /// Say so at once, unless others hold more than their share of the queue: unary calls.
    Refuse,
}

/// How a text is to be scored.
#[derive(Debug, Clone)]
pub struct ScoreOptions<'a> {
    /// The text's language, if the caller knows it.
    pub language: Option<&'a LanguageTag>,
    /// Deadline for admission and scoring.
    pub deadline: Option<Instant>,
    /// What to do when the queue is full.
    pub when_full: WhenFull,
    /// The text's span, if it is sampled.
    pub span: Option<SpanContext>,
}
