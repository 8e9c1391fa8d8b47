//! Flagged posts become cases: somebody claims one, answers the customer and closes it with an
//! outcome. Pure: no async, no clock, no wire; time is an argument.
//!
//! Replicas that are given the same posts and actions in the same order have the same cases.

mod action;
pub mod case;
mod engine;
mod eviction;
mod id;
mod indices;
mod listing;
mod settings;
mod snapshot;

pub use action::{Acted, ActionKind, CaseAction, CaseError};
pub use case::{Case, CaseChange, CaseChangeKind, Outcome};
pub use engine::{CaseEngine, FlaggedPost};
pub use id::{CaseId, NotACaseId};
pub use listing::{CaseOrder, CasePage, CasePosition};
pub use settings::{CLOSED_KEPT, CaseSettings, JOIN_WITHIN};
pub use snapshot::{CaseSnapshot, CaseSnapshotError};
