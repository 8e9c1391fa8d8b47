//! Batches that the log did not take before the process ended, kept in the state folder for the
//! next one.
//!
//! They stay there until the log has stored them: the next process may end as suddenly. What is sent
//! twice counts once.
//!
//! Layout: 8 bytes magic, a little-endian `u32` version, for each batch a `u32` length and its
//! bytes, and at the end the BLAKE3 hash of all before it. A batch that reached the log all the same
//! counts once: its writer and number are in its bytes.

use std::fs;
use std::io::{Error, ErrorKind, Write};
use std::time::Duration;

use bytes::Bytes;

use super::metrics;
use crate::alerting::state::StateDir;
use pounce_replication::{Batch, EntryForm};

const NAME: &str = "observations.unsent";
const MAGIC: [u8; 8] = *b"PNCUNSNT";
const VERSION: [u8; 4] = 1_u32.to_le_bytes();
const HASH_BYTES: usize = 32;

/// A batch of an earlier process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsentBatch {
    pub(super) bytes: Bytes,
    pub(super) form: EntryForm,
    pub(super) items: usize,
}

/// Keeps batches for the next start. Blocks.
pub(crate) fn keep(state: &StateDir, batches: &[Bytes]) -> std::io::Result<()> {
    let mut content = [&MAGIC[..], &VERSION].concat();
    for batch in batches {
        let length = u32::try_from(batch.len()).map_err(Error::other)?;
        content.extend_from_slice(&length.to_le_bytes());
        content.extend_from_slice(batch);
    }
    let hash = blake3::hash(&content);
    state.replace(NAME, |file| {
        file.write_all(&content)?;
        file.write_all(hash.as_bytes())
    })
}

/// What was kept. It stays until it is removed; what is older than `age_max` would count no
/// more and is dropped, as is a damaged file. Blocks.
/// # Errors
/// If the file is there and can't be read or removed.
pub fn read(state: &StateDir, age_max: Duration) -> std::io::Result<Vec<UnsentBatch>> {
    let file = state.path(NAME);
    let content = match fs::read(&file) {
        Ok(content) => content,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    // A clock that went back makes it new.
    let age = fs::metadata(&file)?.modified()?.elapsed().unwrap_or_default();
    let batches = match parse(&content) {
        Ok(batches) => batches,
        Err(reason) => {
            fs::remove_file(&file)?;
            let file = file.display();
            tracing::error!(%file, reason, "observations that were not sent are lost");
            return Ok(Vec::new());
        }
    };
    let items: usize = batches.iter().map(|batch| batch.items).sum();
    if age > age_max {
        fs::remove_file(&file)?;
        metrics::dropped(items);
        tracing::warn!(
            items,
            ?age,
            "observations that were not sent are too old to count: dropped"
        );
        return Ok(Vec::new());
    }
    tracing::info!(items, "observations that were not sent before the restart are sent now");
    Ok(batches)
}

/// Removes what was kept. Blocks.
pub(crate) fn remove(state: &StateDir) {
    match fs::remove_file(state.path(NAME)) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(%error, "{NAME} can't be removed: it is sent again at the next start");
        }
    }
}

/// The batches, or why they can't be read.
fn parse(content: &[u8]) -> Result<Vec<UnsentBatch>, String> {
    let mut rest = verified(content).ok_or("the file is damaged")?;
    let mut batches = Vec::new();
    while !rest.is_empty() {
        let (batch, more) = split(rest).ok_or("the file is damaged")?;
        let Batch { form, items, .. } = Batch::decode(batch).map_err(|error| error.to_string())?;
        let bytes = Bytes::copy_from_slice(batch);
        batches.push(UnsentBatch { bytes, form, items: items.len() });
        rest = more;
    }
    Ok(batches)
}

/// What lies between the head and the hash, if the hash is right.
fn verified(content: &[u8]) -> Option<&[u8]> {
    let (content, hash) = content.split_at_checked(content.len().checked_sub(HASH_BYTES)?)?;
    let right = blake3::hash(content).as_bytes()[..] == *hash;
    content.strip_prefix(&MAGIC)?.strip_prefix(&VERSION).filter(|_| right)
}

/// The next batch, and what comes after it.
fn split(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, more) = rest.split_first_chunk::<4>()?;
    more.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A batch without items: version 1, number 3.
    const BATCH: Bytes = Bytes::from_static(&[8, 1, 24, 3]);

    #[test]
    fn what_was_kept_is_read_unless_it_is_old_or_damaged() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::open(folder.path()).expect("writable");
        let hour = Duration::from_secs(3600);
        let read = |age_max| read(&state, age_max).expect("readable");
        assert_eq!(read(hour), []);
        keep(&state, &[BATCH, BATCH]).expect("written");
        let batch = UnsentBatch { bytes: BATCH, form: EntryForm::Alerts, items: 0 };
        let both = [batch.clone(), batch];
        assert_eq!(read(hour), both);
        assert_eq!(read(hour), both, "it is there for a process that begins after a kill");
        assert_eq!(read(Duration::ZERO), []);
        assert_eq!(read(hour), [], "dropped");
        keep(&state, &[BATCH]).expect("written");
        let file = state.path(NAME);
        let mut bytes = fs::read(&file).expect("kept");
        bytes[13] ^= 1;
        fs::write(&file, bytes).expect("written");
        assert_eq!(read(hour), []);
        assert!(!file.exists());
    }

    #[test]
    fn a_batch_of_a_newer_release_is_told_as_such() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::open(folder.path()).expect("writable");
        let told = |batch: &'static [u8]| {
            keep(&state, &[BATCH, Bytes::from_static(batch)]).expect("written");
            parse(&fs::read(state.path(NAME)).expect("kept")).expect_err("it can't be read")
        };
        // The version is 99.
        assert!(told(&[8, 99, 24, 1]).contains("the entry has version 99"));
        assert!(told(&[8, 1]).contains("damaged"));
    }
}
