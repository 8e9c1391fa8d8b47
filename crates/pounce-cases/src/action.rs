//! What people do with cases: claim, release, close.

use std::time::Duration;

use crate::case::{
    Case, CaseChange, CaseChangeKind, Claim, Closing, HistoryKind, Outcome, Punctuality,
};
use crate::engine::{CaseEngine, note};
use crate::id::CaseId;
use pounce_types::post::Timestamp;

/// Somebody does something with a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseAction {
    /// Which case.
    pub id: CaseId,
    /// Who acts.
    pub by: String,
    /// What is to be done.
    pub kind: ActionKind,
}

/// What somebody does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActionKind {
    /// Takes the case for this long, or renews their own claim.
    Claim {
        /// From when the action is applied.
        lease: Duration,
    },
    /// Gives it back.
    Release,
    /// Ends it. Who holds no claim may close a case that nobody else holds.
    Close {
        /// How it ended.
        outcome: Outcome,
        /// What they have to say.
        note: String,
    },
}

/// What came of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acted {
    /// The case as it is now.
    pub case: Case,
    /// None if the action had been done before: a repeated one changes nothing.
    pub change: Option<CaseChangeKind>,
}

/// Why an action can't be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaseError {
    /// No case has this id.
    #[error(
        "no case has this id: it never opened, was closed more than 7 days ago, or was dropped"
    )]
    Unknown,
    /// Somebody else works on it.
    #[error("the case is claimed by {by}")]
    Claimed {
        /// Who holds it.
        by: String,
        /// When their lease ends, unless they renew it.
        lease_until: Timestamp,
    },
    /// Somebody closed it before, in another way.
    #[error("the case was closed by {by} as {}", .outcome.name())]
    Closed {
        /// Who closed it.
        by: String,
        /// How it ended.
        outcome: Outcome,
    },
}

impl CaseEngine {
    /// Does what somebody wants done; `now` is the clock of who drives the engine. The same action
    /// by the same person, done twice, is done once.
    /// # Errors
    /// [`CaseError`]: nothing was changed.
    pub fn act(&mut self, action: &CaseAction, now: Timestamp) -> Result<Acted, CaseError> {
        let case = self.get(action.id).ok_or(CaseError::Unknown)?;
        let change = decide(case, action, now)?;
        let Some(kind) = change else { return Ok(Acted { case: case.clone(), change }) };
        let case = self.update(action.id, |case| apply(case, action, now));
        let case = case.ok_or(CaseError::Unknown)?;
        Ok(Acted { case, change: Some(kind) })
    }
}

impl Acted {
    /// What is to be told of it.
    #[must_use]
    pub fn told(&self) -> Option<CaseChange> {
        self.change.map(|kind| CaseChange { kind, case: self.case.clone() })
    }
}

/// What an action changes; none if it was done before.
fn decide(
    case: &Case,
    action: &CaseAction,
    now: Timestamp,
) -> Result<Option<CaseChangeKind>, CaseError> {
    if let Some(Closing { by, outcome, .. }) = &case.closing {
        let again = matches!(&action.kind,
            ActionKind::Close { outcome: wanted, .. } if wanted == outcome && *by == action.by);
        let closed = CaseError::Closed { by: by.clone(), outcome: *outcome };
        return if again { Ok(None) } else { Err(closed) };
    }
    if let Some(Claim { by, lease_until, .. }) = &case.claim
        && *by != action.by
        && *lease_until > now
    {
        return Err(CaseError::Claimed { by: by.clone(), lease_until: *lease_until });
    }
    Ok(match action.kind {
        ActionKind::Claim { .. } => Some(match &case.claim {
            Some(claim) if claim.by == action.by => CaseChangeKind::Renewed,
            _ => CaseChangeKind::Claimed,
        }),
        ActionKind::Release => case.claim.as_ref().map(|_| CaseChangeKind::Released),
        ActionKind::Close { .. } => Some(CaseChangeKind::Closed),
    })
}

fn apply(case: &mut Case, action: &CaseAction, now: Timestamp) {
    let by = &action.by;
    match &action.kind {
        ActionKind::Claim { lease } => {
            let lease_until = now.after(*lease);
            match &mut case.claim {
                Some(claim) if claim.by == *by => claim.lease_until = lease_until,
                claim => {
                    *claim = Some(Claim { by: by.clone(), at: now, lease_until });
                    case.first_claimed_at.get_or_insert(now);
                    note(case, HistoryKind::Claimed, by, now);
                }
            }
        }
        ActionKind::Release => {
            case.claim = None;
            note(case, HistoryKind::Released, by, now);
        }
        ActionKind::Close { outcome, note: words } => {
            case.claim = None;
            case.closing =
                Some(Closing { outcome: *outcome, by: by.clone(), note: words.clone(), at: now });
            // A deadline that passed was judged by the tick.
            if case.punctuality.is_none() && outcome.is_response() {
                case.punctuality = Some(Punctuality::InTime);
            }
            note(case, HistoryKind::Closed, by, now);
        }
    }
}
