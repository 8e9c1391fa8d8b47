//! The outcomes of alerts as bytes and back, beside the snapshot of the engine: an older release
//! goes on reading that one, and leaves these.
//!
//! Layout, numbers little-endian: 8 bytes magic, a `u32` version, then frames as those of the
//! engine's snapshot, each a list of ids and closings; an empty list is the end.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use super::acknowledge::firing_mut;
use super::alert::Alert;
use super::engine::AlertEngine;
use super::key::AlertId;
use super::snapshot::{read_frame, read_up_to, write_frame};
use super::snapshot_error::{CLOSINGS_VERSION, SnapshotError};
use pounce_types::closing::Closing;

const MAGIC: [u8; 8] = *b"PNCCLOSE";
/// Closings of one frame.
const LIST_MAX: usize = 1024;

/// Every alert that somebody closed, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Closings(BTreeMap<AlertId, Closing>);

impl AlertEngine {
    /// The outcomes of the alerts that are known, which a snapshot does not hold.
    #[must_use]
    pub fn closings(&self) -> Closings {
        let firing = self.firing.iter().filter_map(|(_, (key, kind))| self.firing_of(key, *kind));
        let over = self.ledger.over.iter().map(|(_, firing)| firing);
        let closed = |alert: &Alert| Some((alert.id.clone(), alert.closing.clone()?));
        Closings(firing.chain(over).filter_map(|firing| closed(&firing.alert)).collect())
    }

    /// Puts back [`AlertEngine::closings`]; those of alerts that are not known are left out.
    pub fn restore_closings(&mut self, mut closings: Closings) {
        for (id, (key, kind)) in &self.firing {
            let Some(closing) = closings.0.remove(id) else { continue };
            if let Some(firing) = firing_mut(&mut self.topics, key, *kind) {
                firing.alert.close(closing);
            }
        }
        for (_, firing) in &mut self.ledger.over {
            if let Some(closing) = closings.0.remove(&firing.alert.id) {
                firing.alert.close(closing);
            }
        }
    }
}

impl Closings {
    /// Whether nobody closed an alert.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes them. Blocks.
    /// # Errors
    /// If `to` refuses.
    pub fn write(&self, to: &mut impl Write) -> std::io::Result<()> {
        to.write_all(&MAGIC)?;
        to.write_all(&CLOSINGS_VERSION.to_le_bytes())?;
        let mut buffer = Vec::new();
        let closings: Vec<(&AlertId, &Closing)> = self.0.iter().collect();
        for list in closings.chunks(LIST_MAX) {
            write_frame(to, &mut buffer, &list)?;
        }
        write_frame(to, &mut buffer, &Vec::<(AlertId, Closing)>::new())
    }

    /// Reads what was written.
    /// # Errors
    /// [`SnapshotError`]. What follows in `from` is left unread.
    pub fn read(mut from: impl Read) -> Result<Self, SnapshotError> {
        let (mut magic, mut version) = ([0; 8], [0; 4]);
        let read = read_up_to(&mut from, &mut magic)? + read_up_to(&mut from, &mut version)?;
        if magic != MAGIC || read < magic.len() + version.len() {
            return Err(SnapshotError::Damaged("it holds no outcomes of alerts"));
        }
        let found = u32::from_le_bytes(version);
        if found != CLOSINGS_VERSION {
            return Err(SnapshotError::ClosingsVersion { found });
        }
        let (mut closings, mut buffer) = (BTreeMap::new(), Vec::new());
        loop {
            let list: Vec<(AlertId, Closing)> = read_frame(&mut from, &mut buffer)?;
            if list.is_empty() {
                return Ok(Self(closings));
            }
            closings.extend(list);
        }
    }
}
