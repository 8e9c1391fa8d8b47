//! Names, units, help and buckets of the metrics of alerts and topics. Call sites say what
//! happened.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use pounce_alerts::alert::{AlertChange, ChangeKind, Suppression};
use pounce_alerts::key::AlertKind;
use pounce_alerts::{AlertEngine, Totals};
use pounce_types::closing::Outcome;
use pounce_types::post::Timestamp;
use pounce_types::score::Severity;

/// Seconds: 10 s to 4 h, with the promised 15 minutes among them.
const RESPONSE: [f64; 10] = [10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 14400.0];

/// Upper bounds of the buckets of each histogram.
pub(crate) const BUCKETS: [(&str, &[f64]); 2] =
    [("pounce_alert_ack_seconds", &RESPONSE), ("pounce_alert_detection_delay_seconds", &RESPONSE)];

/// Describes every metric and makes every series exist that is known from the start.
pub(crate) fn register() {
    describe_counter!("pounce_events_late_total", "Posts too late for their topic's statistics");
    describe_counter!("pounce_events_duplicate_total", "Posts whose topic and id were seen before");
    describe_counter!(
        "pounce_events_foreign_total",
        "Posts of a topic in a language that the model does not know: not counted"
    );
    describe_counter!("pounce_alerts_opened_total", "Topic alerts opened");
    describe_counter!("pounce_alerts_closed_total", "Topic alerts closed, by severity and outcome");
    describe_counter!("pounce_alerts_suppressed_total", "Topic alerts held back");
    describe_counter!("pounce_board_forgotten_total", "What was dropped for want of room");
    describe_counter!(
        "pounce_clock_turned_back_total",
        "Steps back of the clock that topics had to follow"
    );
    describe_counter!("pounce_state_saves_total", "Writes of the state to its folder");
    describe_gauge!(
        "pounce_topics_bytes",
        Unit::Bytes,
        "Memory of what is known of topics and places"
    );
    describe_gauge!(
        "pounce_memory_horizon_seconds",
        Unit::Seconds,
        "For how long a repeated post id, author or text is known; less than the settings ask for \
         when room is short"
    );
    describe_gauge!("pounce_alerts_firing", "Topic alerts that fire");
    describe_gauge!(
        "pounce_alert_unacknowledged_seconds",
        Unit::Seconds,
        "Age of the firing alert that nobody has acknowledged for longest; 0: there is none"
    );
    describe_gauge!(
        "pounce_alerts_unacknowledged",
        "Topic alerts that fire and that nobody has acknowledged"
    );
    describe_gauge!(
        "pounce_alerts_overdue",
        "Those among them that somebody should have responded to by now"
    );
    describe_gauge!("pounce_topics", "Topics and places being counted");
    describe_gauge!(
        "pounce_watermark_timestamp_seconds",
        Unit::Seconds,
        "Furthest event time up to which a topic's minutes are closed"
    );
    describe_histogram!(
        "pounce_alert_ack_seconds",
        Unit::Seconds,
        "From an alert's opening to somebody taking it"
    );
    describe_histogram!(
        "pounce_alert_detection_delay_seconds",
        Unit::Seconds,
        "From the end of the minute that opened an alert, in event time, to its opening"
    );

    post_counted(false, false);
    counter!("pounce_events_foreign_total").absolute(0);
    turned_back(0);
    for written in [true, false] {
        state_saves_counter(written).absolute(0);
    }
    gauge!("pounce_watermark_timestamp_seconds").set(0.0);
    for severity in Severity::ALL {
        for outcome in Outcome::ALL {
            alerts_closed_counter(severity, outcome).absolute(0);
        }
    }
    for kind in AlertKind::ALL {
        for severity in Severity::ALL {
            alerts_opened_counter(kind, severity).absolute(0);
        }
        for (name, _) in BUCKETS {
            let _ = histogram!(name, "kind" => kind.name());
        }
    }
}

/// A post of a topic is in a language that the model does not know: it is not counted.
pub(crate) fn post_foreign() {
    counter!("pounce_events_foreign_total").increment(1);
}

/// The state was written to its file, or not.
pub(crate) fn state_saved(written: bool) {
    state_saves_counter(written).increment(1);
}

fn state_saves_counter(written: bool) -> metrics::Counter {
    let result = if written { "written" } else { "failed" };
    counter!("pounce_state_saves_total", "result" => result)
}

/// A post was counted for its topic, or not.
pub(crate) fn post_counted(late: bool, duplicate: bool) {
    counter!("pounce_events_late_total").increment(u64::from(late));
    counter!("pounce_events_duplicate_total").increment(u64::from(duplicate));
}

