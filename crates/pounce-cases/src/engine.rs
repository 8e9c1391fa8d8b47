//! All cases together: flagged posts, people's actions and time go in, changes of cases come out.
//!
//! The engine has no clock: whoever drives it calls [`CaseEngine::observe`] for each flagged post,
//! [`CaseEngine::act`] for each action and [`CaseEngine::tick`] every second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::case::{
    Case, CaseChange, CaseChangeKind, CaseState, Claim, HistoryEntry, HistoryKind, Punctuality,
};
use crate::id::CaseId;
use crate::indices::Indices;
use crate::settings::{CLOSED_KEPT, CaseSettings, HISTORY_MAX, JOIN_WITHIN, POST_IDS_MAX};
use pounce_alerts::{AuthorHash, Observation};
use pounce_types::post::{Place, PostId, Timestamp, Topic};
use pounce_types::score::Severity;

/// A post that was flagged as discontent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlaggedPost {
    /// What it is about.
    pub topic: Topic,
    /// Where it happened: a store, a city; none if that was not told.
    pub place: Option<Place>,
    /// Unique within its topic.
    pub post_id: PostId,
    /// Stands for its author. A post without one is a case of its own.
    pub author: Option<AuthorHash>,
    /// How urgent it is.
    pub severity: Severity,
    /// When it was published.
    pub at: Timestamp,
    /// Time within which somebody should respond.
    pub respond_within: Duration,
}

impl FlaggedPost {
    /// The post of an observation; none if it is not discontent.
    #[must_use]
    pub fn of(observation: &Observation, respond_within: Duration) -> Option<Self> {
        Some(Self {
            topic: observation.topic.clone(),
            place: observation.place.clone(),
            post_id: observation.post_id.clone(),
            author: observation.author,
            severity: observation.discontent?,
            at: observation.at,
            respond_within,
        })
    }
}

/// All cases. It has no clock: whoever drives it says what time it is.
#[derive(Debug, Clone)]
pub struct CaseEngine {
    pub(crate) settings: CaseSettings,
    pub(crate) cases: BTreeMap<CaseId, Arc<Case>>,
    pub(crate) indices: Indices,
    /// Cases that ever opened.
    pub(crate) opened: u64,
    /// Cases that were not closed and were dropped for want of room.
    pub(crate) evicted: u64,
}

impl CaseEngine {
    /// An engine without cases.
    #[must_use]
    pub fn new(settings: CaseSettings) -> Self {
        Self {
            settings,
            cases: BTreeMap::new(),
            indices: Indices::default(),
            opened: 0,
            evicted: 0,
        }
    }

    /// Its bounds.
    #[must_use]
    pub fn settings(&self) -> CaseSettings {
        self.settings
    }

