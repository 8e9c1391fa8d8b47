//! Names and help of the metrics of reloaded files and of the drain. Call sites say what happened.

use metrics::{counter, describe_counter, describe_gauge, gauge};

/// Describes every metric and makes every series exist that is known from the start.
pub(crate) fn register() {
    describe_counter!("pounce_reloads_total", "Times that changed files were read anew");
    describe_gauge!("pounce_draining", "1 while the process drains");
    gauge!("pounce_draining").set(0.0);
}

/// Files that may be reloaded have this name.
pub(crate) fn reloads_known(what: &'static str) {
    for good in [true, false] {
        reloads_counter(what, good).absolute(0);
    }
}

fn reloads_counter(what: &'static str, good: bool) -> metrics::Counter {
    let result = if good { "ok" } else { "bad" };
    counter!("pounce_reloads_total", "files" => what, "result" => result)
}

/// Files had changed, and were good for use or not.
pub(crate) fn reloaded(what: &'static str, good: bool) {
    reloads_counter(what, good).increment(1);
}

/// The process began to drain.
pub(crate) fn draining() {
    gauge!("pounce_draining").set(1.0);
}
