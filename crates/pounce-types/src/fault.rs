//! What can be wrong with a field of a post.

/// What is wrong with a field of a post.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {fault}")]
pub struct PostError {
    /// Path of the field, such as `author.id`.
    pub field: &'static str,
    /// What is wrong with it.
    pub fault: Fault,
}

/// The ways in which a field can be wrong. Messages never hold the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Required, but absent or empty.
    #[error("is required and must not be empty")]
    Missing,
    /// Over its limit.
    #[error("has {bytes} bytes, more than the limit of {max}")]
    TooLong {
        /// Size of the value.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Not UTF-8.
    #[error("is not valid UTF-8 at byte {at}")]
    NotUtf8 {
        /// Offset of the first bad byte.
        at: usize,
    },
    /// Outside its range.
    #[error("is out of range: {range}")]
    OutOfRange {
        /// The range that holds, in words.
        range: &'static str,
    },
    /// A value that this version does not know.
    #[error("has the unknown value {value}")]
    Unknown {
        /// The number on the wire.
        value: i32,
    },
}

impl Fault {
    /// Says which field has the fault.
    #[must_use]
    pub fn of(self, field: &'static str) -> PostError {
        PostError { field, fault: self }
    }
}

pub(crate) fn parse_text(raw: &[u8], max: usize) -> Result<&str, Fault> {
    if raw.len() > max {
        return Err(Fault::TooLong { bytes: raw.len(), max });
    }
    std::str::from_utf8(raw).map_err(|e| Fault::NotUtf8 { at: e.valid_up_to() })
}
