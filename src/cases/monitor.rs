//! The cases behind a lock, and those who hear of their changes.
//!
//! The only place that drives the case engine in a process of its own: it reads the clock, acts,
//! and tells. Where replicas share a log, the log drives it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;

use super::metrics;
use pounce_alerts::Observation;
use pounce_alerts::flags::RESPOND_WITHIN;
use pounce_cases::{
    Acted, Case, CaseAction, CaseChange, CaseChangeKind, CaseEngine, CaseError, CaseSettings,
    CaseSnapshot, FlaggedPost,
};
use pounce_replication::{ChangePosition, Numbered, RecentChanges};
use pounce_types::clock::now;
use pounce_types::post::Topic;
use pounce_types::score::Severity;

/// Changes that a slow watcher may be behind before it misses some.
const CHANGES_MAX: usize = 1024;

/// How cases are opened and claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaseSpec {
    /// Posts flagged as discontent at or above it open cases; none: no post does.
    pub severity_min: Option<Severity>,
    /// How long a claim lasts unless it is renewed.
    pub lease: Duration,
    /// How many cases are kept.
    pub settings: CaseSettings,
}

impl CaseSpec {
    /// No post opens a case.
    #[must_use]
    pub fn off() -> Self {
        Self {
            severity_min: None,
            lease: Duration::from_secs(15 * 60),
            settings: CaseSettings::default(),
        }
    }

    /// Whether there are cases.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.severity_min.is_some()
    }
}

/// A change of a case and its position.
pub(crate) type CaseNumbered = Numbered<CaseChange>;

/// What a watcher hears.
#[derive(Debug, Clone)]
pub(crate) enum CaseNews {
    /// A case changed.
    Changed(Arc<CaseNumbered>),
    /// All that is known was replaced: look at it anew.
    Replaced,
}

/// All news from now on.
pub(crate) type CaseWatch = broadcast::Receiver<CaseNews>;

/// What is to be told of a change of the engine.
#[derive(Default)]
pub(crate) struct CasesTold {
    pub(crate) changes: Vec<CaseNumbered>,
    /// Whether metrics and the process's own log tell it here. Of replicas that share a log one
    /// does.
    pub(crate) counted: bool,
}

/// The engine and its watchers. Cheap to clone.
#[derive(Clone)]
pub struct CaseMonitor {
    inner: Arc<Inner>,
}

struct Inner {
    // std Mutex: held for a few map operations, never across an await. Where both are held, the
    // alert engine is locked before it.
    engine: Mutex<CaseEngine>,
    changes: broadcast::Sender<CaseNews>,
    /// Locked under the engine's lock.
    recent: Mutex<RecentChanges<CaseChange>>,
    spec: CaseSpec,
    /// Topics that metrics may name.
    topic_labels: Vec<Topic>,
}

impl CaseMonitor {
    /// Takes over an engine, new or restored; metrics may name `topic_labels`.
    #[must_use]
    pub fn new(engine: CaseEngine, spec: CaseSpec, topic_labels: Vec<Topic>) -> Self {
        let (changes, _) = broadcast::channel(CHANGES_MAX);
        let mut recent = RecentChanges::default();
        // Another process has other positions; a log brings its own.
        recent.begin(ChangePosition { origin: now().millis(), number: 0 });
        if spec.is_on() {
            metrics::register(&topic_labels);
            metrics::engine_state(&engine, &topic_labels);
        }
        let (engine, recent) = (Mutex::new(engine), Mutex::new(recent));
        Self { inner: Arc::new(Inner { engine, changes, recent, spec, topic_labels }) }
    }

    /// How cases are opened and claimed.
    pub(crate) fn spec(&self) -> &CaseSpec {
        &self.inner.spec
    }

    /// Time within which somebody should respond to a post, if it opens or joins a case. In a
    /// language that the model does not know its score is no ground for one.
    pub(crate) fn respond_within(&self, observation: &Observation) -> Option<Duration> {
        let min = self.inner.spec.severity_min?;
        let opens = !observation.foreign && observation.discontent >= Some(min);
        opens.then_some(RESPOND_WITHIN)
    }

    /// A post was counted that was not seen before: opens a case, or joins one, if it is to.
    pub(crate) fn observe(&self, observation: &Observation) {
        let Some(within) = self.respond_within(observation) else { return };
        let Some(post) = FlaggedPost::of(observation, within) else { return };
        let mut engine = self.engine();
        let changes = engine.observe(&post, now());
        self.tell(changes);
    }

