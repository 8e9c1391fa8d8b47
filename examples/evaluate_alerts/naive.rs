//! Rules to compare with: what people write first. All are scored_post at the same
//! moment, with the same pause between alarms, as Pounce's.

use std::collections::VecDeque;

use super::stream::Minute;

const WINDOW: usize = 15;
const DAY: usize = 24 * 60;
const PAUSE: u64 = 60;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    /// The share reaches this, of at least ten posts.
    FixedShare(f64),
    /// The share exceeds the mean of the last day's by three of their standard
    /// deviations, of at least ten posts.
    ShareSigma,
    /// The count exceeds the mean of the last day's by three of their standard
    /// deviations.
    CountSigma,
}

/// A rule at work.
pub(crate) struct Naive {
    rule: Rule,
    last: VecDeque<Minute>,
    values: VecDeque<f64>,
    sum: f64,
    squares: f64,
    minute: u64,
    until: u64,
}

impl Naive {
    pub(crate) fn new(rule: Rule) -> Self {
        let (last, values) = (VecDeque::new(), VecDeque::new());
        Self { rule, last, values, sum: 0.0, squares: 0.0, minute: 0, until: 0 }
    }

    /// Whether it raises an alarm at the end of this minute.
    #[allow(clippy::cast_precision_loss, reason = "counts of a quarter of an hour")]
    pub(crate) fn alarms(&mut self, minute: Minute) -> bool {
        self.minute += 1;
        self.last.push_back(minute);
        if self.last.len() > WINDOW {
            self.last.pop_front();
        }
        let posts: u64 = self.last.iter().map(|minute| minute.posts).sum();
        let negatives: u64 = self.last.iter().map(|minute| minute.negatives).sum();
        let share = if posts == 0 { 0.0 } else { negatives as f64 / posts as f64 };
        let high = match self.rule {
            Rule::FixedShare(least) => posts >= 10 && share >= least,
            Rule::ShareSigma => self.above(share) && posts >= 10,
            Rule::CountSigma => self.above(negatives as f64),
        };
        let alarm = high && self.minute >= self.until;
        if alarm {
            self.until = self.minute + PAUSE;
        }
        alarm
    }

    /// Whether a value exceeds three sigma of the last day's, which it joins.
    #[allow(clippy::cast_precision_loss, reason = "at most a day of minutes")]
    fn above(&mut self, value: f64) -> bool {
        let n = self.values.len() as f64;
        let mean = self.sum / n.max(1.0);
        let sigma = (self.squares / n.max(1.0) - mean * mean).max(0.0).sqrt();
        let above = self.values.len() >= DAY / 2 && value > mean + 3.0 * sigma;
        self.values.push_back(value);
        self.sum += value;
        self.squares += value * value;
        if self.values.len() > DAY {
            let old = self.values.pop_front().unwrap_or_default();
            self.sum -= old;
            self.squares -= old * old;
        }
        above
    }
}