    /// Cases that ever opened.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// Cases that were dropped for want of room before they were closed.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Cases that are kept, closed ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cases.len()
    }

    /// Whether there is no case.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// A case.
    #[must_use]
    pub fn get(&self, id: CaseId) -> Option<&Case> {
        self.cases.get(&id).map(|case| &**case)
    }

    /// Cases that are not closed, by severity, least first.
    #[must_use]
    pub fn unclosed(&self) -> [usize; 3] {
        self.indices.unclosed()
    }

    /// Cases of a topic whose deadline passed and which are not closed.
    #[must_use]
    pub fn overdue_of(&self, topic: &Topic) -> usize {
        self.indices.overdue_of(topic)
    }

    /// Cases of all topics whose deadline passed and which are not closed.
    #[must_use]
    pub fn overdue(&self) -> usize {
        self.indices.overdue()
    }

    /// A post was flagged: it joins the case of its author and topic, or opens one. A post that is
    /// in the case already changes nothing. `now` is the clock of who drives the engine.
    pub fn observe(&mut self, post: &FlaggedPost, now: Timestamp) -> Vec<CaseChange> {
        let at = post.at.min(now);
        let same = match post.author {
            Some(author) => self.indices.newest_of(&post.topic, author),
            None => self.indices.of_post(&post.topic, &post.post_id),
        };
        let joined = same.and_then(|id| self.get(id)).filter(|case| belongs(case, post, at));
        let mut changes = Vec::new();
        if let Some(case) = joined {
            if case.post_ids.contains(&post.post_id) {
                return changes;
            }
            let case = self.update(case.id, |case| join(case, post, at));
            changes.extend(case.map(|case| CaseChange { kind: CaseChangeKind::Joined, case }));
        } else {
            let id = CaseId::of(&post.topic, &post.post_id, now);
            if self.cases.contains_key(&id) {
                // One id with two authors at one moment: the first is right.
                return changes;
            }
            let case = self.open(id, post, at, now);
            changes.push(CaseChange { kind: CaseChangeKind::Opened, case });
            self.make_room(&post.topic, &mut changes);
        }
        changes
    }

    /// Moves time on: deadlines pass, leases end, and what closed long ago is forgotten. Costs what
    /// there is to do, not what there is.
    pub fn tick(&mut self, now: Timestamp) -> Vec<CaseChange> {
        let mut changes = Vec::new();
        while let Some(id) = self.indices.lease_ended(now) {
            let case = self.update(id, end_lease);
            changes.extend(case.map(|case| CaseChange { kind: CaseChangeKind::LeaseEnded, case }));
        }
        while let Some(id) = self.indices.deadline_passed(now) {
            let case = self.update(id, |case| {
                let opened_late = case.opened_at > case.respond_by;
                case.punctuality = Some(match opened_late {
                    true => Punctuality::OpenedLate,
                    false => Punctuality::Late,
                });
            });
            changes.extend(case.map(|case| CaseChange { kind: CaseChangeKind::Overdue, case }));
        }
        while let Some(id) = self.indices.closed_before(now.before(CLOSED_KEPT)) {
            self.remove(id);
        }
        changes
    }

    /// Changes a case, and what is known of it elsewhere; returns it as it is then.
    pub(crate) fn update(&mut self, id: CaseId, change: impl FnOnce(&mut Case)) -> Option<Case> {
        let case = self.cases.get_mut(&id)?;
        self.indices.remove(case);
        change(Arc::make_mut(case));
        self.indices.insert(case);
        Some(Case::clone(case))
    }

    pub(crate) fn insert(&mut self, case: Case) {
        // What an index has of a case that is not there would be found for ever.
        self.remove(case.id);
        self.indices.insert(&case);
        self.cases.insert(case.id, Arc::new(case));
    }

    pub(crate) fn remove(&mut self, id: CaseId) -> Option<Case> {
        let case = self.cases.remove(&id)?;
        self.indices.remove(&case);
        Some(Arc::unwrap_or_clone(case))
    }

    fn open(&mut self, id: CaseId, post: &FlaggedPost, at: Timestamp, now: Timestamp) -> Case {
        self.opened += 1;
        let mut case = Case {
            id,
            number: self.opened,
            topic: post.topic.clone(),
            place: post.place.clone(),
            author: post.author,
            severity: post.severity,
            post_ids: vec![post.post_id.clone()],
            posts: 1,
            posted_at: at,
            opened_at: now,
            respond_by: at.after(post.respond_within),
            punctuality: None,
            first_claimed_at: None,
            claim: None,
            closing: None,
            history: Vec::new(),
        };
        note(&mut case, HistoryKind::Opened, "", now);
        self.insert(case.clone());
        case
    }
}

/// Whether a post of the same author and topic, published at `at`, is part of a case. What the
/// author writes after the case was closed is another one: it needs another answer.
fn belongs(case: &Case, post: &FlaggedPost, at: Timestamp) -> bool {
    let (first, last) = (case.posted_at.min(at), case.posted_at.max(at));
    let near = last.before(JOIN_WITHIN) < first;
    let answered = case.closing.as_ref().is_some_and(|closing| at > closing.at);
    case.post_ids.contains(&post.post_id) || (near && !answered)
}

fn join(case: &mut Case, post: &FlaggedPost, at: Timestamp) {
    case.posts += 1;
    if case.post_ids.len() == POST_IDS_MAX {
        case.post_ids.remove(1);
    }
    case.post_ids.push(post.post_id.clone());
    // What was closed stays as it was judged.
    if case.state() == CaseState::Closed {
        return;
    }
    case.severity = case.severity.max(post.severity);
    case.posted_at = case.posted_at.min(at);
    case.respond_by = case.respond_by.min(at.after(post.respond_within));
    if case.place.is_none() {
        case.place.clone_from(&post.place);
    }
}

fn end_lease(case: &mut Case) {
    if let Some(Claim { by, lease_until, .. }) = case.claim.take() {
        note(case, HistoryKind::LeaseEnded, &by, lease_until);
    }
}

/// Writes into a case's history.
pub(crate) fn note(case: &mut Case, kind: HistoryKind, by: &str, at: Timestamp) {
    if case.history.len() == HISTORY_MAX {
        case.history.remove(1);
    }
    case.history.push(HistoryEntry { kind, by: by.to_owned(), at });
}
