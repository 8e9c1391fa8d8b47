//! VOLUME: there are far more negative posts than usual.
//!
//! Every five minutes the negatives of the last 15 are held against the usual
//! sum of a day, and of this time of day over a week, on the square-root scale
//! on which counts have a constant variance (Anscombe 1948), widened by how
//! much the sums scatter beyond a Poisson process.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::lifecycle::{Finding, Reading};
use super::settings::Volume;
use super::share::minutes_long;
use super::window::ratio;
use pounce_types::score::Severity;

/// Minutes from one look to the next.
pub(super) const STEP_MINUTES: u32 = 5;
/// Minutes that are summed.
pub(super) const WINDOW_MINUTES: u32 = 15;

const STEPS_A_DAY: usize = 24 * 60 / 5;
const DAYS: usize = 7;
/// Half an hour around the same time of day.
const AROUND: usize = 6;

/// A sum of 15 minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Sum {
    /// As it was.
    seen: u32,
    /// As it is learnt: no further above the usual than three deviations, so
    /// that a burst does not become usual at once.
    learnt: u32,
}

/// The sums of a week.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct History {
    sums: VecDeque<Sum>,
    /// Sum, and sum of squares, of what was learnt in the last day.
    day: u64,
    day_squares: u128,
}

/// What is usual.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Usual {
    mean: f64,
    /// Variance / mean of the sums.
    dispersion: f64,
}

impl History {
    /// Holds `negatives`, the sum of the last 15 minutes, against the past,
    /// then learns it. Call it once every five minutes of event time.
    pub(super) fn step(&mut self, negatives: u64, posts: u64, rules: &Volume) -> Reading {
        let reading = self.read(negatives, posts, rules);
        self.learn(negatives, rules);
        reading
    }

    /// Learns that `steps` steps had no negative posts.
    pub(super) fn rest(&mut self, steps: usize, rules: &Volume) {
        if steps < DAYS * STEPS_A_DAY {
            (0..steps).for_each(|_| self.learn(0, rules));
        } else {
            self.sums = vec![Sum { seen: 0, learnt: 0 }; DAYS * STEPS_A_DAY].into();
            (self.day, self.day_squares) = (0, 0);
        }
    }

    fn read(&self, negatives: u64, posts: u64, rules: &Volume) -> Reading {
        let usual = self.usual(rules);
        let z = usual.z(negatives);
        let warm = self.sums.len() * 5 >= rules.warmup_minutes as usize;
        let mut reading = Reading { finding: None, calm: z < rules.calm_z };
        // The quantile needs a pass over the week: only when all else holds.
        if warm && z >= rules.z && negatives >= rules.negatives_min {
            let peak = rules.peak_ratio * f64::from(self.quantile(rules.peak_quantile));
            if ratio(negatives) > peak {
                let threshold = usual.count_at(rules.z).max(peak).max(ratio(rules.negatives_min));
                reading.finding = Some(Finding {
                    severity: severity(z, rules),
                    window: minutes_long(WINDOW_MINUTES),
                    posts,
                    negatives,
                    observed: ratio(negatives),
                    baseline: usual.mean,
                    threshold,
                    bound: z,
                });
            }
        }
        reading
    }

