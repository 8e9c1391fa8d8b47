//! Names and help of the metrics of notifications. Call sites say what happened.

use metrics::{counter, describe_counter};

/// Describes the metrics, and makes the series of every Alertmanager exist.
pub(crate) fn register(alertmanagers: &[String]) {
    describe_counter!(
        "pounce_notifications_total",
        "Requests that told an Alertmanager of alerts, by whether it accepted them"
    );
    for alertmanager in alertmanagers {
        for accepted in [true, false] {
            sent_counter(alertmanager, accepted).absolute(0);
        }
    }
}

/// A request to an Alertmanager was accepted, or not.
pub(crate) fn sent(alertmanager: &str, accepted: bool) {
    sent_counter(alertmanager, accepted).increment(1);
}

fn sent_counter(alertmanager: &str, accepted: bool) -> metrics::Counter {
    let result = if accepted { "accepted" } else { "failed" };
    counter!("pounce_notifications_total", "alertmanager" => alertmanager.to_owned(), "result" => result)
}
