//! The places of a topic. A minute costs what happens in it, not how many places there are.
//!
//! Most places of a topic with thousands have no posts for hours. Time changes nothing there that
//! anybody sees, except that they forget: so they rest, and are brought up to date when they
//! forget something, when a post of theirs counts, and in snapshots. What they are then is what
//! they were if each minute had been closed for each of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::alert::{AlertChange, PLACES_MAX, PlaceCounts};
use super::key::AlertKind;
use super::key_state::{Closing, KeyState};
use super::ledger::Ledger;
use super::minute::Minute;
use super::settings::Rules;
use pounce_types::post::Place;

/// Stretches of skipped minutes that are remembered; past it all places are brought up to date.
const SKIPPED_MAX: usize = 64;

/// See the module.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Places {
    /// Those that are not idle.
    awake: BTreeMap<Place, KeyState>,
    resting: BTreeMap<Place, Resting>,
    /// Those that rest, by the minute that makes them forget something.
    due: BTreeSet<(Minute, Place)>,
    /// Minutes that were skipped, not closed, while places rested: stretches in rising order.
    skipped: Vec<(Minute, Minute)>,
    /// Memory of those awake, as of the last minute that closed, and of those that rest.
    awake_bytes: usize,
    resting_bytes: usize,
}

/// An idle place.
#[derive(Debug, Clone, PartialEq)]
struct Resting {
    key_state: KeyState,
    /// First minute that it is not brought up to date for.
    since: Minute,
    due: Option<Minute>,
}

impl Resting {
    fn bring_up(&mut self, next: Minute, skipped: &[(Minute, Minute)], rules: &Rules) {
        let unheard = skipped.partition_point(|&(_, until)| until <= self.since);
        self.key_state.rest(self.since, next, &skipped[unheard..], rules);
        self.since = next;
    }
}

impl Places {
    /// A place. If it rests, what nobody sees of it is of an earlier minute.
    pub(super) fn get(&self, place: &Place) -> Option<&KeyState> {
        let resting = || Some(&self.resting.get(place)?.key_state);
        self.awake.get(place).or_else(resting)
    }

    /// As [`Places::get`], to be changed in what makes it neither idle nor awake.
    pub(super) fn get_mut(&mut self, place: &Place) -> Option<&mut KeyState> {
        match self.awake.get_mut(place) {
            None => Some(&mut self.resting.get_mut(place)?.key_state),
            awake => awake,
        }
    }

