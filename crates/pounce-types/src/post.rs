//! A post, parsed once at the boundary: what has one of these types was checked.
//!
//! Knows nothing of the wire, the model or the alerts. Every limit is in bytes
//! of UTF-8. No type here shows post text in its `Debug` output.

use std::fmt;
use std::sync::Arc;

pub use crate::fault::{Fault, PostError};
pub use crate::name::{
    AuthorId, LANGUAGE_BYTES_MAX, LanguageTag, NAME_BYTES_MAX, Place, PostId, Topic,
};

use crate::fault::parse_text;

/// The text of a post as its author wrote it: not blank, not too long.
#[derive(Clone, PartialEq, Eq)]
pub struct PostText(Arc<str>);

impl PostText {
    /// Checks and copies a text of at most `max` bytes.
    /// # Errors
    /// A [`Fault`] if it is blank, too long or not UTF-8.
    pub fn parse(raw: &[u8], max: usize) -> Result<Self, Fault> {
        let text = parse_text(raw, max)?;
        if text.trim().is_empty() {
            return Err(Fault::Missing);
        }
        Ok(Self(text.into()))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PostText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostText({} bytes)", self.0.len())
    }
}

/// A moment in event time: milliseconds since 1970-01-01T00:00:00Z, up to the
/// end of the year 9999. Arithmetic saturates at both ends.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(from = "u64")]
pub struct Timestamp(u64);

impl From<u64> for Timestamp {
    fn from(millis: u64) -> Self {
        Self::from_millis(millis)
    }
}

impl Timestamp {
    /// 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);
    /// 1970-01-01T00:00:00Z.
    pub const MIN: Self = Self(0);

    /// From seconds and nanoseconds since 1970, as protobuf has them.
    /// # Errors
    /// [`Fault::OutOfRange`] outside the years 1970 to 9999, or if the
    /// nanoseconds are not below one second.
    pub fn parse(seconds: i64, nanos: i32) -> Result<Self, Fault> {
        let fault = Fault::OutOfRange {
            range: "1970-01-01T00:00:00Z to 9999-12-31T23:59:59Z, nanos 0 to 999999999",
        };
        let (Ok(seconds), Ok(nanos)) = (u64::try_from(seconds), u32::try_from(nanos)) else {
            return Err(fault);
        };
        if seconds > Self::MAX.0 / 1000 || nanos > 999_999_999 {
            return Err(fault);
        }
        Ok(Self(seconds * 1000 + u64::from(nanos / 1_000_000)))
    }

    /// From milliseconds since 1970, clamped to [`Timestamp::MAX`].
    #[must_use]
    pub fn from_millis(millis: u64) -> Self {
        Self(millis.min(Self::MAX.0))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn millis(self) -> u64 {
        self.0
    }

    /// Later by `by`.
    #[must_use]
    pub fn after(self, by: std::time::Duration) -> Self {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// Earlier by `by`.
    #[must_use]
    pub fn before(self, by: std::time::Duration) -> Self {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(millis))
    }
}

/// Who wrote a post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// Stable identifier, if the network gives one.
    pub id: Option<AuthorId>,
    /// Number of followers.
    pub followers: u64,
}

/// A short public message to be scored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// Unique within its topic.
    pub id: PostId,
    /// What was written.
    pub text: PostText,
    /// What it is about.
    pub topic: Option<Topic>,
    /// Where it happened: a store, a city.
    pub place: Option<Place>,
    /// Who wrote it.
    pub author: Option<Author>,
    /// When it was published.
    pub posted_at: Option<Timestamp>,
    /// Its language, if the sender knows.
    pub language: Option<LanguageTag>,
}

impl Post {
    /// Followers of the author; 0 when unknown.
    #[must_use]
    pub fn followers(&self) -> u64 {
        self.author.as_ref().map_or(0, |author| author.followers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_what_was_sent() {
        assert_eq!(PostId::parse(b"a-1").map(|id| id.to_string()), Ok("a-1".to_owned()));
    }

    #[test]
    fn faults_name_the_limit() {
        let long = vec![b'x'; NAME_BYTES_MAX + 1];
        let fault = Topic::parse(&long).expect_err("one byte too many");
        assert_eq!(
            fault.of("topic").to_string(),
            "topic has 257 bytes, more than the limit of 256"
        );
        assert_eq!(PostId::parse(b" \n"), Err(Fault::Missing));
        assert_eq!(PostText::parse(b"ab\xff", 10), Err(Fault::NotUtf8 { at: 2 }));
    }

    #[test]
    fn text_never_shows_in_debug_output() {
        let text = PostText::parse(b"secret", 10).expect("six bytes");
        assert_eq!(format!("{text:?}"), "PostText(6 bytes)");
    }

    #[test]
    fn timestamps_hold_the_years_1970_to_9999() {
        assert_eq!(Timestamp::parse(0, 0), Ok(Timestamp::MIN));
        assert_eq!(Timestamp::parse(253_402_300_799, 999_999_999), Ok(Timestamp::MAX));
        for (seconds, nanos) in
            [(-1, 0), (253_402_300_800, 0), (0, -1), (0, 1_000_000_000), (i64::MAX, i32::MAX)]
        {
            assert!(Timestamp::parse(seconds, nanos).is_err(), "{seconds} {nanos}");
        }
        assert_eq!(Timestamp::MAX.after(std::time::Duration::MAX), Timestamp::MAX);
    }

    #[test]
    fn a_language_tag_knows_its_primary_language() {
        let tag = LanguageTag::parse(b"pt-BR").expect("a tag");
        assert_eq!(tag.primary(), "pt");
    }
}
