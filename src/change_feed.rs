//! Changes of an engine, told to those who watch it.
//!
//! Knows changes and their positions; nothing of what they change. The engine's monitor calls it
//! under the engine's lock, so that no change falls between a look and what is told after it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use pounce_replication::{ChangePosition, Numbered, RecentChanges};

/// Changes that a slow watcher may be behind before it misses some.
const CHANGES_MAX: usize = 1024;

/// What a watcher hears.
#[derive(Debug)]
pub(crate) enum News<C> {
    /// Something changed.
    Changed(Arc<Numbered<C>>),
    /// All that is known was replaced: look at it anew.
    Replaced,
}

// Derived, it would ask for changes that can be cloned.
impl<C> Clone for News<C> {
    fn clone(&self) -> Self {
        match self {
            Self::Changed(change) => Self::Changed(Arc::clone(change)),
            Self::Replaced => Self::Replaced,
        }
    }
}

/// All news from now on.
pub(crate) type Changes<C> = broadcast::Receiver<News<C>>;

/// What a watcher that comes back missed, and all news after that.
pub(crate) type Resumed<C> = (Vec<Arc<Numbered<C>>>, Changes<C>);

/// What is to be told of an engine that a log drives.
pub(crate) struct Told<C> {
    pub(crate) changes: Vec<Numbered<C>>,
    /// Whether metrics and the process's own log tell it here. Of replicas that share a log of
    /// observations one does.
    pub(crate) counted: bool,
}

impl<C> Default for Told<C> {
    fn default() -> Self {
        Self { changes: Vec::new(), counted: false }
    }
}

/// Those who watch an engine, and what a watcher that comes back may have missed.
pub(crate) struct ChangeFeed<C> {
    news: broadcast::Sender<News<C>>,
    recent: Mutex<RecentChanges<C>>,
}

impl<C> ChangeFeed<C> {
    /// Nobody watches, and nothing has changed.
    pub(crate) fn new() -> Self {
        let (news, _) = broadcast::channel(CHANGES_MAX);
        Self { news, recent: Mutex::default() }
    }

    /// Tells a change.
    pub(crate) fn tell(&self, change: Numbered<C>) {
        let change = Arc::new(change);
        self.recent().note(&change);
        // Nobody may be watching.
        let _ = self.news.send(News::Changed(change));
    }

    /// Tells that the engine was replaced by one whose last change has the position `last`.
    pub(crate) fn replace(&self, last: ChangePosition) {
        self.begin(last);
        let _ = self.news.send(News::Replaced);
    }

    /// The engine has had changes up to `last`.
    pub(crate) fn begin(&self, last: ChangePosition) {
        self.recent().begin(last);
    }

    /// Position of the newest change.
    pub(crate) fn last(&self) -> ChangePosition {
        self.recent().last()
    }

    /// Every change from now on.
    pub(crate) fn watch(&self) -> Changes<C> {
        self.news.subscribe()
    }

    /// The changes after `position`, if they are known, and every change after that. Changes that
    /// a watcher saw elsewhere before they were applied here may come again: those up to `position`
    /// are to be left out.
    pub(crate) fn watch_after(&self, position: ChangePosition) -> Option<Resumed<C>> {
        let missed = self.recent().after(position)?;
        Some((missed, self.watch()))
    }

    fn recent(&self) -> MutexGuard<'_, RecentChanges<C>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
