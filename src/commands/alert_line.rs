//! Alerts and advocates as text: a JSON line for programs, a short line for
//! people.

use jiff::Timestamp;
use pounce_client::json::show_alert;
use pounce_proto::{Advocate, Alert, AlertChange, AlertEvidence, AlertKind};
use serde_json::{Value, json};

use super::clock;

/// A change as a JSON object.
pub(super) fn json_line(change: &AlertChange) -> String {
    let alert = change.alert.clone().unwrap_or_default();
    alert_line(change.kind().name(), &alert)
}

/// An advocate as a JSON object.
pub(super) fn advocate_line(advocate: &Advocate) -> String {
    json!({
        "advocate": {
            "post_id": advocate.post_id,
            "topic": advocate.topic,
            "place": advocate.place,
            "followers": advocate.followers,
            "probability": advocate.probability,
            "posted_at": time(advocate.posted_at),
        },
    })
    .to_string()
}

/// An alert as a JSON object, and what happened to it.
pub(super) fn alert_line(change: &str, alert: &Alert) -> String {
    let mut line = show_alert(alert);
    line["change"] = change.into();
    line.to_string()
}

/// A change in one line for a person.
pub(super) fn short_line(change: &AlertChange) -> String {
    let alert = change.alert.clone().unwrap_or_default();
    let samples = alert.evidence.as_ref().map(|evidence| evidence.sample_post_ids.join(", "));
    format!(
        "{} {} {} {}: {}; see {}",
        clock::shown(alert.resolved_at.or(alert.opened_at)),
        change.kind().name(),
        alert.kind().name(),
        subject(&alert.topic, &alert.place),
        reason(&alert),
        samples.unwrap_or_default(),
    )
}

/// Why it opened, or escalated last, in numbers.
pub(super) fn reason(alert: &Alert) -> String {
    let Some(evidence) = &alert.evidence else { return String::new() };
    let AlertEvidence { posts, negatives, observed, baseline, threshold, bound, .. } = evidence;
    let minutes = evidence.window.map_or(0, |window| window.seconds / 60);
    match alert.kind() {
        AlertKind::Volume => format!(
            "{negatives} negative posts in {minutes} min, baseline {baseline:.1}, threshold \
             {threshold:.1} (z {bound:.1})"
        ),
        AlertKind::Reach => format!(
            "{bound} authors with {observed} followers posted negatively in {minutes} min, \
             threshold {threshold} followers"
        ),
        AlertKind::Share | AlertKind::Unspecified => format!(
            "{negatives} of {posts} posts negative in {minutes} min, baseline {baseline:.2}, lower \
             bound {bound:.2}, threshold {threshold:.2}"
        ),
    }
}

/// The topic, and the place if there is one.
pub(super) fn subject(topic: &str, place: &str) -> String {
    if place.is_empty() { topic.to_owned() } else { format!("{topic} in {place}") }
}

/// RFC 3339, or null.
pub(super) fn time(at: Option<prost_types::Timestamp>) -> Value {
    let at = at.and_then(|at| Timestamp::new(at.seconds, at.nanos).ok());
    at.map_or(Value::Null, |at| Value::String(at.to_string()))
}
