//! What came of a load, for people and for programs.

use std::fmt;

use serde::Serialize;

use super::drive::Outcome;

/// The figures of one load; times in milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Posts a second that were due; none: as fast as the service took them.
    rate_due: Option<f64>,
    /// Posts a second that were answered.
    rate: f64,
    scored: u64,
    rejected: u64,
    failed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    seconds: f64,
    p50: f64,
    p95: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Report {
    pub(super) fn of(outcome: &Outcome, rate_due: Option<f64>) -> Self {
        let seconds = outcome.took.as_secs_f64();
        let millis = |micros: u64| as_f64(micros) / 1000.0;
        let at = |quantile| millis(outcome.latencies.value_at_quantile(quantile));
        Self {
            rate_due,
            rate: as_f64(outcome.scored + outcome.rejected) / seconds,
            scored: outcome.scored,
            rejected: outcome.rejected,
            failed: outcome.failed,
            failure: outcome.failure.clone(),
            seconds,
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: millis(outcome.latencies.max()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, scored, rejected, failed, seconds, .. } = self;
        writeln!(f, "{rate:.0} posts/s over {seconds:.1} s")?;
        if let Some(due) = self.rate_due {
            writeln!(f, "due        {due:.0} posts/s")?;
        }
        writeln!(f, "scored     {scored}\nrejected   {rejected}\nunanswered {failed}")?;
        if let Some(failure) = &self.failure {
            writeln!(f, "first failure: {failure}")?;
        }
        writeln!(f, "latency from the time a post was due, in milliseconds:")?;
        let Self { p50, p95, p99, p999, max, .. } = self;
        writeln!(f, "p50 {p50:.2}  p95 {p95:.2}  p99 {p99:.2}  p99.9 {p999:.2}  max {max:.2}")
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts and microseconds are far below 2^52")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
