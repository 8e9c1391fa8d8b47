//! What is written to a sink: the event of a post, or its dead letter.

use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use pounce_client::{Reply, json};
use pounce_proto::Post;
use prost::Message;

use crate::address::Format;

/// Bytes that stand for something else in a header or a message id. All that is not ASCII is
/// encoded too.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'/');

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The event of a post that was scored.
    Event,
    /// A message that could not be scored.
    DeadLetter,
}

/// One message for a sink. Its `Debug` shows neither key nor payload.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// What it is.
    pub kind: Kind,
    /// The same whenever the same post is written: consumers, and NATS, drop repetitions by it.
    pub message_id: String,
    /// The topic of the post: what Kafka keeps the order by. That of a dead letter may be as large
    /// as its payload.
    pub key: Option<Bytes>,
    /// Names in lower case; values without control characters.
    pub headers: Vec<(&'static str, String)>,
    /// An event, or the message as it came.
    pub payload: Bytes,
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = self.payload.len();
        f.debug_struct("Record").field("kind", &self.kind).field("bytes", &bytes).finish()
    }
}

/// Topic and id of a post, which its event does not repeat.
#[derive(Clone, Default)]
pub struct Identity {
    topic: Bytes,
    id: Bytes,
}

impl Identity {
    /// Of a post.
    #[must_use]
    pub fn of(post: &Post) -> Self {
        Self { topic: post.topic.clone(), id: post.id.clone() }
    }

    /// `TOPIC/ID`, or `ID` without a topic: an id is unique within its topic.
    fn message_id(&self) -> String {
        let id = encoded(&self.id);
        if self.topic.is_empty() { id } else { format!("{}/{id}", encoded(&self.topic)) }
    }
}

/// The record of a reply. `payload` is the message as it came, at `position` of its source.
#[must_use]
pub fn record(
    reply: &Reply,
    format: Format,
    identity: &Identity,
    payload: &Bytes,
    position: &str,
) -> Record {
    let key = (!identity.topic.is_empty()).then(|| identity.topic.clone());
    match reply {
        Reply::Event(event) => {
            let (content_type, payload) = match format {
                Format::Json => ("application/json", json::show_reply(reply).into()),
                Format::Protobuf => ("application/x-protobuf", event.encode_to_vec().into()),
            };
            let mut headers = vec![("content-type", content_type.to_owned())];
            if let Some(topic) = &key {
                headers.push(("pounce-topic", encoded(topic)));
            }
            let message_id = identity.message_id();
            headers.push(("pounce-message-id", message_id.clone()));
            Record { kind: Kind::Event, message_id, key, headers, payload }
        }
        Reply::Rejection(rejection) => {
            // The position, since what can't be read has no id of its own.
            let message_id = format!("dead/{position}");
            let headers = vec![
                ("pounce-code", rejection.code().name().to_owned()),
                ("pounce-field", plain(&rejection.field)),
                ("pounce-reason", plain(&rejection.reason)),
                ("pounce-position", position.to_owned()),
                ("pounce-message-id", message_id.clone()),
            ];
            let payload = payload.clone();
            Record { kind: Kind::DeadLetter, message_id, key, headers, payload }
        }
    }
}

impl Record {
    /// Without payload and key, for a sink whose messages must be smaller.
    #[must_use]
    pub fn without_payload(mut self) -> Self {
        self.headers.push(("pounce-payload", format!("{} bytes left out", self.payload.len())));
        self.payload = Bytes::new();
        self.key = None;
        self
    }

    /// Bytes of the payload and the headers, about as a broker counts them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len() + 4);
        self.payload.len() + headers.sum::<usize>()
    }
}

fn encoded(bytes: &[u8]) -> String {
    percent_encode(bytes, ENCODED).to_string()
}

fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use pounce_proto::{Rejection, RejectionCode, ScoredEvent};

    fn identity(topic: &str, id: &str) -> Identity {
        let (topic, id) = (topic.to_owned().into(), id.to_owned().into());
        Identity::of(&Post { topic, id, ..Post::default() })
    }

    fn event() -> Reply {
        Reply::Event(Box::new(ScoredEvent { post_id: "7".to_owned(), ..ScoredEvent::default() }))
    }

    #[test]
    fn no_two_posts_share_a_message_id_and_none_breaks_a_header() {
        let ids =
            [("", "a/b"), ("a", "b"), ("a/b", "c"), ("a", "b/c"), ("", "a b\r\n"), ("", "é%")];
        let mut seen: Vec<_> =
            ids.iter().map(|(topic, id)| identity(topic, id).message_id()).collect();
        assert_eq!(seen[1], "a/b");
        assert!(seen.iter().all(|id| id.bytes().all(|byte| byte.is_ascii_graphic())), "{seen:?}");
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), ids.len());
    }

    #[test]
    fn an_event_carries_its_topic_and_a_message_id_that_stays_the_same() {
        let came = Bytes::from_static(b"the post");
        let record = record(&event(), Format::Json, &identity("acme", "7"), &came, "POSTS-1");
        assert_eq!((record.kind, &record.message_id[..]), (Kind::Event, "acme/7"));
        assert_eq!(record.key.as_deref(), Some(&b"acme"[..]));
        assert!(record.payload.starts_with(b"{\"post_id\":\"7\""));
        assert!(record.headers.contains(&("content-type", "application/json".to_owned())));
    }

    #[test]
    fn a_dead_letter_without_its_message_is_small_however_large_topic_and_id_were() {
        let rejection = Rejection {
            code: RejectionCode::TooLong.into(),
            field: "topic".to_owned(),
            ..Rejection::default()
        };
        let reply = Reply::Rejection(Box::new(rejection));
        let large = "x".repeat(2_000_000);
        let came = Bytes::from(large.clone());
        let record = record(&reply, Format::Json, &identity(&large, &large), &came, "POSTS-1");
        let small = record.without_payload();
        let key = small.key.as_ref().map_or(0, Bytes::len);
        assert!(key + small.message_id.len() + small.bytes() < 1_000);
    }

    #[test]
    fn a_dead_letter_holds_the_message_as_it_came_and_the_reason_beside_it() {
        let rejection = Rejection {
            code: RejectionCode::TooLong.into(),
            field: "text".to_owned(),
            reason: "8193 bytes,\nthe limit is 8192".to_owned(),
            ..Rejection::default()
        };
        let reply = Reply::Rejection(Box::new(rejection));
        let came = Bytes::from_static(b"the post");
        let record = record(&reply, Format::Protobuf, &identity("", "7"), &came, "POSTS-1");
        assert_eq!((record.kind, &record.message_id[..]), (Kind::DeadLetter, "dead/POSTS-1"));
        assert_eq!((&record.payload[..], &record.key), (&b"the post"[..], &None));
        let header = |name| record.headers.iter().find(|(n, _)| *n == name).map(|(_, v)| &v[..]);
        assert_eq!(header("pounce-code"), Some("too_long"));
        assert_eq!(header("pounce-reason"), Some("8193 bytes, the limit is 8192"));
        let small = record.clone().without_payload();
        assert!(small.payload.is_empty());
        assert!(!format!("{record:?}").contains("the post"));
    }
}
