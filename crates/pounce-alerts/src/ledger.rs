//! Alerts that resolved, and the engine's counters.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::alert::{AlertChange, ChangeKind, Suppression};
use super::key::AlertKind;
use super::lifecycle::Firing;
use pounce_types::post::Timestamp;

/// Counters since the engine was created; a restored engine goes on counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Posts taken in.
    pub posts: u64,
    /// Posts behind the watermark by more than the lateness: not counted.
    pub late: u64,
    /// Posts whose topic and id were seen before: not counted again.
    pub duplicates: u64,
    /// Posts whose time lay too far ahead of the clock.
    pub clamped: u64,
    /// Posts that were not their author's vote.
    pub author_repeats: u64,
    /// Posts that were copies of a text that had its vote.
    pub text_repeats: u64,
    /// Posts whose discontent rests on another signal: not counted.
    pub other_signal: u64,
    /// Topics and places dropped for want of room.
    pub keys_forgotten: u64,
    /// Post ids dropped for want of room.
    pub post_ids_forgotten: u64,
    /// Authors' votes dropped for want of room.
    pub votes_forgotten: u64,
    /// Texts' votes dropped for want of room.
    pub text_votes_forgotten: u64,
    /// Authors with an audience dropped for want of room.
    pub reach_authors_forgotten: u64,
    /// Times that a topic's minutes closed early for want of room.
    pub closed_early: u64,
    /// Resolved alerts dropped for want of room.
    pub resolved_forgotten: u64,
    /// Alerts held back, by kind and reason.
    pub(super) suppressed: [[u64; 2]; 3],
}

impl Totals {
    /// Alerts of `kind` held back for `reason`.
    #[must_use]
    pub fn suppressed(&self, kind: AlertKind, reason: Suppression) -> u64 {
        self.suppressed[kind.index()][reason_index(reason)]
    }
}

fn reason_index(reason: Suppression) -> usize {
    match reason {
        Suppression::Cooldown => 0,
        Suppression::TopicFiring => 1,
    }
}

/// An alert that is over, and the wall clock at which it ended.
pub(super) type ResolvedAlert = (Timestamp, Firing);

/// Alerts that are over, and the counters.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Ledger {
    pub(super) totals: Totals,
    /// In the order in which they resolved, with the wall clock at which they
    /// did.
    pub(super) over: VecDeque<ResolvedAlert>,
    /// Wall clock.
    now: Timestamp,
    over_max: usize,
}

impl Ledger {
    /// Moves the wall clock.
    pub(super) fn at(&mut self, now: Timestamp, over_max: usize) {
        (self.now, self.over_max) = (now, over_max);
    }

    /// The clock went back to `now`: nothing resolved after it.
    pub(super) fn turn_back(&mut self, now: Timestamp) {
        for (at, _) in &mut self.over {
            *at = now.min(*at);
        }
    }

    /// Drops what resolved more than `age` before `now`.
    pub(super) fn forget(&mut self, now: Timestamp, age: Duration) {
        let first = now.before(age);
        while self.over.front().is_some_and(|(at, _)| *at < first) {
            self.over.pop_front();
        }
    }

    pub(super) fn resolved(&mut self, firing: Firing, changes: &mut Vec<AlertChange>) {
        changes.push(AlertChange { kind: ChangeKind::Resolved, alert: firing.alert.clone() });
        self.over.push_back((self.now, firing));
        while self.over.len() > self.over_max {
            self.over.pop_front();
            self.totals.resolved_forgotten += 1;
        }
    }

    pub(super) fn held_back(&mut self, kind: AlertKind, reason: Suppression) {
        self.totals.suppressed[kind.index()][reason_index(reason)] += 1;
    }
}