/// An alert that is told so long after its minute was not of live posts.
const REPLAYED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// An alert opened or changed; `now` is the wall clock.
pub(crate) fn alert_changed(change: &AlertChange, now: Timestamp) {
    let alert = &change.alert;
    match change.kind {
        ChangeKind::Opened => {
            alerts_opened_counter(alert.kind, alert.severity).increment(1);
            let delay =
                Duration::from_millis(now.millis().saturating_sub(alert.opened_at.millis()));
            // Posts of long ago are being replayed: nobody waited for their alerts.
            if delay < REPLAYED_AFTER {
                histogram!("pounce_alert_detection_delay_seconds", "kind" => alert.kind.name())
                    .record(delay);
            }
        }
        ChangeKind::Closed => {
            if let Some(closing) = &alert.closing {
                alerts_closed_counter(alert.severity, closing.outcome).increment(1);
            }
        }
        ChangeKind::Escalated | ChangeKind::Acknowledged | ChangeKind::Resolved => {}
    }
}

fn alerts_opened_counter(kind: AlertKind, severity: Severity) -> metrics::Counter {
    let labels = [("kind", kind.name()), ("severity", severity.name())];
    counter!("pounce_alerts_opened_total", &labels)
}

fn alerts_closed_counter(severity: Severity, outcome: Outcome) -> metrics::Counter {
    let labels = [("severity", severity.name()), ("outcome", outcome.name())];
    counter!("pounce_alerts_closed_total", &labels)
}

/// Somebody took an alert, so long after it opened.
pub(crate) fn alert_acknowledged(kind: AlertKind, waited: Duration) {
    histogram!("pounce_alert_ack_seconds", "kind" => kind.name()).record(waited);
}

/// What an engine has counted that no other process counts.
pub(crate) fn engine_totals(totals: &Totals) {
    for (counter, total) in counters(totals) {
        counter.absolute(total);
    }
}

/// What the engine counted between two moments. Of replicas that share a log one says so.
pub(crate) fn engine_counted(before: &Totals, after: &Totals) {
    if before != after {
        for ((counter, after), (_, before)) in counters(after).zip(counters(before)) {
            counter.increment(after.saturating_sub(before));
        }
    }
}

fn counters(totals: &Totals) -> impl Iterator<Item = (metrics::Counter, u64)> {
    let forgotten = [
        ("topic", totals.keys_forgotten),
        ("post_id", totals.post_ids_forgotten),
        ("vote", totals.votes_forgotten),
        ("text_vote", totals.text_votes_forgotten),
        ("reach_author", totals.reach_authors_forgotten),
        ("resolved_alert", totals.resolved_forgotten),
    ];
    let forgotten = forgotten.into_iter().map(|(what, forgotten)| {
        (counter!("pounce_board_forgotten_total", "what" => what), forgotten)
    });
    let suppressed = AlertKind::ALL.into_iter().flat_map(move |kind| {
        Suppression::ALL.into_iter().map(move |reason| {
            let labels = [("kind", kind.name()), ("reason", reason.name())];
            let counter = counter!("pounce_alerts_suppressed_total", &labels);
            (counter, totals.suppressed(kind, reason))
        })
    });
    suppressed.chain(forgotten)
}

/// What the engine has to tell of itself; `now` is the wall clock.
pub(crate) fn engine_state(engine: &AlertEngine, now: Timestamp) {
    let waiting = engine.unacknowledged(now);
    let oldest = waiting.since.map_or(0, |since| now.millis().saturating_sub(since.millis()));
    gauge!("pounce_alert_unacknowledged_seconds").set(Duration::from_millis(oldest).as_secs_f64());
    gauge!("pounce_alerts_unacknowledged").set(as_f64(waiting.alerts));
    gauge!("pounce_alerts_overdue").set(as_f64(waiting.overdue));
    for (kind, firing) in AlertKind::ALL.into_iter().zip(engine.firing()) {
        gauge!("pounce_alerts_firing", "kind" => kind.name())
            .set(f64::from(u32::try_from(firing).unwrap_or(u32::MAX)));
    }
    let horizons = engine.horizons(now);
    for (what, horizon) in [
        ("post_id", horizons.post_ids),
        ("vote", horizons.author_votes),
        ("text_vote", horizons.text_votes),
    ] {
        gauge!("pounce_memory_horizon_seconds", "what" => what).set(horizon.as_secs_f64());
    }
    gauge!("pounce_topics").set(as_f64(engine.keys()));
    gauge!("pounce_topics_bytes").set(as_f64(engine.history_bytes()));
    if let Some(watermark) = engine.watermark() {
        gauge!("pounce_watermark_timestamp_seconds").set(watermark_seconds(watermark));
    }
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds until the year 9999 are below 2^52")]
fn watermark_seconds(at: Timestamp) -> f64 {
    at.millis() as f64 / 1000.0
}

#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn as_f64(count: usize) -> f64 {
    count as f64
}

/// The clock went back, and was followed.
pub(super) fn turned_back(times: u64) {
    counter!("pounce_clock_turned_back_total").increment(times);
}
