//! Settings in files that may change while the service runs: TLS keys, tokens.
//!
//! The files are read and compared every few seconds, not watched: a Kubernetes
//! mount swaps a symlink two levels up, network file systems tell nobody, and a
//! few small files cost next to nothing to read.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::metrics;

/// How often the files are looked at.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Bytes of one file; more is no key, certificate or token file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {reason}")]
pub struct FileError {
    /// Its path.
    pub file: String,
    /// Why it is of no use; never holds a secret.
    pub reason: String,
}

impl FileError {
    pub(crate) fn new(file: &Path, reason: impl ToString) -> Self {
        Self { file: file.display().to_string(), reason: reason.to_string() }
    }
}

/// What a look at the files found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// What was there at the last look, good or bad.
    Same,
    /// Something new that is in force now.
    New,
    /// Something new that is of no use; the old stays in force.
    Bad(FileError),
}

/// Reads the contents of the files, in their order; has what was read before.
type Parse<T> = dyn Fn(&[Vec<u8>], Option<&T>) -> Result<T, FileError> + Send + Sync;

/// A value read from files. Cheap to clone.
pub struct Reloaded<T> {
    inner: Arc<Inner<T>>,
}

impl<T> Clone for Reloaded<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

struct Inner<T> {
    what: &'static str,
    files: Vec<PathBuf>,
    parse: Box<Parse<T>>,
    value: watch::Sender<Arc<T>>,
    seen: Mutex<Seen>,
}

/// What the last look found.
struct Seen {
    hash: blake3::Hash,
    /// Why it was of no use, so that this is told once.
    fault: Option<FileError>,
}

impl<T: Send + Sync + 'static> Reloaded<T> {
    /// Reads `files` for the first time; `what` names them in logs and metrics.
    pub(crate) fn open(
        what: &'static str,
        files: Vec<PathBuf>,
        parse: impl Fn(&[Vec<u8>], Option<&T>) -> Result<T, FileError> + Send + Sync + 'static,
    ) -> Result<Self, FileError> {
        let (contents, seen) = read(&files);
        let value = watch::Sender::new(Arc::new(parse(&contents?, None)?));
        let seen = Mutex::new(Seen { hash: seen, fault: None });
        metrics::reloads_known(what);
        let inner = Inner { what, files, parse: Box::new(parse), value, seen };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The value in force.
    #[must_use]
    pub fn now(&self) -> Arc<T> {
        self.inner.value.borrow().clone()
    }

    /// Hears of new values.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<T>> {
        self.inner.value.subscribe()
    }

    /// Looks at the files now. Blocks for as long as reading them takes.
    pub fn look(&self) -> Look {
        let Inner { what, files, parse, value, seen } = &*self.inner;
        let (contents, hash) = read(files);
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let same = seen.hash == hash;
        // What was of no use may be by now: a certificate becomes valid.
        if same && seen.fault.is_none() {
            return Look::Same;
        }
        let before = self.now();
        let parsed = contents.and_then(|contents| parse(&contents, Some(&before)));
        let fault = parsed.as_ref().err().cloned();
        if same && fault == seen.fault {
            return Look::Same;
        }
        *seen = Seen { hash, fault };
        match parsed {
            Ok(new) => {
                value.send_replace(Arc::new(new));
                metrics::reloaded(what, true);
                tracing::info!(what, "files reloaded");
                Look::New
            }
            Err(error) => {
                metrics::reloaded(what, false);
                tracing::error!(what, %error, "changed files are invalid; the previous ones stay in use");
                Look::Bad(error)
            }
        }
    }

    /// Looks at the files every few seconds, without end. Safe to drop.
    pub async fn keep_fresh(self) {
        let mut looks = tokio::time::interval(CHECK_INTERVAL);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let this = self.clone();
            // A panic is logged by the hook, and the next look may do better.
            let _ = tokio::task::spawn_blocking(move || this.look()).await;
        }
    }
}

/// Contents of the files, or why not; and a hash of either.
fn read(files: &[PathBuf]) -> (Result<Vec<Vec<u8>>, FileError>, blake3::Hash) {
    let contents: Result<Vec<_>, _> = files.iter().map(|file| read_one(file)).collect();
    let mut hasher = blake3::Hasher::new();
    match &contents {
        Ok(contents) => {
            for content in contents {
                hasher.update(&(content.len() as u64).to_le_bytes()).update(content);
            }
        }
        Err(error) => {
            hasher.update(error.to_string().as_bytes());
        }
    }
    (contents, hasher.finalize())
}

fn read_one(file: &Path) -> Result<Vec<u8>, FileError> {
    let mut content = Vec::new();
    File::open(file)
        .and_then(|open| open.take(FILE_BYTES_MAX + 1).read_to_end(&mut content))
        .map_err(|error| FileError::new(file, error))?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(FileError::new(file, format!("is longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn number(files: Vec<PathBuf>) -> Result<Reloaded<u32>, FileError> {
        let name = files[0].clone();
        Reloaded::open("test", files, move |contents, _| {
            let text = String::from_utf8_lossy(&contents[0]);
            text.trim().parse().map_err(|error| FileError::new(&name, error))
        })
    }

    #[test]
    fn a_swapped_symlink_brings_the_new_value_and_a_bad_file_keeps_the_old() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| std::fs::write(path(name), text).expect("written");
        write("one", "1");
        write("two", "2");
        symlink(path("one"), path("live")).expect("linked");
        let value = number(vec![path("live")]).expect("good");
        assert_eq!((*value.now(), value.look()), (1, Look::Same));

        symlink(path("two"), path("next")).expect("linked");
        std::fs::rename(path("next"), path("live")).expect("swapped");
        assert_eq!((value.look(), *value.now()), (Look::New, 2));

        write("two", "nonsense");
        assert!(matches!(value.look(), Look::Bad(_)));
        assert_eq!((value.look(), *value.now()), (Look::Same, 2), "told of once");
        std::fs::remove_file(path("live")).expect("removed");
        assert!(matches!(value.look(), Look::Bad(_)));
        write("live", "3");
        assert_eq!((value.look(), *value.now()), (Look::New, 3));
    }

    #[test]
    fn what_becomes_good_without_a_change_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        std::fs::write(&file, "one").expect("written");
        let valid = Arc::new(AtomicBool::new(true));
        let now = Arc::clone(&valid);
        let name = file.clone();
        let value = Reloaded::open("test", vec![file.clone()], move |contents, _| {
            let text = String::from_utf8_lossy(&contents[0]).into_owned();
            let fault = || FileError::new(&name, "is not valid yet");
            now.load(Ordering::Relaxed).then_some(text).ok_or_else(fault)
        })
        .expect("good");
        std::fs::write(&file, "two").expect("written");
        valid.store(false, Ordering::Relaxed);
        assert!(matches!(value.look(), Look::Bad(_)));
        assert_eq!((value.look(), value.now().as_str()), (Look::Same, "one"), "told of once");
        valid.store(true, Ordering::Relaxed);
        assert_eq!((value.look(), value.now().as_str()), (Look::New, "two"));
        assert_eq!(value.look(), Look::Same);
    }

    #[test]
    fn a_missing_file_is_named() {
        let Err(error) = number(vec!["/no/such/file".into()]) else { panic!("must fail") };
        assert!(error.to_string().starts_with("/no/such/file: "), "{error}");
    }
}
