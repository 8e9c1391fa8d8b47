//! VOLUME: the number of negative posts is far above its expected value.
//!
//! Every five minutes the negatives of the last 15 are compared with the expected
//! sum of a day, and of this time of day over a week, on the square-root scale
//! on which counts have a constant variance (Anscombe 1948), widened by how
//! much the sums scatter beyond a Poisson process.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::lifecycle::{Detection, Evaluation};
use super::minute::minutes_long;
use super::settings::{VOLUME_WINDOW_MINUTES, Volume};
use super::window::ratio;
use pounce_types::score::Severity;

/// Minutes from one look to the next.
pub(super) const STEP_MINUTES: u32 = 5;
const STEPS_A_DAY: u32 = 24 * 60 / STEP_MINUTES;
const DAYS: u32 = 7;
const STEPS_MAX: u32 = DAYS * STEPS_A_DAY;
/// Half an hour around the same time of day.
const AROUND: u32 = 6;

/// A sum of 15 minutes with negative posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Sum {
    step: u32,
    /// As it was.
    seen: u32,
    /// As it is learnt: at most three deviations above the expected
    /// value, so that a burst does not raise the expectation at once.
    learnt: u32,
}

/// The sums of a week. Steps without negative posts are not held: a quiet topic costs nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct WeeklySums {
    /// In rising order of steps.
    sums: VecDeque<Sum>,
    /// The next step, and how many before it are known: at most a week's.
    next: u32,
    steps: u32,
    /// Sum, and sum of squares, of what was learnt in the last day.
    day: u64,
    day_squares: u128,
}

/// The sums as format 1 holds them: every step.
#[derive(Debug, Deserialize)]
pub(super) struct WeeklySumsV1 {
    sums: VecDeque<(u32, u32)>,
    day: u64,
    day_squares: u128,
}

impl From<WeeklySumsV1> for WeeklySums {
    fn from(old: WeeklySumsV1) -> Self {
        let steps = u32::try_from(old.sums.len()).unwrap_or(u32::MAX);
        let sums = (0..).zip(old.sums).filter(|(_, (seen, _))| *seen > 0);
        let sums = sums.map(|(step, (seen, learnt))| Sum { step, seen, learnt }).collect();
        Self { sums, next: steps, steps, day: old.day, day_squares: old.day_squares }
    }
}

/// What is expected.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ExpectedCount {
    mean: f64,
    /// Variance / mean of the sums.
    dispersion: f64,
}

impl WeeklySums {
    /// Compares `negatives`, the sum of the last 15 minutes, with the past,
    /// then learns it. Call it once every five minutes of event time.
    pub(super) fn step(&mut self, negatives: u64, posts: u64, rules: &Volume) -> Evaluation {
        let evaluation = self.read(negatives, posts, rules);
        self.learn(negatives, rules);
        evaluation
    }

    /// Learns that `steps` steps had no negative posts. Costs what they forget, not what they are.
    pub(super) fn skip_idle(&mut self, steps: u32) {
        let next = self.next.saturating_add(steps);
        if steps >= STEPS_MAX {
            *self = Self { next, steps: STEPS_MAX, ..Self::default() };
            return;
        }
        let at = |step: u32| self.sums.partition_point(|sum| sum.step < step);
        let (from, to) = (self.next.saturating_sub(STEPS_A_DAY), next.saturating_sub(STEPS_A_DAY));
        for index in at(from)..at(to) {
            self.count(self.sums[index].learnt, false);
        }
        self.next = next;
        self.steps = (self.steps + steps).min(STEPS_MAX);
        self.forget();
    }

    /// How many steps from here on the first one is that forgets a sum; none if there is none.
    pub(super) fn forgets_after(&self) -> Option<u32> {
        let first = self.sums.front()?.step;
        Some((first + STEPS_MAX + 1).saturating_sub(self.next))
    }

