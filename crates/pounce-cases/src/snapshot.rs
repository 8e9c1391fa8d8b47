//! The engine's cases as bytes and back: versioned, checksummed. Files are for others.
//!
//! Layout, numbers little-endian: 8 bytes magic, a `u32` version, then frames. A frame is a `u32`
//! length, a `u64` xxh3 of the content, and the content as
//! [postcard](https://postcard.jamesmunns.com): first the counters, then lists of cases; an empty
//! list is the end.

use std::io::{Read, Write};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::case::Case;
use crate::engine::CaseEngine;
use crate::settings::CaseSettings;

const MAGIC: [u8; 8] = *b"PNCCASES";
const VERSION: u32 = 1;
/// Cases of one frame.
const FRAME_CASES_MAX: usize = 1024;
/// Bytes of one frame: more than the largest cases take.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// Why a snapshot can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaseSnapshotError {
    /// Something else, cut short or changed.
    #[error("the snapshot of cases is damaged: {0}")]
    Damaged(&'static str),
    /// Written by another version.
    #[error("snapshot of cases of format {found}, where this version reads {VERSION}")]
    Version {
        /// The format found.
        found: u32,
    },
    /// The system refused to read it; its content may be good.
    #[error("the snapshot of cases can't be read: {0}")]
    Unreadable(std::io::ErrorKind),
}

/// The cases at one moment. It shares its memory with the engine until the engine changes them.
#[derive(Debug, Clone)]
pub struct CaseSnapshot {
    head: Head,
    cases: Vec<Arc<Case>>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Head {
    opened: u64,
    evicted: u64,
}

impl CaseEngine {
    /// All that is known now, without the settings. Takes little time: encoding it is the
    /// snapshot's own work.
    #[must_use]
    pub fn snapshot(&self) -> CaseSnapshot {
        let head = Head { opened: self.opened, evicted: self.evicted };
        CaseSnapshot { head, cases: self.cases.values().cloned().collect() }
    }

    /// The engine that a snapshot was made of, under settings that may have changed since.
    /// # Errors
    /// [`CaseSnapshotError`]. What follows the snapshot in `from` is left unread.
    pub fn restore(mut from: impl Read, settings: CaseSettings) -> Result<Self, CaseSnapshotError> {
        let (mut magic, mut version) = ([0; 8], [0; 4]);
        read(&mut from, &mut magic)?;
        if magic != MAGIC {
            return Err(CaseSnapshotError::Damaged("it is no snapshot of cases"));
        }
        read(&mut from, &mut version)?;
        let found = u32::from_le_bytes(version);
        if found != VERSION {
            return Err(CaseSnapshotError::Version { found });
        }
        let mut engine = Self::new(settings);
        let Head { opened, evicted } = read_frame(&mut from)?;
        (engine.opened, engine.evicted) = (opened, evicted);
        loop {
            let cases: Vec<Case> = read_frame(&mut from)?;
            if cases.is_empty() {
                break;
            }
            for case in cases {
                engine.insert(case);
            }
        }
        let topics: Vec<_> = engine.indices.topics().cloned().collect();
        for topic in topics {
            engine.make_room(&topic, &mut Vec::new());
        }
        Ok(engine)
    }
}

impl CaseSnapshot {
    /// Whether there never was a case.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.head.opened == 0
    }

    /// Writes the snapshot. Blocks.
    /// # Errors
    /// If `to` refuses.
    pub fn write(self, to: &mut impl Write) -> std::io::Result<()> {
        to.write_all(&MAGIC)?;
        to.write_all(&VERSION.to_le_bytes())?;
        write_frame(to, &self.head)?;
        for cases in self.cases.chunks(FRAME_CASES_MAX) {
            let cases: Vec<&Case> = cases.iter().map(|case| &**case).collect();
            write_frame(to, &cases)?;
        }
        write_frame(to, &Vec::<Case>::new())
    }
}

fn write_frame(to: &mut impl Write, frame: &impl Serialize) -> std::io::Result<()> {
    let content = postcard::to_stdvec(frame).map_err(std::io::Error::other)?;
    let length = u32::try_from(content.len()).map_err(std::io::Error::other)?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&xxh3_64(&content).to_le_bytes())?;
    to.write_all(&content)
}

fn read_frame<F: DeserializeOwned>(from: &mut impl Read) -> Result<F, CaseSnapshotError> {
    let (mut length, mut checksum) = ([0; 4], [0; 8]);
    read(from, &mut length)?;
    read(from, &mut checksum)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        return Err(CaseSnapshotError::Damaged("a part is longer than any can be"));
    }
    let mut content = vec![0; length];
    read(from, &mut content)?;
    if checksum != xxh3_64(&content).to_le_bytes() {
        return Err(CaseSnapshotError::Damaged("a checksum does not match"));
    }
    postcard::from_bytes(&content)
        .map_err(|_| CaseSnapshotError::Damaged("it does not hold what its header says"))
}

fn read(from: &mut impl Read, buffer: &mut [u8]) -> Result<(), CaseSnapshotError> {
    from.read_exact(buffer).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => CaseSnapshotError::Damaged("it ends early"),
        kind => CaseSnapshotError::Unreadable(kind),
    })
}
