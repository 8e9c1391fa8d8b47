//! The id of a case. Knows names only.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use pounce_types::post::{PostId, Timestamp, Topic};

/// Identifies a case: a hash of its topic, its first post and the time it opened, so that every
/// replica gives it the same id. Shown as 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CaseId(u128);

/// A text that is no id of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a case has 32 hexadecimal digits")]
pub struct NotACaseId;

impl CaseId {
    pub(crate) const MIN: Self = Self(u128::MIN);
    pub(crate) const MAX: Self = Self(u128::MAX);

    pub(crate) fn of(topic: &Topic, first: &PostId, opened_at: Timestamp) -> Self {
        let mut bytes = Vec::with_capacity(64);
        // Lengths before the parts: no two lists of parts give the same bytes.
        for part in [topic.folded().as_bytes(), first.as_str().as_bytes()] {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        bytes.extend_from_slice(&opened_at.millis().to_le_bytes());
        Self(xxh3_128(&bytes))
    }
}

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for CaseId {
    type Err = NotACaseId;

    fn from_str(text: &str) -> Result<Self, NotACaseId> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| digits);
        number.map(Self).ok_or(NotACaseId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_id_never_changes_and_reads_back() {
        let topic = |name: &str| Topic::parse(name.as_bytes()).expect("a topic");
        let post = PostId::parse(b"p1").expect("an id");
        let at = Timestamp::from_millis(1_700_000_000_000);
        let id = CaseId::of(&topic("kite"), &post, at);
        assert_eq!(id.to_string(), "8ba6b79f4285f30fe424624d8f1b78a5");
        assert_eq!(id, CaseId::of(&topic(" KITE"), &post, at), "whatever spelling came first");
        assert_eq!(id.to_string().parse(), Ok(id));
        for no_id in ["", "no id", "+0000000000000000000000000000001", "1f"] {
            assert_eq!(no_id.parse::<CaseId>(), Err(NotACaseId), "{no_id}");
        }
    }
}
