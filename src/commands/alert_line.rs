//! Alerts as text: a JSON line for programs, a short line for people.

use jiff::Timestamp;
use pounce::proto::{Alert, AlertChange};
use serde_json::{Value, json};

/// A change as a JSON object.
pub(super) fn json_line(change: &AlertChange) -> String {
    let alert = change.alert.clone().unwrap_or_default();
    let evidence = alert.evidence.clone().unwrap_or_default();
    let taken = alert.acknowledgement.as_ref();
    json!({
        "change": name(change.kind().as_str_name(), "ALERT_CHANGE_KIND_"),
        "id": alert.id,
        "kind": kind(&alert),
        "severity": severity(&alert),
        "topic": alert.topic,
        "place": alert.place,
        "opened_at": time(alert.opened_at),
        "resolved_at": time(alert.resolved_at),
        "respond_by": time(alert.respond_by),
        "evidence": {
            "window_seconds": evidence.window.map(|window| window.seconds),
            "posts": evidence.posts,
            "negatives": evidence.negatives,
            "observed": evidence.observed,
            "baseline": evidence.baseline,
            "threshold": evidence.threshold,
            "bound": evidence.bound,
            "sample_post_ids": evidence.sample_post_ids,
            "busiest_author_posts": evidence.busiest_author_posts,
            "suppressed": evidence.suppressed,
        },
        "acknowledged_by": taken.map(|taken| taken.by.as_str()),
    })
    .to_string()
}

/// A change in one line for a person.
pub(super) fn short_line(change: &AlertChange) -> String {
    let alert = change.alert.clone().unwrap_or_default();
    let evidence = alert.evidence.clone().unwrap_or_default();
    let at = alert.resolved_at.or(alert.opened_at);
    format!(
        "{} {} {} {}: {} of {} posts negative, usual {:.2}, {:.2} had to pass {:.2}; see {}",
        time(at).as_str().unwrap_or("-"),
        name(change.kind().as_str_name(), "ALERT_CHANGE_KIND_"),
        kind(&alert),
        subject(&alert),
        evidence.negatives,
        evidence.posts,
        evidence.baseline,
        evidence.bound,
        evidence.threshold,
        evidence.sample_post_ids.join(", "),
    )
}

/// The topic, and the place if it is about one.
pub(super) fn subject(alert: &Alert) -> String {
    if alert.place.is_empty() {
        return alert.topic.clone();
    }
    format!("{} in {}", alert.topic, alert.place)
}

pub(super) fn kind(alert: &Alert) -> String {
    name(alert.kind().as_str_name(), "ALERT_KIND_")
}

pub(super) fn severity(alert: &Alert) -> String {
    name(alert.severity().as_str_name(), "SEVERITY_")
}

fn name(wire: &str, prefix: &str) -> String {
    wire.trim_start_matches(prefix).to_lowercase()
}

/// RFC 3339, or null.
pub(super) fn time(at: Option<prost_types::Timestamp>) -> Value {
    let at = at.and_then(|at| Timestamp::new(at.seconds, at.nanos).ok());
    at.map_or(Value::Null, |at| Value::String(at.to_string()))
}
