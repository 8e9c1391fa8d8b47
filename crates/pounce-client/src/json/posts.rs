//! Posts from JSON, one an object.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::scalar::{Id, Moment};
use pounce_proto::{Author, Post, Rejection, RejectionCode};

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
