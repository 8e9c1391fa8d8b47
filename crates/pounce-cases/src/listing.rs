//! Cases as a list, page by page. Changes nothing.
//!
//! A page goes on after a position in the order of the list, not after a number of cases: what
//! comes or goes between two pages moves nothing else.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::case::Case;
use crate::engine::CaseEngine;
use crate::id::CaseId;

/// In which order cases are listed. Closed ones come last, the one closed latest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CaseOrder {
    /// The earliest deadline first, and of equal ones the worst severity.
    #[default]
    Deadline,
    /// The worst severity first, and of equal ones the earliest deadline.
    Severity,
}

/// Where a case stands in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CasePosition {
    closed: bool,
    first: u64,
    second: u64,
    id: CaseId,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct CasePage {
    /// In the order of the list.
    pub cases: Vec<Case>,
    /// Where the next page begins: after the last case. None if there is nothing more.
    pub next: Option<CasePosition>,
}

impl CaseEngine {
    /// All cases that are not closed, the earliest deadline first.
    #[must_use]
    pub fn present(&self) -> Vec<Arc<Case>> {
        let open = self.cases.values().filter(|case| case.closing.is_none());
        let mut present: Vec<_> = open.cloned().collect();
        present.sort_by_key(|case| position(case, CaseOrder::Deadline));
        present
    }

    /// Up to `max` (at least 1) cases that pass, from those after `after` on.
    #[must_use]
    pub fn page(
        &self,
        order: CaseOrder,
        passes: impl Fn(&Case) -> bool,
        after: Option<&CasePosition>,
        max: usize,
    ) -> CasePage {
        let max = max.max(1);
        let passing = self.cases.values().filter(|case| passes(case));
        let positions = passing.map(|case| position(case, order));
        let mut left: Vec<_> =
            positions.filter(|position| after.is_none_or(|after| position > after)).collect();
        let more = left.len() > max;
        if more {
            left.select_nth_unstable(max - 1);
        }
        left.truncate(max);
        left.sort_unstable();
        CasePage {
            next: left.last().filter(|_| more).copied(),
            cases: left.iter().filter_map(|at| self.get(at.id)).cloned().collect(),
        }
    }
}

fn position(case: &Case, order: CaseOrder) -> CasePosition {
    let deadline = case.respond_by.millis();
    let mildness = u64::MAX - case.severity as u64;
    let (closed, first, second) = match (&case.closing, order) {
        (Some(closing), _) => (true, u64::MAX - closing.at.millis(), 0),
        (None, CaseOrder::Deadline) => (false, deadline, mildness),
        (None, CaseOrder::Severity) => (false, mildness, deadline),
    };
    CasePosition { closed, first, second, id: case.id }
}
