//! Keyed hashes of authors and of near-texts: all that a log or a snapshot may hold of them.
//!
//! `SipHash` (Aumasson and Bernstein 2012) is a keyed hash: without the key nobody can tell
//! which author or text a hash stands for by trying names, nor choose two that collide.

use std::fmt;
use std::hash::Hasher;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;

use super::near_text;
use pounce_types::post::AuthorId;

/// The secret of the hashes. Engines whose observations are to be counted together share one.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashKey([u8; 16]);

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(secret)")
    }
}

/// Stands for an author.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
pub struct AuthorHash(pub(super) u64);

impl AuthorHash {
    /// As a log or a snapshot holds it.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// What [`AuthorHash::from_bits`] takes.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// Stands for a text and its copies: see [`HashKey::near_text`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
pub struct TextHash(pub(super) u64);

impl TextHash {
    /// As a log or a snapshot holds it.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// What [`TextHash::from_bits`] takes.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl HashKey {
    /// A key of 16 bytes, which must be random.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The hash of an author.
    #[must_use]
    pub fn author(&self, id: &AuthorId) -> AuthorHash {
        AuthorHash(self.hash(b'a', id.as_str().as_bytes()))
    }

    /// The hash of a text without what copies of it differ in: retweet prefix, mentions, links,
    /// case, punctuation and white space. Of its first 64 words; none if it has fewer than six,
    /// which different people may well choose alike.
    #[must_use]
    pub fn near_text(&self, text: &str) -> Option<TextHash> {
        near_text::normalised(text).map(|words| TextHash(self.hash(b't', words.as_bytes())))
    }

    /// `domain` keeps hashes of different things apart.
    fn hash(&self, domain: u8, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write_u8(domain);
        hasher.write(bytes);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_depends_on_the_key_and_never_changes() {
        let author = AuthorId::parse(b"ann").expect("an id");
        let key = HashKey::from_bytes(*b"0123456789abcdef");
        assert_eq!(key.author(&author), AuthorHash(6_344_292_605_442_523_504));
        assert_ne!(key.author(&author), HashKey::from_bytes([0; 16]).author(&author));
        assert_eq!(format!("{key:?}"), "HashKey(secret)");
    }
}
