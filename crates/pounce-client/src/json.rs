//! Posts, replies, alerts and cases as JSON.

use std::fmt;
use std::marker::PhantomData;

use jiff::Timestamp;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::Reply;
use super::json_scalar::{Id, Moment};
use pounce_proto::{
    Alert, Author, Case, CaseHistoryEntry, Flag, PlaceCounts, Post, Rejection, RejectionCode,
    ScoredEvent, Sentiment, Severity,
};

/// Reads a JSON object, where serde's derived code would take an array of the fields as well.
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields))
            }
        }

        json.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

/// One post as a JSON object, in an [`Object`]. `id` may be a number; `posted_at` is RFC 3339 or
/// seconds since 1970, with a fraction or without (also as `time`); unknown fields are ignored.
#[derive(Deserialize)]
pub struct PostLine {
    id: Option<Id>,
    /// A post without one is the server's to reject, as any other bad post.
    #[serde(default)]
    text: String,
    #[serde(default)]
    topic: String,
    #[serde(default)]
    place: String,
    #[serde(default)]
    author: String,
    #[serde(default)]
    followers: u64,
    #[serde(alias = "time")]
    posted_at: Option<Moment>,
    #[serde(default)]
    language: String,
}

/// Reads one line. A post without an id gets its line's number after `run`, which should be another
/// one each time: the service takes a post whose id it has seen for a duplicate.
/// # Errors
/// A rejection that says what is wrong with the line, never what is in it.
pub fn parse_post(line: &[u8], run: &str, number: u64) -> Result<Post, Rejection> {
    let Object(line): Object<PostLine> =
        serde_json::from_slice(line).map_err(|error| Rejection {
            post_id: format!("{run}-{number}"),
            code: RejectionCode::Malformed.into(),
            field: format!("line {number}"),
            reason: format!("the line {}", fault(&error)),
            ..Rejection::default()
        })?;
    Ok(line.into_post(|| format!("{run}-{number}")))
}

impl PostLine {
    /// The post; `id` makes one if it has none.
    pub fn into_post(self, id: impl FnOnce() -> String) -> Post {
        let id = match self.id {
            Some(Id::Text(id)) => id,
            Some(Id::Number(id)) => id.to_string(),
            None => id(),
        };
        let author = (!self.author.is_empty() || self.followers > 0)
            .then(|| Author { id: self.author.into(), followers: self.followers });
        Post {
            id: id.into(),
            text: self.text.into(),
            topic: self.topic.into(),
            place: self.place.into(),
            author,
            posted_at: self.posted_at.map(Moment::into_timestamp),
            language: self.language.into(),
        }
    }
}

impl Moment {
    fn into_timestamp(self) -> prost_types::Timestamp {
        match self {
            Self::Seconds(seconds) => prost_types::Timestamp { seconds, nanos: 0 },
            Self::Fraction(seconds) => from_fraction(seconds),
            Self::Rfc3339(at) => {
                prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() }
            }
        }
    }
}

/// Seconds since 1970 to the microsecond: a float of today has no finer digits.
#[allow(clippy::cast_possible_truncation, reason = "a float that is too large becomes the limit")]
fn from_fraction(seconds: f64) -> prost_types::Timestamp {
    let micros = (seconds * 1e6).round() as i64;
    let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1000);
    let nanos = nanos.expect("fewer than a second's");
    prost_types::Timestamp { seconds: micros.div_euclid(1_000_000), nanos }
}

/// What is wrong with JSON that is not a post, without the values that serde repeats.
#[must_use]
pub fn fault(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => {
            "is not a post: `text`, `topic`, `place`, `author` and `language` are strings, `id` a string or \
             a number, `followers` a number, `posted_at` RFC 3339 or seconds"
        }
        _ => "is not a JSON object",
    };
    format!("{what} (at line {} column {})", error.line(), error.column())
}

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

