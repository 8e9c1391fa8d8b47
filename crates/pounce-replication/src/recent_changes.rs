//! The last changes of alerts or cases, for watchers that come from another replica.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::replica::{ChangePosition, Numbered};

/// Changes that are kept.
const CHANGES_MAX: usize = 1024;

/// The last changes that have a position, oldest first.
#[derive(Debug)]
pub struct RecentChanges<C> {
    changes: VecDeque<Arc<Numbered<C>>>,
    /// Of the newest change, kept or not.
    last: ChangePosition,
    /// Numbers that were given twice, since the log lost what had them first: all above the first
    /// of these, up to the second.
    given_twice: (u64, u64),
}

impl<C> Default for RecentChanges<C> {
    fn default() -> Self {
        Self { changes: VecDeque::new(), last: ChangePosition::default(), given_twice: (0, 0) }
    }
}

impl<C> RecentChanges<C> {
    /// Notes a change; one without a position can't be resumed after.
    pub fn note(&mut self, change: &Arc<Numbered<C>>) {
        let Some(position) = change.position else { return };
        self.last = position;
        if self.changes.len() == CHANGES_MAX {
            self.changes.pop_front();
        }
        self.changes.push_back(Arc::clone(change));
    }

    /// Begins with a state whose newest change is `last`.
    pub fn begin(&mut self, last: ChangePosition) {
        self.changes.clear();
        let (after, up_to) = self.given_twice;
        if last.origin != self.last.origin {
            self.given_twice = (0, 0);
        } else if last.number < self.last.number {
            let after = if up_to == 0 { last.number } else { after.min(last.number) };
            self.given_twice = (after, up_to.max(self.last.number));
        }
        self.last = last;
    }

    /// Position of the newest change.
    #[must_use]
    pub fn last(&self) -> ChangePosition {
        self.last
    }

    /// The changes after `position`; none if not all of them are known, or it may be that of a
    /// change that is lost.
    #[must_use]
    pub fn after(&self, position: ChangePosition) -> Option<Vec<Arc<Numbered<C>>>> {
        if position.origin != self.last.origin {
            return None;
        }
        let (after, up_to) = self.given_twice;
        if after < position.number && position.number <= up_to {
            return None;
        }
        let is_later = |change: &&Arc<Numbered<C>>| {
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

    fn after(recent: &RecentChanges<()>, origin: u64, number: u64) -> Option<Vec<u64>> {
        let later = recent.after(ChangePosition { origin, number })?;
        Some(later.iter().filter_map(|change| change.position).map(|at| at.number).collect())
    }

    #[test]
    fn what_came_after_a_position_is_told_if_all_of_it_is_known() {
        let mut recent = RecentChanges::default();
        let note = |recent: &mut RecentChanges<()>, numbers: std::ops::RangeInclusive<u64>| {
            for number in numbers {
                let position = Some(ChangePosition { origin: 7, number });
                recent.note(&Arc::new(Numbered { position, change: () }));
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

    #[test]
    fn a_number_that_was_given_twice_tells_nothing() {
        let mut recent = RecentChanges::default();
        let note = |recent: &mut RecentChanges<()>, number| {
            let position = Some(ChangePosition { origin: 7, number });
            recent.note(&Arc::new(Numbered { position, change: () }));
        };
        recent.begin(ChangePosition { origin: 7, number: 130 });
        recent.begin(ChangePosition { origin: 7, number: 100 });
        note(&mut recent, 101);
        assert_eq!(after(&recent, 7, 100), Some(vec![101]));
        for seen in [101, 130] {
            assert_eq!(after(&recent, 7, seen), None, "which {seen} it saw is not known");
        }
        assert_eq!(after(&recent, 7, 131), Some(vec![]), "seen on a replica that is ahead");
        recent.begin(ChangePosition { origin: 8, number: 110 });
        assert_eq!(after(&recent, 8, 110), Some(vec![]), "of another log");
    }
}
