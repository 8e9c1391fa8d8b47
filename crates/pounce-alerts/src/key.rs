//! What is counted apart: a topic, or a place within a topic; and the ids that
//! every replica derives alike. Knows names only.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::minute::Minute;
use pounce_types::post::{Place, PostId, Topic};

/// What posts are counted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The topic.
    pub topic: Topic,
    /// A place within it; none for the whole topic.
    pub place: Option<Place>,
}

/// Which rule found a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AlertKind {
    /// The share of negative posts is significantly above the key's baseline.
    Share,
    /// The number of negative posts is far above its expected value.
    Volume,
    /// Authors with a large audience post negative posts.
    Reach,
}

impl AlertKind {
    /// Every kind, in the order of their indices.
    pub const ALL: [Self; 3] = [Self::Share, Self::Volume, Self::Reach];

    /// Lower-case name, as in labels and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Share => "share",
            Self::Volume => "volume",
            Self::Reach => "reach",
        }
    }

    /// Position in [`AlertKind::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::Share => 0,
            Self::Volume => 1,
            Self::Reach => 2,
        }
    }
}

/// Identifies an alert: a hash of its key, its kind and the minute it opened,
/// so that a restart and another replica give it the same id. 32 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AlertId(String);

impl AlertId {
    /// The id of the alert on `key` that opened when `minute` closed.
    #[must_use]
    pub fn of(key: &Key, kind: AlertKind, minute: Minute) -> Self {
        let mut bytes = key_bytes(key);
        frame(&mut bytes, kind.name().as_bytes());
        frame(&mut bytes, &minute.number().to_le_bytes());
        Self(format!("{:032x}", xxh3_128(&bytes)))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// It compares and hashes as its text.
impl Borrow<str> for AlertId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Hash of a key, stable over restarts and replicas.
pub(super) fn key_hash(key: &Key) -> u64 {
    xxh3_64(&key_bytes(key))
}

/// Hash of a post id within the topic that hashes to `topic`.
pub(super) fn post_hash(topic: u64, id: &PostId) -> u64 {
    within(topic, xxh3_64(id.as_str().as_bytes()))
}

/// Hash of something, by its own hash, within the key that hashes to `key`.
pub(super) fn within(key: u64, hash: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&key.to_le_bytes());
    bytes[8..].copy_from_slice(&hash.to_le_bytes());
    xxh3_64(&bytes)
}

fn key_bytes(key: &Key) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    frame(&mut bytes, key.topic.folded().as_bytes());
    if let Some(place) = &key.place {
        frame(&mut bytes, place.folded().as_bytes());
    }
    bytes
}

/// Appends `part` with its length before it, so that no two lists of parts
/// give the same bytes.
pub(super) fn frame(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
    bytes.extend_from_slice(part);
}

#[cfg(test)]
mod tests {
    use super::*;
    use pounce_types::post::Timestamp;

    fn key(topic: &str, place: Option<&str>) -> Key {
        Key {
            topic: Topic::parse(topic.as_bytes()).expect("a topic"),
            place: place.map(|name| Place::parse(name.as_bytes()).expect("a place")),
        }
    }

    #[test]
    fn an_alert_id_never_changes() {
        let minute = Minute::of(Timestamp::from_millis(1_700_000_000_000));
        let id = AlertId::of(&key("kite", Some("lisbon")), AlertKind::Share, minute);
        assert_eq!(id.as_str(), "93e61ddde7a539b99ac965b7198ca962");
        let same = AlertId::of(&key(" KITE", Some("LISBON")), AlertKind::Share, minute);
        assert_eq!(same, id, "whatever spelling came first");
    }

    #[test]
    fn alert_ids_differ_by_topic_place_kind_and_minute() {
        let minute = Minute::default();
        let ids = [
            AlertId::of(&key("ab", None), AlertKind::Share, minute),
            AlertId::of(&key("a", Some("b")), AlertKind::Share, minute),
            AlertId::of(&key("ab", Some("b")), AlertKind::Share, minute),
            AlertId::of(&key("ab", None), AlertKind::Volume, minute),
            AlertId::of(&key("ab", None), AlertKind::Share, minute.plus(1)),
        ];
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
    }
}
