//! Cases to messages, and filters back.

use pounce_types::post::{Place, Topic};
use pounce_types::score::Severity;
use tonic::Status;

use crate::alerting::wire::{is_among, names, severity_min};
use crate::wire::{show_closing, show_severity, show_timestamp};
use pounce_cases::case::{CaseState, HistoryEntry, HistoryKind};
use pounce_cases::{Case, CaseChange, CaseChangeKind, CaseOrder};
use pounce_proto as proto;
use pounce_replication::Numbered;

/// Which cases somebody wants to see.
#[derive(Debug, Clone, Default, Hash)]
pub(crate) struct CaseFilter {
    topics: Vec<Option<Topic>>,
    /// None: what names no place.
    places: Vec<Option<Place>>,
    severity_min: Option<Severity>,
    /// Empty: anybody.
    by: String,
}

impl CaseFilter {
    /// Reads a filter; an unknown enum value or a name that can't be is `INVALID_ARGUMENT`.
    pub(crate) fn parse(wire: Option<proto::CaseFilter>) -> Result<Self, Status> {
        let wire = wire.unwrap_or_default();
        Ok(Self {
            topics: names("topics", &wire.topics, Topic::parse)?,
            places: names("places", &wire.places, Place::parse)?,
            severity_min: severity_min(wire.severity_min)?,
            by: wire.by,
        })
    }

    /// Whether a case passes; an empty list lets everything pass.
    pub(crate) fn passes(&self, case: &Case) -> bool {
        let is_by = |name: Option<&String>| name.is_some_and(|name| *name == self.by);
        is_among(&self.topics, Some(&case.topic))
            && is_among(&self.places, case.place.as_ref())
            && self.severity_min.is_none_or(|min| case.severity >= min)
            && (self.by.is_empty()
                || is_by(case.claim.as_ref().map(|claim| &claim.by))
                || is_by(case.closing.as_ref().map(|closing| &closing.by)))
    }
}

/// The states of a list; none: open and claimed.
pub(crate) fn states(wire: &[i32]) -> Result<Vec<CaseState>, Status> {
    if wire.is_empty() {
        return Ok(vec![CaseState::Open, CaseState::Claimed]);
    }
    let states = wire.iter().map(|&state| match proto::CaseState::try_from(state) {
        Ok(proto::CaseState::Open) => Ok(CaseState::Open),
        Ok(proto::CaseState::Claimed) => Ok(CaseState::Claimed),
        Ok(proto::CaseState::Closed) => Ok(CaseState::Closed),
        Ok(proto::CaseState::Unspecified) | Err(_) => {
            Err(Status::invalid_argument("states has an unknown value"))
        }
    });
    states.collect()
}

pub(crate) fn order(wire: i32) -> Result<CaseOrder, Status> {
    match proto::CaseOrder::try_from(wire) {
        Ok(proto::CaseOrder::Unspecified | proto::CaseOrder::Deadline) => Ok(CaseOrder::Deadline),
        Ok(proto::CaseOrder::Severity) => Ok(CaseOrder::Severity),
        Err(_) => Err(Status::invalid_argument("order has an unknown value")),
    }
}

pub(crate) fn show_change(numbered: &Numbered<CaseChange>) -> proto::CaseChange {
    let kind = match numbered.change.kind {
        CaseChangeKind::Opened => proto::CaseChangeKind::Opened,
        CaseChangeKind::Joined => proto::CaseChangeKind::Joined,
        CaseChangeKind::Overdue => proto::CaseChangeKind::Overdue,
        CaseChangeKind::Claimed => proto::CaseChangeKind::Claimed,
        CaseChangeKind::Renewed => proto::CaseChangeKind::Renewed,
        CaseChangeKind::Released => proto::CaseChangeKind::Released,
        CaseChangeKind::LeaseEnded => proto::CaseChangeKind::LeaseEnded,
        CaseChangeKind::Closed => proto::CaseChangeKind::Closed,
        CaseChangeKind::Evicted => proto::CaseChangeKind::Evicted,
    };
    proto::CaseChange {
        kind: kind.into(),
        case: Some(show_case(&numbered.change.case)),
        position: numbered.position.map(|at| at.to_string()).unwrap_or_default(),
    }
}

/// A case that was not closed when somebody began to watch.
pub(crate) fn show_present(case: &Case) -> proto::CaseChange {
    let kind = proto::CaseChangeKind::Present.into();
    proto::CaseChange { kind, case: Some(show_case(case)), position: String::new() }
}

pub(crate) fn show_case(case: &Case) -> proto::Case {
    let state = match case.state() {
        CaseState::Open => proto::CaseState::Open,
        CaseState::Claimed => proto::CaseState::Claimed,
        CaseState::Closed => proto::CaseState::Closed,
    };
    proto::Case {
        id: case.id.to_string(),
        state: state.into(),
        severity: show_severity(Some(case.severity)).into(),
        topic: case.topic.to_string(),
        place: case.place.as_ref().map(ToString::to_string).unwrap_or_default(),
        post_ids: case.post_ids.iter().map(ToString::to_string).collect(),
        posts: case.posts,
        posted_at: Some(show_timestamp(case.posted_at)),
        opened_at: Some(show_timestamp(case.opened_at)),
        respond_by: Some(show_timestamp(case.respond_by)),
        overdue: case.is_overdue(),
        claim: case.claim.as_ref().map(|claim| proto::CaseClaim {
            by: claim.by.clone(),
            at: Some(show_timestamp(claim.at)),
            lease_until: Some(show_timestamp(claim.lease_until)),
        }),
        closing: case.closing.as_ref().map(show_closing),
        history: case.history.iter().map(show_history).collect(),
    }
}

fn show_history(entry: &HistoryEntry) -> proto::CaseHistoryEntry {
    let kind = match entry.kind {
        HistoryKind::Opened => proto::CaseHistoryKind::Opened,
        HistoryKind::Claimed => proto::CaseHistoryKind::Claimed,
        HistoryKind::Released => proto::CaseHistoryKind::Released,
        HistoryKind::LeaseEnded => proto::CaseHistoryKind::LeaseEnded,
        HistoryKind::Closed => proto::CaseHistoryKind::Closed,
    };
    proto::CaseHistoryEntry {
        kind: kind.into(),
        by: entry.by.clone(),
        at: Some(show_timestamp(entry.at)),
    }
}
