//! The board's file: read at start, written every few seconds and on drain.
//!
//! Written aside, flushed to the disk and renamed, so that a reader finds the
//! old state or the new one, whole. Knows files; what is in them is the board's.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pounce_alerts::{Board, Settings};

/// How often the state is written: what a killed process loses at most.
pub const INTERVAL: Duration = Duration::from_secs(10);

const NAME: &str = "topics.snapshot";

/// The folder in which the state is kept.
#[derive(Debug, Clone)]
pub struct StateDir {
    folder: PathBuf,
    /// Held while a snapshot is taken and written: the last one taken is the
    /// last one written, and two never share the file aside.
    writing: Arc<Mutex<()>>,
}

impl StateDir {
    /// Makes the folder if it is not there, and makes sure of writing to it.
    /// # Errors
    /// If it can't be made or written to.
    pub fn open(folder: &Path) -> std::io::Result<Self> {
        fs::create_dir_all(folder)?;
        let probe = folder.join(".probe");
        File::create(&probe)?;
        fs::remove_file(&probe)?;
        Ok(Self { folder: folder.to_owned(), writing: Arc::default() })
    }

    /// The board as it was written last. A file that is damaged or of another
    /// kind is set aside, and topics start to warm up.
    #[must_use]
    pub fn restore(&self, settings: Settings, topics_max: usize) -> Board {
        let file = self.folder.join(NAME);
        let bytes = match fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    tracing::error!(file = %file.display(), %error, "state can't be read: topics warm up");
                }
                return Board::new(settings, topics_max);
            }
        };
        match Board::restore(&bytes, settings.clone(), topics_max) {
            Ok(board) => {
                tracing::info!(file = %file.display(), keys = board.keys(), "state restored");
                board
            }
            Err(error) => {
                let aside = file.with_extension("snapshot.bad");
                let kept = fs::rename(&file, &aside).is_ok();
                tracing::error!(file = %file.display(), %error, kept, "state set aside: topics warm up");
                Board::new(settings, topics_max)
            }
        }
    }

    /// Takes a snapshot, once no other is being written, and replaces what was
    /// written before. Blocks.
    /// # Errors
    /// If the disk refuses; what was written before is then still there.
    pub fn save(&self, snapshot: impl FnOnce() -> Vec<u8>) -> std::io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = snapshot();
        let aside = self.folder.join(".topics.snapshot.new");
        let mut file = File::create(&aside)?;
        file.write_all(&snapshot)?;
        file.sync_all()?;
        fs::rename(&aside, self.folder.join(NAME))?;
        // The rename itself is in the folder.
        File::open(&self.folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pounce_alerts::Observation;
    use pounce_types::post::{PostId, Timestamp, Topic};

    fn board() -> Board {
        let mut board = Board::new(Settings::default(), 10);
        let at = Timestamp::from_millis(1_800_000_000_000);
        let observation = Observation {
            topic: Topic::parse(b"acme").expect("a topic"),
            place: None,
            post_id: PostId::parse(b"1").expect("an id"),
            author_id: None,
            followers: 0,
            at,
            negative: true,
            severity: None,
        };
        board.observe(&observation, at);
        board
    }

    #[test]
    fn a_board_comes_back_as_it_was_saved() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::open(&folder.path().join("new")).expect("writable");
        assert_eq!(state.restore(Settings::default(), 10).keys(), 0);
        state.save(|| board().snapshot()).expect("saved");
        state.save(|| board().snapshot()).expect("saved again");
        assert_eq!(state.restore(Settings::default(), 10).keys(), 1);
    }

    #[test]
    fn states_that_are_saved_at_once_do_not_mix() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::open(folder.path()).expect("writable");
        std::thread::scope(|threads| {
            for nth in 1..=4_u8 {
                let state = state.clone();
                threads.spawn(move || {
                    for _ in 0..10 {
                        let bytes = vec![nth; usize::from(nth) << 20];
                        state.save(|| bytes).expect("saved");
                    }
                });
            }
        });
        let bytes = fs::read(folder.path().join(NAME)).expect("saved");
        assert_eq!(bytes.len(), usize::from(bytes[0]) << 20);
        assert!(bytes.iter().all(|byte| *byte == bytes[0]));
    }

    #[test]
    fn a_damaged_state_is_set_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::open(folder.path()).expect("writable");
        let mut bytes = board().snapshot();
        bytes.pop();
        state.save(|| bytes).expect("saved");
        assert_eq!(state.restore(Settings::default(), 10).keys(), 0);
        assert!(folder.path().join("topics.snapshot.bad").exists());
        assert!(!folder.path().join(NAME).exists());
    }
}
