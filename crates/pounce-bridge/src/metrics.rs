//! Names, units and help of the bridge's metrics. Call sites say what happened.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use pounce_proto::RejectionCode;

use crate::address::Broker;

/// Buckets of the histograms, by name.
pub const BUCKETS: [(&str, &[f64]); 1] = [(
    "pounce_bridge_post_duration_seconds",
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0],
)];

/// Describes the metrics, and makes their series exist before anything happens.
pub fn register() {
    describe_counter!("pounce_bridge_received_total", "Messages read from the source");
    describe_counter!(
        "pounce_bridge_redelivered_total",
        "Messages that the source had handed out before"
    );
    describe_counter!("pounce_bridge_events_total", "Events that the sink has stored");
    describe_counter!(
        "pounce_bridge_dead_letters_total",
        "Messages that could not be scored and were stored as dead letters, by the code of the rejection"
    );
    describe_counter!(
        "pounce_bridge_publish_failures_total",
        "Attempts to store a record that failed and were made again"
    );
    describe_gauge!(
        "pounce_bridge_in_flight",
        "Messages read from the source and not yet acknowledged"
    );
    describe_gauge!(
        "pounce_bridge_lag",
        "Messages of the source that are not done: of all bridges with NATS, of this one's partitions with Kafka"
    );
    describe_gauge!(
        "pounce_bridge_ready",
        "1 if the part (source, service or sink) can be used, else 0"
    );
    describe_histogram!(
        "pounce_bridge_post_duration_seconds",
        "Time from reading a message to acknowledging it"
    );
    for name in [
        "pounce_bridge_received_total",
        "pounce_bridge_redelivered_total",
        "pounce_bridge_events_total",
        "pounce_bridge_publish_failures_total",
    ] {
        counter!(name).absolute(0);
    }
    for code in RejectionCode::ALL {
        counter!("pounce_bridge_dead_letters_total", "code" => code.name()).absolute(0);
    }
    gauge!("pounce_bridge_in_flight").set(0.0);
}

/// A message was read.
pub(crate) fn received(redelivered: bool) {
    counter!("pounce_bridge_received_total").increment(1);
    counter!("pounce_bridge_redelivered_total").increment(u64::from(redelivered));
}

/// So many messages are in flight.
#[allow(clippy::cast_precision_loss, reason = "a count of messages in memory")]
pub(crate) fn in_flight(messages: usize) {
    gauge!("pounce_bridge_in_flight").set(messages as f64);
}

/// An event was stored and its message acknowledged.
pub(crate) fn event_stored(after: Duration) {
    counter!("pounce_bridge_events_total").increment(1);
    histogram!("pounce_bridge_post_duration_seconds").record(after.as_secs_f64());
}

/// A dead letter was stored and its message acknowledged.
pub(crate) fn dead_letter_stored(code: RejectionCode) {
    counter!("pounce_bridge_dead_letters_total", "code" => code.name()).increment(1);
}

/// A record was not stored and will be sent again.
pub(crate) fn publish_failed() {
    counter!("pounce_bridge_publish_failures_total").increment(1);
}

/// So many messages of the source are not done.
#[allow(clippy::cast_precision_loss, reason = "a count that is shown")]
pub(crate) fn lag(broker: Broker, messages: u64) {
    let broker = match broker {
        Broker::Nats => "nats",
        Broker::Kafka => "kafka",
    };
    gauge!("pounce_bridge_lag", "broker" => broker).set(messages as f64);
}

/// A part (source, service or sink) was seen to be ready, or not.
pub(crate) fn part_ready(part: &'static str, ready: bool) {
    gauge!("pounce_bridge_ready", "part" => part).set(if ready { 1.0 } else { 0.0 });
}
