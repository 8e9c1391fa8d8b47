//! The baseline share of negative posts: the sums of a day that ended hours
//! ago, learnt a minute at a time. Knows counts and minutes only.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::minute::Minute;
use super::settings::Share;
use super::wilson::lower_bound;
use super::window::{Counts, ratio};

/// Minutes that are forgotten together: a day is 96 slots, not 1440 minutes.
const SLOT_MINUTES: u32 = 15;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    number: u32,
    counts: Counts,
}

/// The posts that the baseline rests on.
///
/// Its clock stands still for minutes that must not be learnt, so that a long
/// alert neither teaches it nor makes it forget.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Baseline {
    slots: VecDeque<Slot>,
    sum: Counts,
    /// Minutes for which the clock stood still.
    held: u32,
    /// Stretches of minutes not to be learnt, first to last, still to come.
    holds: VecDeque<(Minute, Minute)>,
}

impl Baseline {
    /// Says that `minute` must not be learnt when its time comes.
    pub(super) fn hold(&mut self, minute: Minute) {
        match self.holds.back_mut() {
            Some((_, last)) if last.plus(1) == minute => *last = minute,
            _ => self.holds.push_back((minute, minute)),
        }
    }

    /// Learns the counts of `minute`. Minutes come in rising order; one without
    /// posts may be left out unless it was held.
    pub(super) fn learn(&mut self, minute: Minute, counts: Counts, length_minutes: u32) {
        while self.holds.front().is_some_and(|(_, last)| *last < minute) {
            self.holds.pop_front();
        }
        if self.holds.front().is_some_and(|(first, _)| *first <= minute) {
            self.held = self.held.saturating_add(1);
            return;
        }
        let now = minute.minus(self.held).period(SLOT_MINUTES);
        if counts.posts > 0 {
            match self.slots.back_mut() {
                Some(slot) if slot.number == now => slot.counts = slot.counts.and(counts),
                _ => self.slots.push_back(Slot { number: now, counts }),
            }
            self.sum = self.sum.and(counts);
        }
        let length = length_minutes.div_ceil(SLOT_MINUTES);
        while let Some(old) =
            self.slots.front().filter(|slot| now.saturating_sub(slot.number) >= length)
        {
            self.sum.posts = self.sum.posts.saturating_sub(old.counts.posts);
            self.sum.negatives = self.sum.negatives.saturating_sub(old.counts.negatives);
            self.slots.pop_front();
        }
    }

    /// The baseline share: what was learnt, with the prior as additional posts. Where what was
    /// learnt is significantly above the prior, it counts alone: a prior that lowered it would
    /// open an alert on each topic that always complains, as soon as it has a baseline.
    pub(super) fn share(&self, share: &Share) -> f64 {
        let (negatives, posts) = (f64::from(share.prior_negatives), f64::from(share.prior_posts));
        if lower_bound(self.sum, share.z) > negatives / posts {
            return self.sum.share();
        }
        (ratio(self.sum.negatives) + negatives) / (ratio(self.sum.posts) + posts)
    }

    /// The posts that were learnt.
    pub(super) fn learnt(&self) -> Counts {
        self.sum
    }

    /// Memory that the slots take.
    pub(super) fn bytes(&self) -> usize {
        self.slots.len() * size_of::<Slot>() + self.holds.len() * size_of::<(Minute, Minute)>()
    }

    /// The first minute without posts that makes it forget something; none if there is nothing.
    pub(super) fn forgets_at(&self, length_minutes: u32) -> Option<Minute> {
        let last = self.slots.front()?.number + length_minutes.div_ceil(SLOT_MINUTES);
        Some(Minute::default().plus(last * SLOT_MINUTES).plus(self.held))
    }

    /// Whether minutes without posts teach it nothing but to forget.
    pub(super) fn is_settled(&self) -> bool {
        self.holds.is_empty()
    }

    /// Whether the prior still weighs more than what was learnt.
    pub(super) fn is_warming(&self, share: &Share) -> bool {
        self.sum.posts < u64::from(share.prior_posts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u32 = 1440;

    fn minute(number: u32) -> Minute {
        Minute::default().plus(number)
    }

    fn learn(baseline: &mut Baseline, minutes: std::ops::Range<u32>, negatives: u64) {
        for at in minutes {
            baseline.learn(minute(at), Counts { posts: 10, negatives }, DAY);
        }
    }

    fn check(baseline: &Baseline, expected: f64) {
        let found = baseline.share(&Share::default());
        assert!((found - expected).abs() < 1e-9, "{found}");
    }

    #[test]
    fn the_prior_covers_a_cold_start() {
        check(&Baseline::default(), 0.15);
        assert!(Baseline::default().is_warming(&Share::default()));
    }

    #[test]
    fn a_prior_does_not_lower_what_is_significantly_above_it() {
        let mut baseline = Baseline::default();
        learn(&mut baseline, 0..1, 2);
        check(&baseline, (2.0 + 30.0) / (10.0 + 200.0));
        learn(&mut baseline, 1..20, 7);
        check(&baseline, 135.0 / 200.0);
    }

    #[test]
    fn a_day_is_remembered_and_no_more() {
        let mut baseline = Baseline::default();
        learn(&mut baseline, 0..DAY, 5);
        check(&baseline, 0.5);
        learn(&mut baseline, DAY..2 * DAY, 1);
        check(&baseline, (1440.0 + 30.0) / (14_400.0 + 200.0));
        assert!(!baseline.is_warming(&Share::default()));
        baseline.learn(minute(100 * DAY), Counts::default(), DAY);
        check(&baseline, 0.15);
    }

    #[test]
    fn held_minutes_teach_nothing_and_nothing_is_forgotten_meanwhile() {
        let mut baseline = Baseline::default();
        learn(&mut baseline, 0..DAY, 1);
        let before = baseline.share(&Share::default());
        for at in DAY..3 * DAY {
            baseline.hold(minute(at));
        }
        learn(&mut baseline, DAY..3 * DAY, 10);
        check(&baseline, before);
        learn(&mut baseline, 3 * DAY..4 * DAY, 2);
        check(&baseline, 0.2);
    }
}
