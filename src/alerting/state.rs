//! The files of the engines: read at start, written every few seconds and on drain.
//!
//! Written aside, flushed to the disk and renamed, so that a reader finds the
//! old state or the new one, whole. A file that can't be read is never replaced. Knows files;
//! what is in them is the engines'.

use std::fs::{self, File, TryLockError};
use std::io::{BufReader, BufWriter, Error, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::metrics;
use pounce_alerts::{AlertEngine, Closings, Settings, Snapshot, SnapshotError};
use pounce_cases::{CaseEngine, CaseSettings, CaseSnapshot, CaseSnapshotError};

/// How often the state is written: what a killed process loses at most.
pub const INTERVAL: Duration = Duration::from_secs(10);

const NAME: &str = "topics.snapshot";
const OUTCOMES: &str = "outcomes.snapshot";
const CASES: &str = "cases.snapshot";
const LOCK: &str = ".lock";
/// Bytes that are read or written at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// What is kept, of one moment.
pub struct StateSnapshot {
    /// Topics and alerts.
    pub topics: Snapshot,
    /// How alerts were closed.
    pub outcomes: Closings,
    /// None: there are to be no cases.
    pub cases: Option<CaseSnapshot>,
}

/// The folder in which the state is kept: of one server at a time.
#[derive(Debug, Clone)]
pub struct StateDir {
    folder: PathBuf,
    /// Locked for as long as this lives; the system unlocks it when the process ends.
    _lock: Arc<File>,
    /// Held while a snapshot is taken and written: the last one taken is the
    /// last one written, and two never share the file aside.
    writing: Arc<Mutex<()>>,
}

impl StateDir {
    /// Makes the folder if it is not there, makes sure of writing to it, and locks it.
    /// # Errors
    /// If it can't be made or written to, or another server uses it.
    pub fn open(folder: &Path) -> std::io::Result<Self> {
        fs::create_dir_all(folder)?;
        let lock = File::create(folder.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let used = "another running server uses it; give each server a folder of its own";
                return Err(Error::new(ErrorKind::ResourceBusy, used));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(Self { folder: folder.to_owned(), _lock: Arc::new(lock), writing: Arc::default() })
    }

    /// The engine as it was written last. A file that is damaged or of another
    /// kind is set aside, and topics start without a baseline.
    /// # Errors
    /// If the file is there and can't be read, or can't be set aside: to go on would replace
    /// what may be good.
    pub fn restore(&self, settings: Settings, topics_max: usize) -> std::io::Result<AlertEngine> {
        let file = self.folder.join(NAME);
        let Some(reader) = open(&file)? else {
            return Ok(AlertEngine::new(settings, topics_max));
        };
        match AlertEngine::restore(reader, settings.clone(), topics_max) {
            Ok(mut engine) => {
                tracing::info!(file = %file.display(), keys = engine.keys(), "state restored");
                engine.restore_closings(self.restore_outcomes()?);
                Ok(engine)
            }
            Err(SnapshotError::Unreadable(kind)) => Err(unreadable(&file, kind)),
            Err(error) => {
                let aside = self.set_aside(NAME)?;
                tracing::error!(
                    file = %file.display(), aside = %aside.display(), %error,
                    "the saved state was set aside; topics start without a baseline"
                );
                Ok(AlertEngine::new(settings, topics_max))
            }
        }
    }

    /// The outcomes of alerts as they were written last; a damaged file is set aside.
    fn restore_outcomes(&self) -> std::io::Result<Closings> {
        let file = self.folder.join(OUTCOMES);
        let Some(reader) = open(&file)? else { return Ok(Closings::default()) };
        match Closings::read(reader) {
            Ok(outcomes) => Ok(outcomes),
            Err(SnapshotError::Unreadable(kind)) => Err(unreadable(&file, kind)),
            Err(error) => {
                let aside = self.set_aside(OUTCOMES)?;
                tracing::error!(
                    file = %file.display(), aside = %aside.display(), %error,
                    "the saved outcomes of alerts were set aside; alerts are not closed"
                );
                Ok(Closings::default())
            }
        }
    }

    /// The cases as they were written last; a damaged file is set aside, and there are none.
    /// # Errors
    /// As [`StateDir::restore`].
    pub fn restore_cases(&self, settings: CaseSettings) -> std::io::Result<CaseEngine> {
        let file = self.folder.join(CASES);
        let Some(reader) = open(&file)? else { return Ok(CaseEngine::new(settings)) };
        match CaseEngine::restore(reader, settings) {
            Ok(engine) => {
                tracing::info!(file = %file.display(), cases = engine.len(), "cases restored");
                Ok(engine)
            }
            Err(CaseSnapshotError::Unreadable(kind)) => Err(unreadable(&file, kind)),
            Err(error) => {
                let aside = self.set_aside(CASES)?;
                tracing::error!(
                    file = %file.display(), aside = %aside.display(), %error,
                    "the saved cases were set aside; there are none"
                );
                Ok(CaseEngine::new(settings))
            }
        }
    }

    /// Takes a snapshot, once no other is being written, and replaces what was written before.
    /// Blocks until they are on the disk.
    /// # Errors
    /// If the disk refuses; what was written before is then still there.
    pub fn save(&self, snapshot: impl FnOnce() -> StateSnapshot) -> std::io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let saved = self.write(snapshot());
        metrics::state_saved(saved.is_ok());
        saved
    }

    /// Cases go first: a post that is known by its id is known to have its case.
    fn write(&self, snapshot: StateSnapshot) -> std::io::Result<()> {
        let StateSnapshot { topics, outcomes, cases } = snapshot;
        if let Some(cases) = cases {
            self.replace(CASES, |file| cases.write(file))?;
        }
        if !outcomes.is_empty() || self.path(OUTCOMES).exists() {
            self.replace(OUTCOMES, |file| outcomes.write(file))?;
        }
        self.replace(NAME, |file| topics.write(file))
    }

    /// Replaces a file by what `write` writes; a reader finds the old one or the new one, whole.
    pub(super) fn replace(
        &self,
        name: &str,
        write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        let aside = self.folder.join(format!(".{name}.new"));
        let mut file = BufWriter::with_capacity(BUFFER_BYTES, File::create(&aside)?);
        write(&mut file)?;
        file.flush()?;
        file.get_ref().sync_all()?;
        fs::rename(&aside, self.folder.join(name))?;
        // The rename itself is in the folder.
        File::open(&self.folder)?.sync_all()
    }

    /// Where a file of the folder is.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Renames a file to the first free name of its kind.
    fn set_aside(&self, name: &str) -> std::io::Result<PathBuf> {
        let free = (1..).map(|nth| self.folder.join(format!("{name}.bad-{nth}")));
        for aside in free {
            match File::create_new(&aside) {
                Ok(_) => return fs::rename(self.path(name), &aside).map(|()| aside),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::other("no free name"))
    }
}

/// Opens a file, if it is there.
fn open(file: &Path) -> std::io::Result<Option<BufReader<File>>> {
    match File::open(file) {
        Ok(reader) => Ok(Some(BufReader::with_capacity(BUFFER_BYTES, reader))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(file, error.kind())),
    }
}

fn unreadable(file: &Path, kind: ErrorKind) -> Error {
    Error::new(kind, format!("{} can't be read: {kind}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pounce_alerts::{Observation, SignalId};
    use pounce_types::post::{PostId, Timestamp, Topic};
    use pounce_types::score::{Sentiment, Severity};

    fn engine() -> AlertEngine {
        let mut engine = AlertEngine::new(Settings::default(), 10);
        let at = Timestamp::from_millis(1_800_000_000_000);
        let observation = Observation {
            topic: Topic::parse(b"acme").expect("a topic"),
            place: None,
            post_id: PostId::parse(b"1").expect("an id"),
            author: None,
            followers: 0,
            at,
            foreign: false,
            sentiment: Sentiment::Negative,
            discontent: Some(Severity::Low),
            signal: SignalId::default(),
            near_text: None,
        };
        engine.observe(&observation, at);
        engine
    }

    fn snapshot() -> StateSnapshot {
        let engine = engine();
        let (topics, outcomes) = (engine.snapshot(), engine.closings());
        StateSnapshot { topics, outcomes, cases: None }
    }

    #[test]
    fn a_board_comes_back_as_it_was_saved() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::open(&folder.path().join("new")).expect("writable");
        assert_eq!(restored(&state).keys(), 0);
        state.save(snapshot).expect("saved");
        state.save(snapshot).expect("saved again");
        assert_eq!(restored(&state).keys(), 1);
    }

    fn restored(state: &StateDir) -> AlertEngine {
        state.restore(Settings::default(), 10).expect("readable")
    }

    #[test]
    fn states_that_are_saved_at_once_do_not_mix() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::open(folder.path()).expect("writable");
        std::thread::scope(|threads| {
            for _ in 0..4 {
                let state = state.clone();
                threads.spawn(move || {
                    for _ in 0..10 {
                        state.save(snapshot).expect("saved");
                    }
                });
            }
        });
        assert_eq!(restored(&state).keys(), 1);
    }

    #[test]
    fn each_damaged_state_is_set_aside_under_a_name_of_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::open(folder.path()).expect("writable");
        let file = folder.path().join(NAME);
        for nth in 1..=3 {
            fs::write(&file, format!("damaged {nth}")).expect("written");
            assert_eq!(restored(&state).keys(), 0);
            assert!(!file.exists());
        }
        for nth in 1..=3 {
            let kept = fs::read_to_string(folder.path().join(format!("{NAME}.bad-{nth}")));
            assert_eq!(kept.expect("kept"), format!("damaged {nth}"));
        }
    }

    #[test]
    fn a_state_that_can_not_be_read_is_neither_replaced_nor_moved() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::open(folder.path()).expect("writable");
        // Reading a folder fails for everybody, root as well.
        let file = folder.path().join(NAME);
        fs::create_dir(&file).expect("made");
        let error = state.restore(Settings::default(), 10).expect_err("no file");
        assert!(error.to_string().contains("topics.snapshot can't be read"), "{error}");
        assert!(file.exists());
    }

    #[test]
    fn a_second_server_is_refused_for_as_long_as_the_first_runs() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = StateDir::open(folder.path()).expect("writable");
        let kept = first.clone();
        let error = StateDir::open(folder.path()).expect_err("in use");
        assert!(error.to_string().contains("another running server"), "{error}");
        drop((first, kept));
        StateDir::open(folder.path()).expect("free again");
    }
}
