//! A message that a source has handed out: it becomes a post, or a rejection that says why not.

use std::sync::Arc;

use bytes::Bytes;
use pounce_client::json::{self, Object, PostLine};
use pounce_proto::{Post, Rejection, RejectionCode};
use prost::Message;
use tokio::time::Instant;

use crate::address::Format;
use crate::window::Permit;

/// A message, and what is needed to acknowledge it.
pub struct Delivery<R> {
    /// Where it lies in its source, such as `POSTS-17` or `posts-0-17`: the id of a post that has
    /// none.
    pub position: String,
    /// What it holds.
    pub payload: Bytes,
    /// When it was read.
    pub read_at: Instant,
    /// Whether the broker has handed it out before.
    pub redelivered: bool,
    /// What the source acknowledges it by.
    pub receipt: Arc<R>,
    /// Its place among those in flight, free again when this is dropped.
    pub permit: Permit,
}

/// Reads a post. One without an id gets `position`.
/// # Errors
/// A rejection that says what is wrong with the message, never what is in it.
pub fn post(payload: &[u8], format: Format, position: &str) -> Result<Post, Rejection> {
    let fault = |reason: String| Rejection {
        post_id: position.to_owned(),
        code: RejectionCode::Malformed.into(),
        reason,
        ..Rejection::default()
    };
    match format {
        Format::Json => {
            let line: Result<Object<PostLine>, _> = serde_json::from_slice(payload);
            let Object(line) =
                line.map_err(|error| fault(format!("the message {}", json::fault(&error))))?;
            Ok(line.into_post(|| position.to_owned()))
        }
        Format::Protobuf => {
            let post = Post::decode(payload);
            let mut post =
                post.map_err(|_| fault("the message is not a pounce.v1.Post".to_owned()))?;
            if post.id.is_empty() {
                post.id = position.to_owned().into();
            }
            Ok(post)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_without_an_id_gets_its_position() {
        let json = post(br#"{"text": "late"}"#, Format::Json, "POSTS-17").expect("a post");
        assert_eq!(&json.id[..], b"POSTS-17");
        let sent = Post { text: "late".into(), ..Post::default() }.encode_to_vec();
        let read = post(&sent, Format::Protobuf, "posts-0-17").expect("a post");
        assert_eq!((&read.id[..], &read.text[..]), (&b"posts-0-17"[..], &b"late"[..]));
        let own = post(br#"{"id": 7, "text": "late"}"#, Format::Json, "POSTS-17").expect("a post");
        assert_eq!(&own.id[..], b"7");
    }

    #[test]
    fn what_is_no_post_is_a_rejection_that_does_not_repeat_it() {
        for (payload, format) in [
            (&b""[..], Format::Json),
            (b"secret", Format::Json),
            (br#"["secret"]"#, Format::Json),
            (br#"{"text": 5, "id": "secret"}"#, Format::Json),
            (b"\xffsecret", Format::Protobuf),
        ] {
            let rejection = post(payload, format, "POSTS-17").expect_err("no post");
            assert_eq!(rejection.code(), RejectionCode::Malformed);
            assert_eq!(rejection.post_id, "POSTS-17");
            assert!(!rejection.reason.contains("secret"), "{}", rejection.reason);
        }
    }
}
