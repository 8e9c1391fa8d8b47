//! Messages of the wire to types of the domain and back; errors to rejections
//! and statuses, each in one place.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use pounce_alerts::flags::{ThresholdError, Thresholds};
use pounce_inference::scorer::ScoreError;
use pounce_proto::{self as proto, RejectionCode};
use pounce_types::post::{
    Author, AuthorId, Fault, LanguageTag, Place, Post, PostError, PostId, PostText, Timestamp,
    Topic,
};
use pounce_types::score::{DiscontentSource, LabelWeights, Probabilities, Sentiment};

use crate::wire::show_duration;

/// Longest piece of an unreadable id that a rejection repeats, in characters.
const ECHO_CHARS_MAX: usize = 64;

/// Reads a post; texts may have `text_bytes_max` bytes.
/// # Errors
/// [`PostError`] naming the field at fault and its limit.
pub fn post(wire: &proto::Post, text_bytes_max: usize) -> Result<Post, PostError> {
    let author = wire.author.as_ref();
    Ok(Post {
        id: PostId::parse(&wire.id).map_err(|fault| fault.of("id"))?,
        text: PostText::parse(&wire.text, text_bytes_max).map_err(|fault| fault.of("text"))?,
        topic: optional(&wire.topic, Topic::parse).map_err(|fault| fault.of("topic"))?,
        place: optional(&wire.place, Place::parse).map_err(|fault| fault.of("place"))?,
        author: author.map(self::author).transpose()?,
        posted_at: wire
            .posted_at
            .map(|at| Timestamp::parse(at.seconds, at.nanos).map_err(|fault| fault.of("posted_at")))
            .transpose()?,
        language: optional(&wire.language, LanguageTag::parse)
            .map_err(|fault| fault.of("language"))?,
    })
}

fn author(wire: &proto::Author) -> Result<Author, PostError> {
    let id = optional(&wire.id, AuthorId::parse).map_err(|fault| fault.of("author.id"))?;
    Ok(Author { id, followers: wire.followers })
}

/// In proto3 an unset string is an empty one.
fn optional<T>(raw: &[u8], parse: fn(&[u8]) -> Result<T, Fault>) -> Result<Option<T>, Fault> {
    if raw.is_empty() { Ok(None) } else { parse(raw).map(Some) }
}

/// The id that a rejection repeats, so that a sender can find its post.
pub(crate) fn echoed_id(raw: &[u8]) -> String {
    String::from_utf8_lossy(raw).chars().take(ECHO_CHARS_MAX).collect()
}

/// Puts a caller's thresholds over the server's.
pub(crate) fn thresholds(
    wire: Option<&proto::Thresholds>,
    server: &Thresholds,
) -> Result<Thresholds, ThresholdError> {
    let Some(wire) = wire else { return Ok(*server) };
    Thresholds {
        discontent_low: wire.discontent_low.unwrap_or(server.discontent_low),
        discontent_medium: wire.discontent_medium.unwrap_or(server.discontent_medium),
        discontent_high: wire.discontent_high.unwrap_or(server.discontent_high),
        advocate: wire.advocate.unwrap_or(server.advocate),
        influential_followers: wire.influential_followers.unwrap_or(server.influential_followers),
    }
    .checked()
}

/// Shows thresholds, every field set.
pub(crate) fn show_thresholds(thresholds: &Thresholds) -> proto::Thresholds {
    proto::Thresholds {
        discontent_low: Some(thresholds.discontent_low),
        discontent_medium: Some(thresholds.discontent_medium),
        discontent_high: Some(thresholds.discontent_high),
        advocate: Some(thresholds.advocate),
        influential_followers: Some(thresholds.influential_followers),
    }
}

