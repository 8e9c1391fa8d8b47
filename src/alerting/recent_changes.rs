//! The last changes of alerts, for watchers that come from another replica.

use std::collections::VecDeque;
use std::sync::Arc;

use pounce_replication::{ChangePosition, NumberedChange};

/// Changes that are kept.
const CHANGES_MAX: usize = 1024;

/// The last changes that have a position, oldest first.
#[derive(Debug, Default)]
pub(super) struct RecentChanges {
    changes: VecDeque<Arc<NumberedChange>>,
    /// Of the newest change, kept or not.
    last: ChangePosition,
}

impl RecentChanges {
    /// Notes a change; one without a position can't be resumed after.
    pub(super) fn note(&mut self, change: &Arc<NumberedChange>) {
        let Some(position) = change.position else { return };
        self.last = position;
        if self.changes.len() == CHANGES_MAX {
            self.changes.pop_front();
        }
        self.changes.push_back(Arc::clone(change));
    }

    /// Begins with a state whose newest change is `last`.
    pub(super) fn begin(&mut self, last: ChangePosition) {
        self.changes.clear();
        self.last = last;
    }

    /// The changes after `position`; none if not all of them are known.
    pub(super) fn after(&self, position: ChangePosition) -> Option<Vec<Arc<NumberedChange>>> {
        if position.origin != self.last.origin {
            return None;
        }
        let is_later = |change: &&Arc<NumberedChange>| {
            change.position.is_some_and(|other| other.number > position.number)
        };
        let later: Vec<_> = self.changes.iter().filter(is_later).cloned().collect();
        let missing = self.last.number.saturating_sub(position.number);
        (later.len() as u64 == missing).then_some(later)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pounce_alerts::alert::AlertChange;
    use pounce_alerts::{AlertEngine, Observation, Settings, SignalId};
    use pounce_types::post::{PostId, Timestamp, Topic};
    use pounce_types::score::{Sentiment, Severity};

    /// An alert that opened.
    fn change() -> AlertChange {
        let mut engine = AlertEngine::new(Settings::default(), 10);
        let mut changes = (0_u64..60).flat_map(|n| {
            let at = Timestamp::from_millis(1_700_000_000_000 + 20_000 * n);
            let observation = Observation {
                topic: Topic::parse(b"acme").expect("a topic"),
                place: None,
                post_id: PostId::parse(n.to_string().as_bytes()).expect("an id"),
                author: None,
                followers: 0,
                at,
                foreign: false,
                sentiment: Sentiment::Negative,
                discontent: Some(Severity::Low),
                signal: SignalId::default(),
                near_text: None,
            };
            engine.observe(&observation, at).changes
        });
        changes.next().expect("an alert opens")
    }

    fn after(recent: &RecentChanges, origin: u64, number: u64) -> Option<Vec<u64>> {
        let later = recent.after(ChangePosition { origin, number })?;
        Some(later.iter().filter_map(|change| change.position).map(|at| at.number).collect())
    }

    #[test]
    fn what_came_after_a_position_is_told_if_all_of_it_is_known() {
        let mut recent = RecentChanges::default();
        let change = change();
        let note = |recent: &mut RecentChanges, numbers: std::ops::RangeInclusive<u64>| {
            for number in numbers {
                let position = Some(ChangePosition { origin: 7, number });
                recent.note(&Arc::new(NumberedChange { position, change: change.clone() }));
            }
        };
        recent.begin(ChangePosition { origin: 7, number: 2 });
        assert_eq!(after(&recent, 7, 2), Some(vec![]));
        assert_eq!(after(&recent, 7, 1), None, "change 2 is not known here");
        note(&mut recent, 3..=5);
        assert_eq!(after(&recent, 7, 3), Some(vec![4, 5]));
        assert_eq!(after(&recent, 7, 9), Some(vec![]), "seen on a replica that is ahead");
        assert_eq!(after(&recent, 8, 3), None, "of another log");
        note(&mut recent, 6..=2000);
        assert_eq!(after(&recent, 7, 5), None, "too far back");
        assert_eq!(after(&recent, 7, 1998), Some(vec![1999, 2000]));
    }
}