/// A case as a JSON object.
#[must_use]
pub fn show_case(case: &Case) -> Value {
    let (claim, closing) = (case.claim.as_ref(), case.closing.as_ref());
    json!({
        "id": case.id,
        "state": case.state().name(),
        "severity": case.severity().name(),
        "topic": case.topic,
        "place": case.place,
        "post_ids": case.post_ids,
        "posts": case.posts,
        "posted_at": case.posted_at.and_then(rfc3339),
        "opened_at": case.opened_at.and_then(rfc3339),
        "respond_by": case.respond_by.and_then(rfc3339),
        "overdue": case.overdue,
        "claimed_by": claim.map(|claim| claim.by.as_str()),
        "claimed_at": claim.and_then(|claim| claim.at).and_then(rfc3339),
        "lease_until": claim.and_then(|claim| claim.lease_until).and_then(rfc3339),
        "outcome": closing.map(|closing| closing.outcome().name()),
        "closed_by": closing.map(|closing| closing.by.as_str()),
        "closed_at": closing.and_then(|closing| closing.at).and_then(rfc3339),
        "closed_note": closing.map(|closing| closing.note.as_str()),
        "history": case.history.iter().map(show_history).collect::<Vec<_>>(),
    })
}

fn show_history(entry: &CaseHistoryEntry) -> Value {
    json!({ "kind": entry.kind().name(), "by": entry.by, "at": entry.at.and_then(rfc3339) })
}

fn show_place(counts: &PlaceCounts) -> Value {
    json!({ "place": counts.place, "posts": counts.posts, "negatives": counts.negatives })
}

fn rfc3339(at: prost_types::Timestamp) -> Option<String> {
    Some(Timestamp::new(at.seconds, at.nanos).ok()?.to_string())
}

/// Six digits: more than a probability is worth, fewer than a float's tail.
fn rounded(probability: f64) -> f64 {
    (probability * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use pounce_proto::{Acknowledgement, AlertEvidence, AlertKind, CaseClosing, CaseOutcome};

    #[test]
    fn a_line_becomes_a_post() {
        let line = br#"{"id": 7, "text": "late again", "topic": "acme", "author": "ann",
            "followers": 12, "posted_at": "2026-01-02T03:04:05+01:00"}"#;
        let post = parse_post(line, "run", 1).expect("a post");
        assert_eq!((&post.id[..], &post.topic[..]), (&b"7"[..], &b"acme"[..]));
        assert_eq!(post.author.map(|author| author.followers), Some(12));
        assert_eq!(post.posted_at.map(|at| at.seconds), Some(1_767_319_445));
    }

    #[test]
    fn times_may_be_seconds_with_a_fraction() {
        for (time, seconds, nanos) in [
            ("1767319445", 1_767_319_445, 0),
            ("1767319445.25", 1_767_319_445, 250_000_000),
            ("1767319445.123457", 1_767_319_445, 123_457_000),
            ("-0.5", -1, 500_000_000),
        ] {
            let line = format!(r#"{{"text": "late", "time": {time}}}"#);
            let post = parse_post(line.as_bytes(), "run", 1).expect("a post");
            assert_eq!(post.posted_at, Some(prost_types::Timestamp { seconds, nanos }), "{time}");
        }
    }

    #[test]
    fn a_line_without_an_id_gets_its_number_within_the_run() {
        let post = parse_post(br#"{"text": "late again"}"#, "run", 42).expect("a post");
        assert_eq!(&post.id[..], b"run-42");
    }

    #[test]
    fn a_bad_line_is_told_apart_without_repeating_it() {
        for line in [
            &b"secret"[..],
            br#"{"text": 5, "x": "secret"}"#,
            b"\xff secret",
            b"[]",
            br#"["1", "secret"]"#,
        ] {
            let rejection = parse_post(line, "run", 3).expect_err("no post");
            assert!(!rejection.reason.contains("secret"), "{}", rejection.reason);
            assert_eq!(
                (&rejection.post_id[..], rejection.code()),
                ("run-3", RejectionCode::Malformed)
            );
        }
    }

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
