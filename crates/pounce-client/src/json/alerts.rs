//! Alerts as JSON.

use serde_json::{Value, json};

use super::time::rfc3339;
use pounce_proto::{Alert, PlaceCounts};

/// An alert as a JSON object: the form of `pounce watch`, the dashboard and the log. Times are RFC 3339, or null while they are not set.
#[must_use]
pub fn show_alert(alert: &Alert) -> Value {
    let evidence = alert.evidence.clone().unwrap_or_default();
    let (taken, closing) = (alert.acknowledgement.as_ref(), alert.closing.as_ref());
    json!({
        "id": alert.id,
        "kind": alert.kind().name(),
        "severity": alert.severity().name(),
        "topic": alert.topic,
        "place": alert.place,
        "opened_at": alert.opened_at.and_then(rfc3339),
        "resolved_at": alert.resolved_at.and_then(rfc3339),
        "respond_by": alert.respond_by.and_then(rfc3339),
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
            "distinct_texts": evidence.distinct_texts,
            "commonest_text_posts": evidence.commonest_text_posts,
            "texts_window_seconds": evidence.texts_window.map(|window| window.seconds),
            "places": evidence.places.iter().map(show_place).collect::<Vec<_>>(),
        },
        "acknowledged_by": taken.map(|taken| taken.by.as_str()),
        "acknowledged_at": taken.and_then(|taken| taken.at).and_then(rfc3339),
        "acknowledged_note": taken.map(|taken| taken.note.as_str()),
        "outcome": closing.map(|closing| closing.outcome().name()),
        "closed_by": closing.map(|closing| closing.by.as_str()),
        "closed_at": closing.and_then(|closing| closing.at).and_then(rfc3339),
        "closed_note": closing.map(|closing| closing.note.as_str()),
    })
}

fn show_place(counts: &PlaceCounts) -> Value {
    json!({ "place": counts.place, "posts": counts.posts, "negatives": counts.negatives })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pounce_proto::{
        Acknowledgement, AlertEvidence, AlertKind, CaseClosing, CaseOutcome, Severity,
    };

    #[test]
    fn an_alert_keeps_the_names_that_programs_parse() {
        let alert = show_alert(&Alert {
            kind: AlertKind::Share.into(),
            severity: Severity::High.into(),
            opened_at: Some(prost_types::Timestamp { seconds: 900, nanos: 0 }),
            evidence: Some(AlertEvidence {
                window: Some(prost_types::Duration { seconds: 3600, nanos: 0 }),
                posts: 20,
                ..AlertEvidence::default()
            }),
            acknowledgement: Some(Acknowledgement { by: "ann".to_owned(), ..Default::default() }),
            closing: Some(CaseClosing {
                outcome: CaseOutcome::FalseAlarm.into(),
                by: "bob".to_owned(),
                ..Default::default()
            }),
            ..Alert::default()
        });
        assert_eq!((&alert["kind"], &alert["severity"]), (&json!("share"), &json!("high")));
        assert_eq!(alert["opened_at"], "1970-01-01T00:15:00Z");
        assert_eq!(alert["resolved_at"], Value::Null);
        assert_eq!(alert["evidence"]["window_seconds"], 3600);
        assert_eq!(alert["acknowledged_by"], "ann");
        assert_eq!(
            (&alert["outcome"], &alert["closed_by"]),
            (&json!("false_alarm"), &json!("bob"))
        );
    }
}