    fn read(&self, negatives: u64, posts: u64, rules: &Volume) -> Evaluation {
        let expected = self.expected(rules);
        let z = expected.z(negatives);
        let warm = self.steps * STEP_MINUTES >= rules.warmup_minutes;
        let mut evaluation = Evaluation { detection: None, calm: z < rules.calm_z };
        // The quantile needs a pass over the week: only when all else holds.
        if warm && z >= rules.z && negatives >= rules.negatives_min {
            let peak = rules.peak_ratio * f64::from(self.quantile(rules.peak_quantile));
            if ratio(negatives) > peak {
                let threshold =
                    expected.count_at(rules.z).max(peak).max(ratio(rules.negatives_min));
                evaluation.detection = Some(Detection {
                    severity: severity(z, rules),
                    window: minutes_long(VOLUME_WINDOW_MINUTES),
                    covered: minutes_long(VOLUME_WINDOW_MINUTES),
                    posts,
                    negatives,
                    observed: ratio(negatives),
                    baseline: expected.mean,
                    threshold,
                    bound: z,
                });
            }
        }
        evaluation
    }

    fn learn(&mut self, negatives: u64, rules: &Volume) {
        let seen = u32::try_from(negatives).unwrap_or(u32::MAX);
        if seen > 0 {
            let learnt = if self.steps == 0 {
                seen
            } else {
                let expected = self.expected(rules);
                let cap = expected.mean + 3.0 * (expected.dispersion * expected.mean).sqrt();
                seen.min(floor(cap.max(1.0)))
            };
            self.sums.push_back(Sum { step: self.next, seen, learnt });
            self.count(learnt, true);
        }
        if let Some(left) = self.next.checked_sub(STEPS_A_DAY) {
            self.count(self.learnt_at(left), false);
        }
        self.next = self.next.saturating_add(1);
        self.steps = (self.steps + 1).min(STEPS_MAX);
        self.forget();
    }

    /// Drops what is older than a week.
    fn forget(&mut self) {
        let first = self.next - self.steps;
        while self.sums.front().is_some_and(|sum| sum.step < first) {
            self.sums.pop_front();
        }
    }

    /// Memory that the sums take.
    pub(super) fn bytes(&self) -> usize {
        self.sums.len() * size_of::<Sum>()
    }

    fn learnt_at(&self, step: u32) -> u32 {
        let at = self.sums.partition_point(|sum| sum.step < step);
        self.sums.get(at).filter(|sum| sum.step == step).map_or(0, |sum| sum.learnt)
    }

    fn count(&mut self, learnt: u32, came: bool) {
        let square = u128::from(learnt) * u128::from(learnt);
        if came {
            self.day = self.day.saturating_add(learnt.into());
            self.day_squares = self.day_squares.saturating_add(square);
        } else {
            self.day = self.day.saturating_sub(learnt.into());
            self.day_squares = self.day_squares.saturating_sub(square);
        }
    }

    fn expected(&self, rules: &Volume) -> ExpectedCount {
        let n = f64::from(self.steps.min(STEPS_A_DAY));
        if n == 0.0 {
            return ExpectedCount { mean: 0.0, dispersion: 1.0 };
        }
        let day = ratio(self.day) / n;
        #[allow(clippy::cast_precision_loss, reason = "only its size matters")]
        let variance = (self.day_squares as f64 / n - day * day).max(0.0);
        let dispersion = if day > 0.0 { variance / day } else { 1.0 };
        ExpectedCount {
            mean: self.same_time().map_or(day, |same| same.max(day)),
            dispersion: dispersion.clamp(1.0, rules.dispersion_max),
        }
    }

    /// Mean of what was learnt at this time of day, half an hour around it, on
    /// the days before.
    fn same_time(&self) -> Option<f64> {
        let (mut sum, mut n) = (0_u64, 0_u64);
        let first = self.next - self.steps;
        for day in 1..=DAYS {
            let centre = self.next.checked_sub(day * STEPS_A_DAY).filter(|step| *step >= first);
            let Some(centre) = centre else { break };
            let from = centre.saturating_sub(AROUND).max(first);
            let to = (centre + AROUND + 1).min(self.next);
            let at = |step| self.sums.partition_point(|sum| sum.step < step);
            sum += self.sums.range(at(from)..at(to)).map(|sum| u64::from(sum.learnt)).sum::<u64>();
            n += u64::from(to - from);
        }
        (n > 0).then(|| ratio(sum) / ratio(n))
    }