    /// Moves time on; due every second.
    pub(crate) fn tick(&self) {
        let mut engine = self.engine();
        let changes = engine.tick(now());
        self.tell(changes);
        self.show(&engine);
    }

    /// Does what somebody wants done with a case.
    pub(crate) fn act(&self, action: &CaseAction) -> Result<Acted, CaseError> {
        let mut engine = self.engine();
        let acted = engine.act(action, now())?;
        self.tell(acted.told());
        Ok(acted)
    }

    /// Looks at the engine.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&CaseEngine) -> T) -> T {
        look(&self.engine())
    }

    /// The cases that are not closed, and every change after that.
    pub(crate) fn watch(&self) -> (Vec<Arc<Case>>, CaseWatch) {
        // Changes are told under the lock: none can fall in between.
        let engine = self.engine();
        (engine.present(), self.inner.changes.subscribe())
    }

    /// The changes after `position`, if they are known, and every change after that. Changes that
    /// a watcher saw elsewhere before they were applied here may come again: those up to `position`
    /// are to be left out.
    pub(crate) fn watch_after(
        &self,
        position: ChangePosition,
    ) -> Option<(Vec<Arc<CaseNumbered>>, CaseWatch)> {
        let _engine = self.engine();
        let missed = self.recent().after(position)?;
        Some((missed, self.inner.changes.subscribe()))
    }

    /// All cases, if there are to be any. Posts do not wait for its encoding.
    #[must_use]
    pub fn snapshot(&self) -> Option<CaseSnapshot> {
        self.inner.spec.is_on().then(|| self.engine().snapshot())
    }

    /// Has `act` change the engine, which says what is to be told of it.
    pub(crate) fn apply<T>(&self, act: impl FnOnce(&mut CaseEngine) -> (T, CasesTold)) -> T {
        let mut engine = self.engine();
        let (out, CasesTold { changes, counted }) = act(&mut engine);
        for change in changes {
            self.tell_one(change, counted);
        }
        out
    }

    /// Goes on with another engine, whose last change has the position `last`.
    pub(crate) fn replace(&self, engine: CaseEngine, last: ChangePosition) {
        let mut own = self.engine();
        self.recent().begin(last);
        *own = engine;
        let _ = self.inner.changes.send(CaseNews::Replaced);
    }

    /// The log that drives the engine has had changes up to `last`.
    pub(crate) fn begin(&self, last: ChangePosition) {
        let _engine = self.engine();
        let mut recent = self.recent();
        if recent.last().origin != last.origin {
            recent.begin(last);
        }
    }

    /// Shows what is known of the engine in the metrics.
    pub(crate) fn show_metrics(&self) {
        self.show(&self.engine());
    }

    fn show(&self, engine: &CaseEngine) {
        if self.inner.spec.is_on() {
            metrics::engine_state(engine, &self.inner.topic_labels);
        }
    }

    /// Tells changes of this process alone.
    fn tell(&self, changes: impl IntoIterator<Item = CaseChange>) {
        for change in changes {
            let last = self.recent().last();
            let position = Some(ChangePosition { number: last.number + 1, ..last });
            self.tell_one(Numbered { position, change }, true);
        }
    }

    fn tell_one(&self, numbered: CaseNumbered, counted: bool) {
        if counted && self.inner.spec.is_on() {
            metrics::case_changed(&numbered.change);
            log(&numbered.change);
        }
        let numbered = Arc::new(numbered);
        self.recent().note(&numbered);
        // Nobody may be watching.
        let _ = self.inner.changes.send(CaseNews::Changed(numbered));
    }

    fn recent(&self) -> MutexGuard<'_, RecentChanges<CaseChange>> {
        self.inner.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn engine(&self) -> MutexGuard<'_, CaseEngine> {
        self.inner.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a change to the log: who did what with which case. Ids of posts and notes are left out:
/// they lead to people, and logs are kept longer and read by more.
fn log(change: &CaseChange) {
    let CaseChange { kind, case } = change;
    let closing = case.closing.as_ref();
    let by = case.claim.as_ref().map(|claim| &claim.by).or(closing.map(|closing| &closing.by));
    match kind {
        CaseChangeKind::Joined | CaseChangeKind::Renewed => {}
        _ => tracing::info!(
            change = kind.name(),
            case = %case.id,
            topic = %case.topic,
            severity = case.severity.name(),
            by,
            outcome = closing.map(|closing| closing.outcome.name()),
            "case changed"
        ),
    }
}
