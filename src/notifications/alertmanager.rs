//! An alert in the form of Alertmanager's API, version 2: labels, annotations, times.
//!
//! Labels identify an alert, so they hold what people route and silence by. Annotations explain
//! it, and may change while it fires. Pure.

use std::collections::BTreeMap;

use pounce_alerts::alert::Alert;
use pounce_alerts::key::AlertKind;
use pounce_types::closing::Closing;
use pounce_types::post::Timestamp;
use serde::Serialize;

use crate::wire::rfc3339;

/// Labels that every alert has, which no label of an operator may replace.
pub const RESERVED_LABELS: [&str; 8] =
    ["alertname", "audience", "alert_id", "escalation", "place", "replica", "severity", "topic"];

/// A set of labels; it identifies an alert.
pub(super) type Labels = BTreeMap<String, String>;

/// What links point to, and who sends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertTemplate {
    /// Labels of the operator's own, such as the name of a fleet.
    pub labels: BTreeMap<String, String>,
    /// Name of this process among those that send.
    pub replica: String,
    /// Address of the dashboard, for people.
    pub dashboard_url: Option<String>,
    /// Address of a post, with `{post_id}` in it.
    pub post_url: Option<String>,
    /// What to do about an alert.
    pub runbook_url: Option<String>,
}

/// An alert as it is posted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PostableAlert {
    pub(super) labels: Labels,
    pub(super) annotations: BTreeMap<&'static str, String>,
    starts_at: String,
    /// In the past: it is resolved. In the future: it is, unless it is told again before.
    pub(super) ends_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<String>,
}

impl AlertTemplate {
    /// The labels of an alert at `now`, by the wall clock.
    pub(super) fn labels(&self, alert: &Alert, now: Timestamp) -> Labels {
        let name = match alert.kind {
            AlertKind::Share => "PounceShare",
            AlertKind::Volume => "PounceVolume",
            AlertKind::Reach => "PounceReach",
        };
        let overdue = alert.acknowledgement.is_none() && now >= alert.respond_by;
        let mut labels = self.labels.clone();
        let mut set = |name: &str, value: &str| labels.insert(name.to_owned(), value.to_owned());
        set("alertname", name);
        set("audience", "care");
        set("alert_id", alert.id.as_str());
        set("topic", alert.key.topic.as_str());
        set("severity", alert.severity.name());
        set("escalation", if overdue { "overdue" } else { "none" });
        if let Some(place) = &alert.key.place {
            set("place", place.as_str());
        }
        if !self.replica.is_empty() {
            set("replica", &self.replica);
        }
        labels
    }

    /// The alert under `labels`, which may be those it had before.
    pub(super) fn postable(
        &self,
        alert: &Alert,
        labels: Labels,
        ends_at: Timestamp,
    ) -> PostableAlert {
        let mut annotations =
            BTreeMap::from([("summary", summary(alert)), ("description", self.description(alert))]);
        if let Some(taken) = &alert.acknowledgement {
            let by = format!("{} at {}{}", taken.by, rfc3339(taken.at), remark(&taken.note));
            annotations.insert("acknowledged_by", by);
        }
        if let Some(Closing { outcome, by, note, at }) = &alert.closing {
            let outcome = outcome.name().replace('_', " ");
            let told = format!("{outcome}, by {by} at {}{}", rfc3339(*at), remark(note));
            annotations.insert("outcome", told);
        }
        if let Some(url) = &self.runbook_url {
            annotations.insert("runbook_url", url.clone());
        }
        PostableAlert {
            labels,
            annotations,
            starts_at: rfc3339(alert.opened_at),
            ends_at: rfc3339(ends_at),
            generator_url: self
                .dashboard_url
                .as_ref()
                .map(|url| format!("{url}/#topic={}", percent_encoded(alert.key.topic.as_str()))),
        }
    }

    fn description(&self, alert: &Alert) -> String {
        let posts = alert.evidence.sample_post_ids.iter().map(|id| match &self.post_url {
            Some(url) => url.replace("{post_id}", &percent_encoded(id.as_str())),
            None => id.to_string(),
        });
        let posts: Vec<String> = posts.collect();
        let mut text = format!(
            "Open since {}; somebody should respond by {}.",
            rfc3339(alert.opened_at),
            rfc3339(alert.respond_by)
        );
        let places = alert.evidence.places.iter();
        let places: Vec<String> = places
            .map(|of| {
                format!("{} ({} of {})", of.place.as_str(), of.counts.negatives, of.counts.posts)
            })
            .collect();
        if !places.is_empty() {
            text += &format!(" Complaints by place: {}.", places.join(", "));
        }
        if !posts.is_empty() {
            text += &format!(" Posts to start with: {}.", posts.join(", "));
        }
        text
    }
}

fn remark(note: &str) -> String {
    if note.is_empty() { String::new() } else { format!(": {note}") }
}

/// One sentence with the numbers that opened the alert, or escalated it last.
fn summary(alert: &Alert) -> String {
    let evidence = &alert.evidence;
    let subject = match &alert.key.place {
        Some(place) => format!("{} in {}", alert.key.topic.as_str(), place.as_str()),
        None => alert.key.topic.as_str().to_owned(),
    };
    let minutes = evidence.window.as_secs() / 60;
    let (posts, negatives) = (evidence.posts, evidence.negatives);
    let (observed, baseline) = (evidence.observed, evidence.baseline);
    match alert.kind {
        AlertKind::Share => format!(
            "{negatives} of {posts} posts about {subject} in {minutes} minutes are complaints ({:.0} \
             %); {:.0} % are usual.",
            100.0 * observed,
            100.0 * baseline
        ),
        AlertKind::Volume => format!(
            "{negatives} complaints about {subject} in {minutes} minutes; {baseline:.0} are usual."
        ),
        AlertKind::Reach => format!(
            "{posts} authors with {observed:.0} followers together complain about {subject} within \
             {minutes} minutes."
        ),
    }
}

