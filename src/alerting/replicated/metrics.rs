//! Names, units, help and buckets of the metrics of the observation log. Call sites say what
//! happened. They exist only in a process that counts through a log.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use pounce_replication::{EntryForm, Published};

/// Buckets for the time until the log confirms an entry, in seconds.
const APPEND: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// Upper bounds of the buckets of each histogram.
pub(crate) const BUCKETS: [(&str, &[f64]); 1] = [("pounce_log_append_seconds", &APPEND)];

/// Describes every metric and makes every series exist.
pub(crate) fn register() {
    describe_gauge!(
        "pounce_log_behind_seconds",
        Unit::Seconds,
        "Time since this process had applied all that the observation log holds"
    );
    describe_gauge!("pounce_log_position", "Position of the newest entry that was applied");
    describe_gauge!("pounce_log_buffer_items", "Observations that the log has not stored yet");
    describe_gauge!(
        "pounce_log_buffer_bytes",
        Unit::Bytes,
        "Memory of observations that wait for the log"
    );
    describe_gauge!(
        "pounce_log_breaker_open",
        "1 while posts are answered as not counted yet because the log does not answer"
    );
    describe_gauge!(
        "pounce_log_other_settings",
        "Replicas that used other alert settings than this one in the last minute"
    );
    describe_gauge!(
        "pounce_log_form",
        "Version of the newest form of entries that this process writes: the newest that all \
         replicas read; 0 until it is known"
    );
    describe_counter!(
        "pounce_log_left_out_total",
        "Cases that were not opened because replicas of an older release read the log"
    );
    describe_counter!("pounce_log_dropped_total", "Observations that never reached the log");
    describe_counter!("pounce_log_entries_total", "Entries of the log by what was done with them");
    describe_counter!(
        "pounce_log_snapshots_total",
        "Snapshots for replicas that start: published by this process, or not"
    );
    describe_histogram!(
        "pounce_log_append_seconds",
        Unit::Seconds,
        "From sending a batch to the log, again where need be, to its being read back or acknowledged"
    );
    gauge!("pounce_log_form").set(0.0);
    counter!("pounce_log_left_out_total").absolute(0);
    counter!("pounce_log_dropped_total").absolute(0);
    for result in ["applied", "repeated", "damaged", "newer", "missing"] {
        entries_counter(result).absolute(0);
    }
    for result in ["published", "outdated", "failed"] {
        counter!("pounce_log_snapshots_total", "result" => result).absolute(0);
    }
    for result in ["stored", "failed"] {
        let _ = append_seconds(result);
    }
    breaker(true);
    other_settings(0);
    buffer(0, 0);
    behind(Duration::ZERO);
}

/// The log stored a batch.
pub(super) fn appended(took: Duration) {
    append_seconds("stored").record(took);
}

/// The log did not store a batch, or did not say so. It is tried again.
pub(super) fn append_failed(took: Duration) {
    append_seconds("failed").record(took);
}

fn append_seconds(result: &'static str) -> metrics::Histogram {
    histogram!("pounce_log_append_seconds", "result" => result)
}

/// Observations never reached the log.
pub(crate) fn dropped(items: usize) {
    if items > 0 {
        counter!("pounce_log_dropped_total").increment(items as u64);
    }
}

/// All replicas read entries up to this form.
pub(super) fn form(form: EntryForm) {
    gauge!("pounce_log_form").set(f64::from(form.version()));
}

/// An older form could not hold so many items, or not the whole of them.
pub(super) fn left_out(items: usize) {
    if items > 0 {
        counter!("pounce_log_left_out_total").increment(items as u64);
    }
}

/// So much waits for the log.
pub(super) fn buffer(items: usize, bytes: usize) {
    gauge!("pounce_log_buffer_items").set(as_f64(items as u64));
    gauge!("pounce_log_buffer_bytes").set(as_f64(bytes as u64));
}

/// Replies stopped waiting, or wait again.
pub(super) fn breaker(open: bool) {
    gauge!("pounce_log_breaker_open").set(if open { 1.0 } else { 0.0 });
}

/// What was done with an entry.
#[derive(Debug, Clone, Copy)]
pub(super) enum EntryResult {
    Applied,
    Repeated,
    Damaged,
    Newer,
    /// The log no longer has it.
    Missing,
}

/// So many entries were met.
pub(super) fn entries(result: EntryResult, count: u64) {
    entries_counter(match result {
        EntryResult::Applied => "applied",
        EntryResult::Repeated => "repeated",
        EntryResult::Damaged => "damaged",
        EntryResult::Newer => "newer",
        EntryResult::Missing => "missing",
    })
    .increment(count);
}

fn entries_counter(result: &'static str) -> metrics::Counter {
    counter!("pounce_log_entries_total", "result" => result)
}

/// A snapshot was published, was outdated, or (none) could not be published.
pub(super) fn snapshot(published: Option<Published>) {
    let result = match published {
        Some(Published::Newest) => "published",
        Some(Published::Outdated) => "outdated",
        None => "failed",
    };
    counter!("pounce_log_snapshots_total", "result" => result).increment(1);
}

/// The newest entry that was applied has this position.
pub(super) fn position(position: u64) {
    gauge!("pounce_log_position").set(as_f64(position));
}

/// This process applied all that the log holds so long ago.
pub(super) fn behind(behind: Duration) {
    gauge!("pounce_log_behind_seconds").set(behind.as_secs_f64());
}

/// So many other writers use other alert settings.
pub(super) fn other_settings(writers: usize) {
    gauge!("pounce_log_other_settings").set(as_f64(writers as u64));
}

#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