    fn learn(&mut self, negatives: u64, rules: &Volume) {
        let seen = u32::try_from(negatives).unwrap_or(u32::MAX);
        let learnt = if seen == 0 || self.sums.is_empty() {
            seen
        } else {
            let usual = self.usual(rules);
            let cap = usual.mean + 3.0 * (usual.dispersion * usual.mean).sqrt();
            seen.min(floor(cap.max(1.0)))
        };
        self.sums.push_back(Sum { seen, learnt });
        self.count(learnt, true);
        if let Some(left) = self.sums.len().checked_sub(STEPS_A_DAY + 1) {
            let old = self.sums.get(left).map_or(0, |sum| sum.learnt);
            self.count(old, false);
        }
        if self.sums.len() > DAYS * STEPS_A_DAY {
            self.sums.pop_front();
        }
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

    fn usual(&self, rules: &Volume) -> Usual {
        let n = ratio(self.sums.len().min(STEPS_A_DAY) as u64);
        if n == 0.0 {
            return Usual { mean: 0.0, dispersion: 1.0 };
        }
        let day = ratio(self.day) / n;
        #[allow(clippy::cast_precision_loss, reason = "only its size matters")]
        let variance = (self.day_squares as f64 / n - day * day).max(0.0);
        let dispersion = if day > 0.0 { variance / day } else { 1.0 };
        Usual {
            mean: self.same_time().map_or(day, |same| same.max(day)),
            dispersion: dispersion.clamp(1.0, rules.dispersion_max),
        }
    }

    /// Mean of what was learnt at this time of day, half an hour around it, on
    /// the days before.
    fn same_time(&self) -> Option<f64> {
        let (mut sum, mut n) = (0_u64, 0_u64);
        for day in 1..=DAYS {
            let Some(centre) = self.sums.len().checked_sub(day * STEPS_A_DAY) else { break };
            let from = centre.saturating_sub(AROUND);
            let to = (centre + AROUND + 1).min(self.sums.len());
            for at in self.sums.range(from..to) {
                sum += u64::from(at.learnt);
                n += 1;
            }
        }
        (n > 0).then(|| ratio(sum) / ratio(n))
    }

    fn quantile(&self, q: f64) -> u32 {
        let mut seen: Vec<u32> = self.sums.iter().map(|sum| sum.seen).collect();
        let Some(last) = seen.len().checked_sub(1) else { return 0 };
        let rank = floor(q * ratio(last as u64)) as usize;
        *seen.select_nth_unstable(rank.min(last)).1
    }
}

impl Usual {
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
    fn swing(step: usize) -> u64 {
        [2, 4, 8, 14, 18, 16, 10, 5][step % STEPS_A_DAY / (STEPS_A_DAY / 8)]
    }

    fn after(steps: usize) -> History {
        let mut history = History::default();
        for step in 0..steps {
            history.step(swing(step), swing(step), &Volume::default());
        }
        history
    }

    #[test]
    fn an_ordinary_week_fires_nothing_and_a_burst_does() {
        let rules = Volume::default();
        let mut history = History::default();
        for step in 0..8 * STEPS_A_DAY {
            let reading = history.step(swing(step), swing(step), &rules);
            assert_eq!(reading.finding, None, "step {step}");
        }
        let found = history.step(90, 120, &rules).finding.expect("five times the peak");
        assert_eq!((found.negatives, found.posts), (90, 120));
        assert!(found.bound >= rules.z && found.observed > found.threshold);
        assert!(found.threshold > found.baseline);
    }

    #[test]
    fn nothing_fires_before_it_is_warm() {
        let warm = Volume::default().warmup_minutes as usize / 5;
        assert_eq!(after(warm - 1).step(500, 500, &Volume::default()).finding, None);
        assert!(after(warm).step(500, 500, &Volume::default()).finding.is_some());
    }

    #[test]
    fn a_burst_is_not_usual_at_once() {
        let mut history = after(2 * STEPS_A_DAY);
        let before = history.usual(&Volume::default()).mean;
        for _ in 0..3 {
            history.step(10_000, 10_000, &Volume::default());
        }
        let risen = history.usual(&Volume::default()).mean;
        assert!(risen < before + 1.0, "from {before} to {risen}");
    }

    #[test]
    fn resting_is_the_same_as_steps_without_negatives() {
        for steps in [0, 1, 300, DAYS * STEPS_A_DAY, DAYS * STEPS_A_DAY + 7] {
            let (mut rested, mut stepped) = (after(500), after(500));
            rested.rest(steps, &Volume::default());
            for _ in 0..steps {
                stepped.step(0, 0, &Volume::default());
            }
            assert_eq!(rested, stepped, "{steps} steps");
        }
    }
}