    /// All places in no order, as [`Places::get`].
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Place, &KeyState)> {
        let resting = self.resting.iter().map(|(place, resting)| (place, &resting.key_state));
        self.awake.iter().chain(resting)
    }

    /// All places in their order, as of `next`, the first minute that is not closed.
    pub(super) fn as_of(
        &self,
        next: Minute,
        rules: &Rules,
    ) -> impl Iterator<Item = (&Place, KeyState)> {
        let mut places: Vec<(&Place, &KeyState)> = self.iter().collect();
        places.sort_unstable_by_key(|&(place, _)| place);
        places.into_iter().map(move |(place, key_state)| match self.resting.get(place) {
            None => (place, key_state.clone()),
            Some(resting) => {
                let mut resting = resting.clone();
                resting.bring_up(next, &self.skipped, rules);
                (place, resting.key_state)
            }
        })
    }

    /// All places, to be changed. Take stock afterwards.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut KeyState> {
        let resting = self.resting.values_mut().map(|resting| &mut resting.key_state);
        self.awake.values_mut().chain(resting)
    }

    /// All places that there were. Those that have alerts come in their order.
    pub(super) fn into_all(self) -> impl Iterator<Item = (Place, KeyState)> {
        let resting = self.resting.into_iter().map(|(place, resting)| (place, resting.key_state));
        self.awake.into_iter().chain(resting)
    }

    /// Puts a place that a snapshot holds; returns the one that was there. Take stock afterwards.
    pub(super) fn put_back(&mut self, place: Place, key_state: KeyState) -> Option<KeyState> {
        self.awake.insert(place, key_state)
    }

    /// Adds a place that is as of `next`, the first minute that is not closed.
    pub(super) fn add(&mut self, place: Place, key_state: KeyState, next: Minute, rules: &Rules) {
        if !key_state.is_idle() {
            self.awake.insert(place, key_state);
            return;
        }
        self.resting_bytes += key_state.bytes();
        let due = key_state.changes_at(next, rules);
        self.due.extend(due.map(|due| (due, place.clone())));
        self.resting.insert(place, Resting { key_state, since: next, due });
    }

    /// Takes out a place.
    pub(super) fn remove(&mut self, place: &Place) -> Option<KeyState> {
        let resting = self.remove_resting(place).map(|(_, resting)| resting.key_state);
        resting.or_else(|| self.awake.remove(place))
    }

    /// A place that a post is counted for, as of `next`.
    pub(super) fn wake(
        &mut self,
        place: &Place,
        next: Minute,
        rules: &Rules,
    ) -> Option<&mut KeyState> {
        if let Some((place, mut resting)) = self.remove_resting(place) {
            resting.bring_up(next, &self.skipped, rules);
            self.awake.insert(place, resting.key_state);
        }
        self.awake.get_mut(place)
    }

    /// Evaluates a minute all of whose posts were counted. Calls `hold_back` for each alert that
    /// is held back because its kind fires for the whole topic.
    pub(super) fn close(
        &mut self,
        closing: &Closing<'_>,
        ledger: &mut Ledger,
        changes: &mut Vec<AlertChange>,
        mut hold_back: impl FnMut(AlertKind),
    ) {
        let next = closing.minute.plus(1);
        let mut awake_bytes = 0;
        let close = |_: &Place, key_state: &mut KeyState| {
            let held_back = key_state.close(closing, ledger, changes);
            let held_back = AlertKind::ALL.into_iter().filter(|kind| held_back[kind.index()]);
            held_back.for_each(&mut hold_back);
            let idle = key_state.is_idle();
            awake_bytes += if idle { 0 } else { key_state.bytes() };
            idle
        };
        let idle: Vec<_> = self.awake.extract_if(.., close).collect();
        self.awake_bytes = awake_bytes;
        for (place, key_state) in idle {
            self.add(place, key_state, next, closing.rules);
        }
        self.forget_due(next, closing.rules);
    }

    /// Whether no minute without posts can change anything.
    pub(super) fn is_idle(&self) -> bool {
        self.awake.is_empty()
    }

    /// Skips the minutes from `first` up to `next`, when all places are idle.
    pub(super) fn skip_idle(&mut self, first: Minute, next: Minute, rules: &Rules) {
        // Those that were may have been taken out.
        self.awake_bytes = 0;
        if self.resting.is_empty() {
            return;
        }
        match self.skipped.last_mut() {
            Some((_, last)) if *last == first => *last = next,
            _ => {
                if self.skipped.len() == SKIPPED_MAX {
                    for resting in self.resting.values_mut() {
                        resting.bring_up(first, &self.skipped, rules);
                    }
                    self.skipped.clear();
                }
                self.skipped.push((first, next));
            }
        }
        self.forget_due(next, rules);
    }

    /// Whether an alert fires.
    pub(super) fn fires(&self) -> bool {
        self.awake.values().any(|key_state| key_state.fires().contains(&true))
    }

    /// The places with most negative posts in the `width` minutes that end with `last`.
    pub(super) fn leading(&self, last: Minute, width: u32) -> Vec<PlaceCounts> {
        let counted = self.awake.iter().map(|(place, state)| (place, state.counts(last, width)));
        let mut leading: Vec<_> = counted.filter(|(_, counts)| counts.negatives > 0).collect();
        leading.sort_by_key(|&(place, counts)| (Reverse(counts.negatives), place));
        leading.truncate(PLACES_MAX);
        let shown = |(place, counts): (&Place, _)| PlaceCounts { place: place.clone(), counts };
        leading.into_iter().map(shown).collect()
    }

    /// Memory that they take, as of the last minute that closed.
    pub(super) fn bytes(&self) -> usize {
        self.awake_bytes + self.resting_bytes
    }

    /// Looks at every place anew; all are as of `next`.
    pub(super) fn take_stock(&mut self, next: Minute, rules: &Rules) {
        for (place, key_state) in std::mem::take(self).into_all() {
            self.add(place, key_state, next, rules);
        }
        self.awake_bytes = self.awake.values().map(KeyState::bytes).sum();
    }

    /// Takes out a place if it rests.
    fn remove_resting(&mut self, place: &Place) -> Option<(Place, Resting)> {
        let (place, resting) = self.resting.remove_entry(place)?;
        if let Some(due) = resting.due {
            self.due.remove(&(due, place.clone()));
        }
        self.resting_bytes -= resting.key_state.bytes();
        Some((place, resting))
    }

    /// Brings places up to `next` that forget something before it.
    fn forget_due(&mut self, next: Minute, rules: &Rules) {
        // Taken out first: skipped minutes leave texts, which then stay due.
        let mut due = Vec::new();
        while self.due.first().is_some_and(|(at, _)| *at < next) {
            due.extend(self.due.pop_first());
        }
        for (_, place) in due {
            if let Some((place, mut resting)) = self.remove_resting(&place) {
                resting.bring_up(next, &self.skipped, rules);
                self.add(place, resting.key_state, next, rules);
            }
        }
    }
}

#[cfg(test)]
mod tests;
