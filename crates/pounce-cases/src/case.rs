//! A case, who works on it, and what happens to it.

use serde::{Deserialize, Serialize};

use crate::id::CaseId;
use pounce_alerts::AuthorHash;
pub use pounce_types::closing::{Closing, Outcome};
use pounce_types::post::{Place, PostId, Timestamp, Topic};
use pounce_types::score::Severity;

/// Somebody works on a case, until the claim is released or its lease ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Who holds it.
    pub by: String,
    /// Since when.
    pub at: Timestamp,
    /// When the case is free again, unless the claim is renewed.
    pub lease_until: Timestamp,
}

/// Whether the deadline was met. Decided once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Punctuality {
    /// Somebody responded by the deadline.
    InTime,
    /// The deadline passed without a response.
    Late,
    /// The deadline had passed when the case opened: its post came too late.
    OpenedLate,
}

impl Punctuality {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::InTime, Self::Late, Self::OpenedLate];

    /// Lower-case name, as in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InTime => "in_time",
            Self::Late => "late",
            Self::OpenedLate => "opened_late",
        }
    }
}

/// What is written into a case's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HistoryKind {
    /// A post opened the case; by nobody.
    Opened,
    /// Somebody claimed it.
    Claimed,
    /// Its holder released it.
    Released,
    /// The lease of its holder ended.
    LeaseEnded,
    /// Somebody closed it.
    Closed,
}

/// One entry of a case's history: who did what, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// What was done.
    pub kind: HistoryKind,
    /// Who did it, or whose lease ended; empty where nobody did.
    pub by: String,
    /// When it happened.
    pub at: Timestamp,
}

/// Where a case is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CaseState {
    /// Nobody works on it.
    Open,
    /// Somebody works on it.
    Claimed,
    /// It is done.
    Closed,
}

/// The discontent of one author about one topic. It holds ids of posts, never texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// The same on every replica.
    pub id: CaseId,
    /// Number among all cases that ever opened, from 1: orders them by age.
    pub number: u64,
    /// What its posts are about.
    pub topic: Topic,
    /// Where, by its first post that says so.
    pub place: Option<Place>,
    /// Stands for their author; none if its one post names nobody.
    pub author: Option<AuthorHash>,
    /// Of its worst post.
    pub severity: Severity,
    /// Its first post and the latest, in the order in which they came; at most 10.
    pub post_ids: Vec<PostId>,
    /// Posts in all.
    pub posts: u64,
    /// When its earliest post was published.
    pub posted_at: Timestamp,
    /// When it opened, by the clock of who drives the engine.
    pub opened_at: Timestamp,
    /// When somebody should have responded: the earliest deadline of its posts.
    pub respond_by: Timestamp,
    /// Whether that was met; none while it is open, and where no response was due.
    pub punctuality: Option<Punctuality>,
    /// When it was claimed for the first time.
    pub first_claimed_at: Option<Timestamp>,
    /// Who works on it.
    pub claim: Option<Claim>,
    /// How it ended.
    pub closing: Option<Closing>,
    /// Who did what and when: its opening and the latest 19 entries.
    pub history: Vec<HistoryEntry>,
}

impl Case {
    /// Where it is on its way.
    #[must_use]
    pub fn state(&self) -> CaseState {
        match (&self.closing, &self.claim) {
            (Some(_), _) => CaseState::Closed,
            (None, Some(_)) => CaseState::Claimed,
            (None, None) => CaseState::Open,
        }
    }

    /// Whether its deadline passed and it is not closed.
    #[must_use]
    pub fn is_overdue(&self) -> bool {
        self.closing.is_none()
            && matches!(self.punctuality, Some(Punctuality::Late | Punctuality::OpenedLate))
    }
}

/// What happened to a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CaseChangeKind {
    /// A post opened it.
    Opened,
    /// A further post joined it.
    Joined,
    /// Its deadline passed.
    Overdue,
    /// Somebody claimed it.
    Claimed,
    /// Its holder renewed their claim.
    Renewed,
    /// Its holder released it.
    Released,
    /// The lease of its holder ended: it is free again.
    LeaseEnded,
    /// Somebody closed it.
    Closed,
    /// It was dropped for want of room.
    Evicted,
}

impl CaseChangeKind {
    /// Lower-case name, as in logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Joined => "joined",
            Self::Overdue => "overdue",
            Self::Claimed => "claimed",
            Self::Renewed => "renewed",
            Self::Released => "released",
            Self::LeaseEnded => "lease_ended",
            Self::Closed => "closed",
            Self::Evicted => "evicted",
        }
    }
}

/// A case as it is after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseChange {
    /// What happened.
    pub kind: CaseChangeKind,
    /// The whole case.
    pub case: Case,
}
