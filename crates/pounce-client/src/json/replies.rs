//! Replies as JSON, a line each.

use serde::Serialize;

use super::time::rfc3339;
use crate::Reply;
use pounce_proto::{Flag, ScoredEvent, Sentiment, Severity};

/// One reply as a JSON object.
#[derive(Debug, Serialize)]
struct ReplyLine<'a> {
    post_id: &'a str,
    sequence: u64,
    #[serde(flatten)]
    outcome: Outcome<'a>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome<'a> {
    Scored {
        sentiment: Option<&'static str>,
        probabilities: Probabilities,
        discontent: f64,
        severity: Option<&'static str>,
        flags: Vec<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        respond_by: Option<String>,
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        alert_ids: &'a [String],
    },
    Rejected {
        rejected: Rejected<'a>,
    },
}

#[derive(Debug, Serialize)]
struct Probabilities {
    negative: f64,
    neutral: f64,
    positive: f64,
}

#[derive(Debug, Serialize)]
struct Rejected<'a> {
    code: &'static str,
    field: &'a str,
    reason: &'a str,
}

/// Writes one reply as a line without its end.
#[must_use]
pub fn show_reply(reply: &Reply) -> String {
    let line = match reply {
        Reply::Event(event) => {
            ReplyLine { post_id: &event.post_id, sequence: event.sequence, outcome: scored(event) }
        }
        Reply::Rejection(rejection) => ReplyLine {
            post_id: &rejection.post_id,
            sequence: rejection.sequence,
            outcome: Outcome::Rejected {
                rejected: Rejected {
                    code: rejection.code().name(),
                    field: &rejection.field,
                    reason: &rejection.reason,
                },
            },
        },
    };
    serde_json::to_string(&line).expect("strings and finite numbers are JSON")
}

fn scored(event: &ScoredEvent) -> Outcome<'_> {
    let probabilities = event.probabilities.unwrap_or_default();
    Outcome::Scored {
        sentiment: match event.sentiment() {
            Sentiment::Unspecified => None,
            sentiment => Some(sentiment.name()),
        },
        probabilities: Probabilities {
            negative: rounded(probabilities.negative),
            neutral: rounded(probabilities.neutral),
            positive: rounded(probabilities.positive),
        },
        discontent: rounded(event.discontent),
        severity: match event.severity() {
            Severity::Unspecified => None,
            severity => Some(severity.name()),
        },
        flags: event.flags().map(Flag::name).collect(),
        respond_by: event.respond_by.and_then(rfc3339),
        alert_ids: &event.alert_ids,
    }
}

/// Six digits: more than a probability is worth, fewer than a float's tail.
fn rounded(probability: f64) -> f64 {
    (probability * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use pounce_proto::{Rejection, RejectionCode};

    #[test]
    fn a_reply_becomes_a_line() {
        let event = ScoredEvent {
            post_id: "a".to_owned(),
            sequence: 2,
            sentiment: Sentiment::Negative.into(),
            severity: Severity::High.into(),
            flags: vec![Flag::Discontent.into(), Flag::DuplicateText.into()],
            respond_by: Some(prost_types::Timestamp { seconds: 900, nanos: 0 }),
            ..ScoredEvent::default()
        };
        let line = show_reply(&Reply::Event(Box::new(event)));
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(line["flags"], serde_json::json!(["discontent", "duplicate_text"]));
        assert_eq!(line["severity"], "high");
        assert_eq!(line["respond_by"], "1970-01-01T00:15:00Z");

        let rejection = Rejection { code: RejectionCode::TooLong.into(), ..Rejection::default() };
        let line = show_reply(&Reply::Rejection(Box::new(rejection)));
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(line["rejected"]["code"], "too_long");
    }
}
