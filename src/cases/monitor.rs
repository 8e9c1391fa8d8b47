//! The cases behind a lock, and those who hear of their changes.
//!
//! The only place that drives the case engine in a process of its own: it reads the clock, acts,
//! and tells. Where replicas share a log, the log drives it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::metrics;
use crate::change_feed::{ChangeFeed, Changes, Resumed, Told};
use pounce_alerts::Observation;
use pounce_alerts::flags::RESPOND_WITHIN;
use pounce_cases::{
    Acted, Case, CaseAction, CaseChange, CaseChangeKind, CaseEngine, CaseError, CaseSettings,
    CaseSnapshot, FlaggedPost,
};
use pounce_replication::{ChangePosition, Numbered};
use pounce_types::clock::now;
use pounce_types::post::Topic;
use pounce_types::score::Severity;

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

/// The engine and its watchers. Cheap to clone.
#[derive(Clone)]
pub struct CaseMonitor {
    inner: Arc<Inner>,
}

struct Inner {
    // std Mutex: held for a few map operations, never across an await. Where both are held, the
    // alert engine is locked before it.
    engine: Mutex<CaseEngine>,
    changes: ChangeFeed<CaseChange>,
    spec: CaseSpec,
    /// Topics that metrics may name.
    topic_labels: Vec<Topic>,
}

impl CaseMonitor {
    /// Takes over an engine, new or restored; metrics may name `topic_labels`.
    #[must_use]
    pub fn new(engine: CaseEngine, spec: CaseSpec, topic_labels: Vec<Topic>) -> Self {
        let changes = ChangeFeed::new();
        // Another process has other positions; a log brings its own.
        changes.begin(ChangePosition { origin: now().millis(), number: 0 });
        if spec.is_on() {
            metrics::register(&topic_labels);
            metrics::engine_state(&engine, &topic_labels);
        }
        let engine = Mutex::new(engine);
        Self { inner: Arc::new(Inner { engine, changes, spec, topic_labels }) }
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
    pub(crate) fn watch(&self) -> (Vec<Arc<Case>>, Changes<CaseChange>) {
        // Changes are told under the lock: none can fall in between.
        let engine = self.engine();
        (engine.present(), self.inner.changes.watch())
    }

    /// See [`ChangeFeed::watch_after`].
    pub(crate) fn watch_after(&self, position: ChangePosition) -> Option<Resumed<CaseChange>> {
        let _engine = self.engine();
        self.inner.changes.watch_after(position)
    }

    /// All cases, if there are to be any. Posts do not wait for its encoding.
    #[must_use]
    pub fn snapshot(&self) -> Option<CaseSnapshot> {
        self.inner.spec.is_on().then(|| self.engine().snapshot())
    }

    /// Has `act` change the engine, which says what is to be told of it.
    pub(crate) fn apply<T>(&self, act: impl FnOnce(&mut CaseEngine) -> (T, Told<CaseChange>)) -> T {
        let mut engine = self.engine();
        let (out, Told { changes, counted }) = act(&mut engine);
        for change in changes {
            self.tell_one(change, counted);
        }
        out
    }

    /// Goes on with another engine, whose last change has the position `last`.
    pub(crate) fn replace(&self, engine: CaseEngine, last: ChangePosition) {
        let mut own = self.engine();
        *own = engine;
        self.inner.changes.replace(last);
    }

    /// The log that drives the engine has had changes up to `last`.
    pub(crate) fn begin(&self, last: ChangePosition) {
        let _engine = self.engine();
        let changes = &self.inner.changes;
        if changes.last().origin != last.origin {
            changes.begin(last);
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
            let last = self.inner.changes.last();
            let position = Some(ChangePosition { number: last.number + 1, ..last });
            self.tell_one(Numbered { position, change }, true);
        }
    }

    fn tell_one(&self, numbered: Numbered<CaseChange>, counted: bool) {
        if counted && self.inner.spec.is_on() {
            metrics::case_changed(&numbered.change);
            log(&numbered.change);
        }
        self.inner.changes.tell(numbered);
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
