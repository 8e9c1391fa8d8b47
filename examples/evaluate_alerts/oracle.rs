//! What nobody can have: a rule that was told both the usual share and the one
//! to come, and how the posts of a minute hang together.
//!
//! A cumulative sum of log-likelihood ratios (Page 1954). Of all rules that
//! raise as few false alarms none has a shorter mean delay in the worst case
//! (Moustakides 1986), so what it needs is what the posts themselves ask for.

use super::stream::{DAY, Minute, Mood, OVERDISPERSION, USUAL};

/// Minutes after an alarm in which there is no other, as for the other rules.
const PAUSE: u64 = 60;

/// Told of a shift to `share`; fires when the sum passes `limit`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Oracle {
    share: f64,
    limit: f64,
    sum: f64,
    minute: u64,
    until: u64,
}

impl Oracle {
    /// The oracle that is as quick as can be with at most `alarms` on `streams`,
    /// given minute by minute, not counting each one's first day.
    pub(crate) fn as_rare(share: f64, alarms: u64, streams: &[Vec<Minute>]) -> Self {
        let with = |limit| Self { share, limit, sum: 0.0, minute: 0, until: 0 };
        let alarms_of = |limit: f64| -> u64 {
            let alarms_in = |stream: &Vec<Minute>| {
                let mut oracle = with(limit);
                let told = (0..).zip(stream).filter(|&(_, &minute)| oracle.alarms(minute));
                told.filter(|&(at, _): &(u64, _)| at >= DAY).count() as u64
            };
            streams.iter().map(alarms_in).sum()
        };
        let (mut low, mut high) = (0.0, 50.0);
        for _ in 0..20 {
            let middle = f64::midpoint(low, high);
            if alarms_of(middle) > alarms { low = middle } else { high = middle }
        }
        with(high)
    }

    /// Whether it raises an alarm at the end of this minute.
    pub(crate) fn alarms(&mut self, minute: Minute) -> bool {
        self.minute += 1;
        self.sum = (self.sum + self.ratio(minute)).max(0.0);
        let alarm = self.sum > self.limit && self.minute >= self.until;
        if alarm {
            self.sum = 0.0;
            self.until = self.minute + PAUSE;
        }
        alarm
    }

    /// Whether an alarm was raised a short while ago.
    pub(crate) fn is_pausing(&self) -> bool {
        self.minute < self.until
    }

    /// Logarithm of how much more likely the minute is after the shift than
    /// before. Its posts are beta-binomial; the two beta distributions have the
    /// same sum of parameters, which cancels out.
    #[allow(clippy::cast_precision_loss, reason = "counts of a minute")]
    fn ratio(&self, minute: Minute) -> f64 {
        let sum = (1.0 - OVERDISPERSION) / OVERDISPERSION;
        let rising = |from: f64, steps: u64| -> f64 {
            (0..steps).map(|step| (from + step as f64).ln()).sum()
        };
        let likely = |share: f64| {
            rising(share * sum, minute.negatives)
                + rising((1.0 - share) * sum, minute.posts - minute.negatives)
        };
        likely(self.share) - likely(USUAL)
    }
}

/// The streams on which false alarms are counted.
pub(crate) fn streams(topics: u64, minutes: usize, rate: f64) -> Vec<Vec<Minute>> {
    (0..topics).map(|topic| Mood::new(1000 + topic, rate).take(minutes).collect()).collect()
}
