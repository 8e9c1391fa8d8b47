//! A board as bytes and back: versioned, checksummed. Files are for others.
//!
//! Layout, numbers little-endian: 8 bytes magic, a `u32` version, a `u64`
//! xxh3 of the rest, then the state as [postcard](https://postcard.jamesmunns.com).

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::board::Board;
use super::crowd::Vote;
use super::ledger::Ledger;
use super::memory::Memory;
use super::settings::Settings;
use super::topic::{Sighting, TopicState};

const MAGIC: [u8; 8] = *b"PNCBOARD";
/// Changes with every change of what is written.
const VERSION: u32 = 1;
const HEADER: usize = 20;

/// Why bytes are no snapshot that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Something else.
    #[error("not a snapshot of Pounce's topics")]
    Foreign,
    /// Written by another version.
    #[error("snapshot of format {found}, where this version reads {VERSION}")]
    Version {
        /// The format found.
        found: u32,
    },
    /// Cut short or changed.
    #[error("snapshot is damaged: {0}")]
    Damaged(&'static str),
}

#[derive(Serialize)]
struct Written<'a> {
    topics: Vec<&'a TopicState>,
    posts: &'a Memory<Sighting>,
    votes: &'a Memory<Vote>,
    ledger: &'a Ledger,
    seen: u64,
}

#[derive(Deserialize)]
struct Read {
    topics: Vec<TopicState>,
    posts: Memory<Sighting>,
    votes: Memory<Vote>,
    ledger: Ledger,
    seen: u64,
}

impl Board {
    /// Everything that is known, without the settings.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        let mut topics: Vec<&TopicState> = self.topics.values().collect();
        topics.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let state = Written {
            topics,
            posts: &self.posts,
            votes: &self.votes,
            ledger: &self.ledger,
            seen: self.seen,
        };
        let mut bytes = Vec::with_capacity(1 << 16);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        let mut bytes = postcard::to_extend(&state, bytes)
            .expect("a vector takes any length, and nothing in the state refuses to be written");
        let checksum = xxh3_64(&bytes[HEADER..]);
        bytes[12..HEADER].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The board that a snapshot was made of, under settings that may have
    /// changed since.
    /// # Errors
    /// [`SnapshotError`] if it is no snapshot, of another version, or damaged.
    pub fn restore(
        bytes: &[u8],
        settings: Settings,
        topics_max: usize,
    ) -> Result<Self, SnapshotError> {
        let Some((header, body)) = bytes.split_at_checked(HEADER) else {
            return Err(if MAGIC.starts_with(&bytes[..bytes.len().min(8)]) && !bytes.is_empty() {
                SnapshotError::Damaged("shorter than its header")
            } else {
                SnapshotError::Foreign
            });
        };
        if header[..8] != MAGIC {
            return Err(SnapshotError::Foreign);
        }
        let mut version = [0; 4];
        version.copy_from_slice(&header[8..12]);
        let found = u32::from_le_bytes(version);
        if found != VERSION {
            return Err(SnapshotError::Version { found });
        }
        if header[12..] != xxh3_64(body).to_le_bytes() {
            return Err(SnapshotError::Damaged("its checksum does not match"));
        }
        let state: Read = postcard::from_bytes(body)
            .map_err(|_| SnapshotError::Damaged("it does not hold what its header says"))?;
        let mut board = Self::new(settings, topics_max);
        board.topics = state.topics.into_iter().map(|topic| (topic.name.clone(), topic)).collect();
        board.posts = state.posts;
        board.votes = state.votes;
        board.ledger = state.ledger;
        board.seen = state.seen;
        board.relink();
        Ok(board)
    }
}
