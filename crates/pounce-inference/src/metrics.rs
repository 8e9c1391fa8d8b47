//! Names, units, help and buckets of inference's metrics. Call sites say what happened.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::batching::Closed;
use crate::scored::Timings;

const POWERS: [f64; 14] =
    [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0];

/// Seconds: half a millisecond, a short batch, to ten seconds.
const BATCH_SECONDS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 1.0, 10.0];

/// Upper bounds of the buckets of each histogram of its own; those of stages are the service's.
pub const BUCKETS: [(&str, &[f64]); 3] = [
    ("pounce_batch_posts", &POWERS),
    ("pounce_batch_padded_tokens", &POWERS),
    ("pounce_batch_duration_seconds", &BATCH_SECONDS),
];

/// Why a post was taken out of the queue without a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DropReason {
    /// The queue was full.
    Shed,
    /// The caller went away.
    Cancelled,
    /// The caller's deadline passed.
    Deadline,
}

impl DropReason {
    const ALL: [Self; 3] = [Self::Shed, Self::Cancelled, Self::Deadline];

    fn name(self) -> &'static str {
        match self {
            Self::Shed => "shed",
            Self::Cancelled => "cancelled",
            Self::Deadline => "deadline",
        }
    }
}

fn closed_name(closed: Closed) -> &'static str {
    match closed {
        Closed::Full => "full",
        Closed::Tokens => "tokens",
        Closed::Padding => "padding",
        Closed::Share => "share",
        Closed::Drained => "drained",
    }
}

/// Describes every metric and makes every series exist: without, `rate()` misses the first event.
pub fn register() {
    describe_counter!(
        "pounce_posts_dropped_total",
        "Posts given up before they were scored, in the queue or waiting for room in it"
    );
    describe_counter!("pounce_tokens_total", "Tokens run through the model");
    describe_counter!("pounce_batches_closed_total", "Batches formed, by why they were closed");
    describe_counter!("pounce_worker_restarts_total", "Engines rebuilt after a panic");
    describe_histogram!(
        "pounce_stage_duration_seconds",
        Unit::Seconds,
        "Time of a post in each stage"
    );
    describe_histogram!("pounce_batch_posts", "Posts a batch");
    describe_histogram!("pounce_batch_padded_tokens", "Tokens a batch, padding included");
    describe_histogram!(
        "pounce_batch_duration_seconds",
        Unit::Seconds,
        "Time of a worker for a batch: the rate of the sum over the workers is how busy they are"
    );
    describe_gauge!("pounce_queue_posts", "Posts waiting for a worker");
    describe_gauge!("pounce_queue_capacity", "Posts that may wait or run");
    describe_gauge!("pounce_workers", "Workers with an engine");
    describe_gauge!("pounce_workers_busy", "Workers running a batch");
    describe_gauge!(
        "pounce_worker_run_seconds",
        Unit::Seconds,
        "The longest time that a worker has been at its current run of the model"
    );

    for reason in DropReason::ALL {
        counter!("pounce_posts_dropped_total", "reason" => reason.name()).absolute(0);
    }
    for kind in ["real", "padding"] {
        counter!("pounce_tokens_total", "kind" => kind).absolute(0);
    }
    for closed in [Closed::Full, Closed::Tokens, Closed::Padding, Closed::Share, Closed::Drained] {
        counter!("pounce_batches_closed_total", "reason" => closed_name(closed)).absolute(0);
    }
    counter!("pounce_worker_restarts_total").absolute(0);
    for stage in ["tokenize", "queue", "infer"] {
        let _ = histogram!("pounce_stage_duration_seconds", "stage" => stage);
    }
    let _ = histogram!("pounce_batch_posts");
    let _ = histogram!("pounce_batch_padded_tokens");
    let _ = histogram!("pounce_batch_duration_seconds");
    for name in [
        "pounce_queue_posts",
        "pounce_queue_capacity",
        "pounce_workers",
        "pounce_workers_busy",
        "pounce_worker_run_seconds",
    ] {
        gauge!(name).set(0.0);
    }
}

/// The model ran on a post.
pub(crate) fn post_inferred(timings: &Timings) {
    for (stage, took) in
        [("tokenize", timings.tokenize), ("queue", timings.queue), ("infer", timings.infer)]
    {
        stage_took(stage, took);
    }
}

fn stage_took(stage: &'static str, took: Duration) {
    histogram!("pounce_stage_duration_seconds", "stage" => stage).record(took);
}

/// A post left the queue unscored.
pub(crate) fn posts_dropped(reason: DropReason) {
    counter!("pounce_posts_dropped_total", "reason" => reason.name()).increment(1);
}

/// A batch of `rows` posts, `real` tokens and `padded` tokens with padding was formed.
pub(crate) fn batch_formed(rows: usize, real: usize, padded: usize, closed: Closed) {
    histogram!("pounce_batch_posts").record(as_f64(rows));
    histogram!("pounce_batch_padded_tokens").record(as_f64(padded));
    counter!("pounce_tokens_total", "kind" => "real").increment(real as u64);
    counter!("pounce_tokens_total", "kind" => "padding").increment((padded - real) as u64);
    counter!("pounce_batches_closed_total", "reason" => closed_name(closed)).increment(1);
}

/// So many posts wait for a worker.
pub(crate) fn queue_length(posts: usize) {
    gauge!("pounce_queue_posts").set(as_f64(posts));
}

/// So many posts may wait or run.
pub(crate) fn queue_capacity(posts: usize) {
    gauge!("pounce_queue_capacity").set(as_f64(posts));
}

/// So many workers have an engine.
pub(crate) fn workers(alive: usize) {
    gauge!("pounce_workers").set(as_f64(alive));
}

/// A worker began a batch.
pub(crate) fn batch_began() {
    gauge!("pounce_workers_busy").increment(1.0);
}

/// A worker ended a batch that took it so long.
pub(crate) fn batch_ended(took: Duration) {
    gauge!("pounce_workers_busy").decrement(1.0);
    histogram!("pounce_batch_duration_seconds").record(took);
}

/// A worker has been at its current run of the model for this long; zero if none is.
pub(crate) fn longest_run(took: Duration) {
    gauge!("pounce_worker_run_seconds").set(took.as_secs_f64());
}

/// A worker builds its engine anew.
pub(crate) fn worker_restarted() {
    counter!("pounce_worker_restarts_total").increment(1);
}

#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn as_f64(count: usize) -> f64 {
    count as f64
}