/// What may not stand in a URL as it is (RFC 3986, unreserved characters stay).
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use pounce_alerts::Counts;
    use pounce_alerts::alert::{Acknowledgement, Evidence, PlaceCounts};
    use pounce_alerts::key::Key;
    use pounce_types::closing::Outcome;
    use pounce_types::post::{Place, PostId, Topic};
    use pounce_types::score::Severity;

    use super::*;

    const OPENED: u64 = 1_772_442_000_000;

    pub(crate) fn at(minutes: u64) -> Timestamp {
        Timestamp::from_millis(OPENED + minutes * 60_000)
    }

    /// Opened at minute 0, to be answered by minute 15.
    pub(crate) fn alert() -> Alert {
        let place = Place::parse(b"Lisbon").expect("a place");
        let key = Key { topic: Topic::parse(b"kite").expect("a topic"), place: Some(place) };
        Alert {
            id: serde_json::from_value(serde_json::json!("3f2a")).expect("an id"),
            key,
            kind: AlertKind::Share,
            severity: Severity::Low,
            opened_at: at(0),
            resolved_at: None,
            respond_by: at(15),
            evidence: Evidence {
                window: Duration::from_secs(1800),
                posts: 24,
                negatives: 12,
                observed: 0.5,
                baseline: 0.15,
                threshold: 0.22,
                bound: 0.26,
                sample_post_ids: vec![PostId::parse(b"a/1").expect("an id")],
                busiest_author_posts: 1,
                suppressed: 0,
                distinct_texts: 12,
                commonest_text_posts: 1,
                texts_window: Duration::from_secs(1800),
                places: Vec::new(),
            },
            acknowledgement: None,
            closing: None,
        }
    }

    #[test]
    fn labels_identify_and_annotations_explain() {
        let template = AlertTemplate {
            labels: BTreeMap::from([("fleet".to_owned(), "eu".to_owned())]),
            replica: "pounce-0".to_owned(),
            dashboard_url: Some("https://pounce.example".to_owned()),
            post_url: Some("https://social.example/{post_id}".to_owned()),
            runbook_url: None,
        };
        let mut alert = alert();
        let labels = template.labels(&alert, at(1));
        let posted = template.postable(&alert, labels.clone(), at(5));
        assert_eq!(
            serde_json::to_value(&posted).expect("JSON"),
            serde_json::json!({
                "labels": {
                    "alertname": "PounceShare", "audience": "care", "fleet": "eu",
                    "alert_id": alert.id.as_str(), "escalation": "none", "place": "Lisbon",
                    "replica": "pounce-0", "severity": "low", "topic": "kite",
                },
                "annotations": {
                    "summary": "12 of 24 posts about kite in Lisbon in 30 minutes are complaints \
                                (50 %); 15 % are usual.",
                    "description": "Open since 2026-03-02T09:00:00Z; somebody should respond by \
                                    2026-03-02T09:15:00Z. Posts to start with: \
                                    https://social.example/a%2F1.",
                },
                "startsAt": "2026-03-02T09:00:00Z",
                "endsAt": "2026-03-02T09:05:00Z",
                "generatorURL": "https://pounce.example/#topic=kite",
            })
        );
        assert_eq!(template.labels(&alert, at(15))["escalation"], "overdue");
        alert.acknowledgement =
            Some(Acknowledgement { by: "ann".into(), note: "on it".into(), at: at(3) });
        assert_eq!(template.labels(&alert, at(15))["escalation"], "none");
        let posted = template.postable(&alert, labels.clone(), at(5));
        assert_eq!(posted.annotations["acknowledged_by"], "ann at 2026-03-02T09:03:00Z: on it");
        assert!(!posted.annotations.contains_key("outcome"));
        let (outcome, by, note) = (Outcome::NoAnswerNeeded, "bob".to_owned(), String::new());
        alert.closing = Some(Closing { outcome, by, note, at: at(9) });
        let posted = template.postable(&alert, labels, at(5));
        assert_eq!(
            posted.annotations["outcome"],
            "no answer needed, by bob at 2026-03-02T09:09:00Z"
        );
    }

    #[test]
    fn a_topics_alert_names_the_places_of_its_complaints() {
        let mut alert = alert();
        let place = Place::parse(b"Lisbon").expect("a place");
        let counts = Counts { posts: 9, negatives: 7 };
        alert.evidence.places = vec![PlaceCounts { place, counts }];
        let description = AlertTemplate::default().description(&alert);
        assert!(description.contains(" Complaints by place: Lisbon (7 of 9)."), "{description}");
    }

    #[test]
    fn each_kind_has_a_sentence_of_its_own() {
        let mut alert = alert();
        alert.key.place = None;
        alert.kind = AlertKind::Volume;
        assert_eq!(summary(&alert), "12 complaints about kite in 30 minutes; 0 are usual.");
        alert.kind = AlertKind::Reach;
        alert.evidence.observed = 61_000.0;
        assert_eq!(
            summary(&alert),
            "24 authors with 61000 followers together complain about kite within 30 minutes."
        );
    }
}