    fn quantile(&self, q: f64) -> u32 {
        let Some(last) = self.steps.checked_sub(1) else { return 0 };
        let rank = floor(q * f64::from(last)).min(last) as usize;
        let zeros = self.steps as usize - self.sums.len();
        let Some(rank) = rank.checked_sub(zeros) else { return 0 };
        let mut seen: Vec<u32> = self.sums.iter().map(|sum| sum.seen).collect();
        *seen.select_nth_unstable(rank).1
    }
}

impl ExpectedCount {
    fn z(self, negatives: u64) -> f64 {
        2.0 * ((ratio(negatives) + 0.375).sqrt() - (self.mean + 0.375).sqrt())
            / self.dispersion.sqrt()
    }

    /// The count that has this `z`.
    fn count_at(self, z: f64) -> f64 {
        (z * self.dispersion.sqrt() / 2.0 + (self.mean + 0.375).sqrt()).powi(2) - 0.375
    }
}

fn severity(z: f64, rules: &Volume) -> Severity {
    if z >= rules.high_z {
        Severity::High
    } else if z >= rules.medium_z {
        Severity::Medium
    } else {
        Severity::Low
    }
}

/// The whole part of a number that is not negative.
fn floor(number: f64) -> u32 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates at both ends, which is what is meant"
    )]
    let whole = number as u32;
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums of days that swing between 2 and 18, as (step, negatives).
    fn swing(step: u32) -> u64 {
        [2, 4, 8, 14, 18, 16, 10, 5][(step % STEPS_A_DAY / (STEPS_A_DAY / 8)) as usize]
    }

    fn after(steps: u32) -> WeeklySums {
        let mut history = WeeklySums::default();
        for step in 0..steps {
            history.step(swing(step), swing(step), &Volume::default());
        }
        history
    }

    #[test]
    fn an_ordinary_week_fires_nothing_and_a_burst_does() {
        let rules = Volume::default();
        let mut history = WeeklySums::default();
        for step in 0..8 * STEPS_A_DAY {
            let evaluation = history.step(swing(step), swing(step), &rules);
            assert_eq!(evaluation.detection, None, "step {step}");
        }
        let found = history.step(90, 120, &rules).detection.expect("five times the peak");
        assert_eq!((found.negatives, found.posts), (90, 120));
        assert!(found.bound >= rules.z && found.observed > found.threshold);
        assert!(found.threshold > found.baseline);
    }

    #[test]
    fn nothing_fires_before_it_is_warm() {
        let warm = Volume::default().warmup_minutes / 5;
        assert_eq!(after(warm - 1).step(500, 500, &Volume::default()).detection, None);
        assert!(after(warm).step(500, 500, &Volume::default()).detection.is_some());
    }

    #[test]
    fn a_burst_does_not_raise_the_expectation_at_once() {
        let mut history = after(2 * STEPS_A_DAY);
        let before = history.expected(&Volume::default()).mean;
        for _ in 0..3 {
            history.step(10_000, 10_000, &Volume::default());
        }
        let risen = history.expected(&Volume::default()).mean;
        assert!(risen < before + 1.0, "from {before} to {risen}");
    }

    #[test]
    fn resting_is_the_same_as_steps_without_negatives() {
        for steps in [0, 1, 300, STEPS_MAX, STEPS_MAX + 7] {
            let (mut rested, mut stepped) = (after(500), after(500));
            rested.skip_idle(steps);
            for _ in 0..steps {
                stepped.step(0, 0, &Volume::default());
            }
            assert_eq!(rested, stepped, "{steps} steps");
        }
    }
    #[test]
    fn it_tells_when_it_forgets() {
        for known in [1, 300, STEPS_MAX - 1, STEPS_MAX + 7] {
            let mut history = after(known);
            let (bytes, steps) = (history.bytes(), history.forgets_after().expect("sums"));
            history.skip_idle(steps - 1);
            assert_eq!(history.bytes(), bytes, "{known} steps");
            history.skip_idle(1);
            assert!(history.bytes() < bytes, "{known} steps");
        }
        assert_eq!(WeeklySums::default().forgets_after(), None);
    }
}
