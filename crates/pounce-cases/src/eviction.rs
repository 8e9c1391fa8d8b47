//! Which cases are dropped when there are too many: closed ones before open ones, and those before
//! the ones that somebody works on; among equals the lowest severity, and of that the oldest.

use crate::case::{CaseChange, CaseChangeKind, CaseState};
use crate::engine::CaseEngine;
use crate::id::CaseId;
use pounce_types::post::Topic;

impl CaseEngine {
    /// Makes room after a case of `topic` came.
    pub(crate) fn make_room(&mut self, topic: &Topic, changes: &mut Vec<CaseChange>) {
        let topic_max = self.settings.topic_cases_max.max(1);
        while let Some(id) = self.indices.first_to_leave_of(topic, topic_max) {
            self.evict(id, changes);
        }
        while self.cases.len() > self.settings.cases_max.max(1) {
            let Some(id) = self.indices.first_to_leave() else { return };
            self.evict(id, changes);
        }
    }

    fn evict(&mut self, id: CaseId, changes: &mut Vec<CaseChange>) {
        let Some(case) = self.remove(id) else { return };
        // Nobody waits for what is closed.
        if case.state() != CaseState::Closed {
            self.evicted += 1;
            changes.push(CaseChange { kind: CaseChangeKind::Evicted, case });
        }
    }
}