/// Why a post was not scored.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The post is bad.
    #[error(transparent)]
    Post(#[from] PostError),
    /// Its thresholds are.
    #[error(transparent)]
    Thresholds(#[from] ThresholdError),
    /// It could not be scored.
    #[error(transparent)]
    Score(#[from] ScoreError),
}

impl Refusal {
    /// Its code in rejections and metrics.
    pub(crate) fn code(&self) -> RejectionCode {
        match self {
            Self::Post(error) => match error.fault {
                Fault::Missing => RejectionCode::Missing,
                Fault::TooLong { .. } => RejectionCode::TooLong,
                Fault::NotUtf8 { .. } => RejectionCode::InvalidUtf8,
                Fault::OutOfRange { .. } => RejectionCode::OutOfRange,
                Fault::Unknown { .. } => RejectionCode::UnknownValue,
            },
            Self::Thresholds(_) => RejectionCode::OutOfRange,
            Self::Score(ScoreError::Full { .. }) => RejectionCode::ResourceExhausted,
            Self::Score(ScoreError::Deadline) => RejectionCode::DeadlineExceeded,
            Self::Score(ScoreError::Failed) => RejectionCode::Internal,
            Self::Score(ScoreError::Closed) => RejectionCode::Unavailable,
        }
    }

    fn field(&self) -> &'static str {
        match self {
            Self::Post(error) => error.field,
            Self::Thresholds(_) => "thresholds",
            Self::Score(_) => "",
        }
    }

    fn retry_delay(&self) -> Option<Duration> {
        match self {
            Self::Score(ScoreError::Full { retry_delay, .. }) => Some(*retry_delay),
            _ => None,
        }
    }

    /// As the answer to one post of a stream or a batch.
    pub(crate) fn rejection(&self, post_id: String, sequence: u64) -> proto::Rejection {
        proto::Rejection {
            post_id,
            sequence,
            code: self.code().into(),
            field: self.field().to_owned(),
            reason: self.to_string(),
            retry_delay: self.retry_delay().map(show_duration),
        }
    }

    /// As the end of a unary call.
    pub(crate) fn status(&self) -> Status {
        let code = status_code(self.code());
        let mut details = ErrorDetails::new();
        if code == Code::InvalidArgument {
            details.add_bad_request_violation(self.field(), self.to_string());
        }
        if let Some(delay) = self.retry_delay() {
            details.set_retry_info(Some(delay));
        }
        Status::with_error_details(code, self.to_string(), details)
    }
}

pub(crate) fn show_probabilities(probabilities: &Probabilities) -> proto::Probabilities {
    proto::Probabilities {
        negative: probabilities.negative.into(),
        neutral: probabilities.neutral.into(),
        positive: probabilities.positive.into(),
    }
}

pub(crate) fn show_label_weights(weights: &LabelWeights) -> proto::LabelWeights {
    proto::LabelWeights {
        negative: weights.of(Sentiment::Negative).into(),
        neutral: weights.of(Sentiment::Neutral).into(),
        positive: weights.of(Sentiment::Positive).into(),
    }
}

pub(crate) fn show_source(source: DiscontentSource) -> proto::DiscontentSource {
    match source {
        DiscontentSource::Negative => proto::DiscontentSource::Negative,
        DiscontentSource::Output => proto::DiscontentSource::Output,
    }
}

pub(crate) fn show_sentiment(sentiment: Sentiment) -> proto::Sentiment {
    match sentiment {
        Sentiment::Negative => proto::Sentiment::Negative,
        Sentiment::Neutral => proto::Sentiment::Neutral,
        Sentiment::Positive => proto::Sentiment::Positive,
    }
}

/// The code of a call that fails for what a rejection says: `INVALID_ARGUMENT` where the post is to
/// blame.
pub(crate) fn status_code(rejection: RejectionCode) -> Code {
    match rejection {
        RejectionCode::ResourceExhausted => Code::ResourceExhausted,
        RejectionCode::DeadlineExceeded => Code::DeadlineExceeded,
        RejectionCode::Internal => Code::Internal,
        RejectionCode::Unavailable => Code::Unavailable,
        _ => Code::InvalidArgument,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(id: &'static [u8], text: &'static [u8]) -> proto::Post {
        proto::Post { id: id.into(), text: text.into(), ..proto::Post::default() }
    }

    fn rejected(post: &proto::Post) -> (RejectionCode, &'static str) {
        let refusal = Refusal::from(super::post(post, 10).expect_err("a bad post"));
        (refusal.code(), refusal.field())
    }

    #[test]
    fn each_fault_of_a_post_has_a_code_and_names_its_field() {
        assert_eq!(rejected(&wire(b"", b"x")), (RejectionCode::Missing, "id"));
        assert_eq!(rejected(&wire(b"1", b" ")), (RejectionCode::Missing, "text"));
        assert_eq!(rejected(&wire(b"1", b"12345678901")), (RejectionCode::TooLong, "text"));
        assert_eq!(rejected(&wire(b"1", b"\xff")), (RejectionCode::InvalidUtf8, "text"));
        let at = prost_types::Timestamp { seconds: -1, nanos: 0 };
        let early = proto::Post { posted_at: Some(at), ..wire(b"1", b"x") };
        assert_eq!(rejected(&early), (RejectionCode::OutOfRange, "posted_at"));
        let author = proto::Author { id: b"\xff".as_slice().into(), followers: 1 };
        let nobody = proto::Post { author: Some(author), ..wire(b"1", b"x") };
        assert_eq!(rejected(&nobody), (RejectionCode::InvalidUtf8, "author.id"));
    }

    #[test]
    fn a_full_queue_tells_when_to_come_back() {
        let full = ScoreError::Full { queue_posts_max: 5, retry_delay: Duration::from_secs(2) };
        let status = Refusal::from(full).status();
        assert_eq!(status.code(), Code::ResourceExhausted);
        let delay = status.get_error_details().retry_info().and_then(|info| info.retry_delay);
        assert_eq!(delay, Some(Duration::from_secs(2)));
    }
}
