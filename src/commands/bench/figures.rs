//! What both halves of the benchmark share: rates, medians and how they fail.

use std::cmp::Ordering;
use std::time::Duration;

pub(super) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Posts of which the latency is measured one at a time.
pub(super) const SINGLES: usize = 200;

#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(super) fn rate(posts: usize, elapsed: Duration) -> f64 {
    posts as f64 / elapsed.as_secs_f64()
}

pub(super) fn median<T: PartialOrd + Copy + Default>(mut values: Vec<T>) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
    values.get(values.len() / 2).copied().unwrap_or_default()
}

pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
