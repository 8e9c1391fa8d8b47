//! How many posts a second, and how long they take: sums of the last minute.
//!
//! Pure; `at` is the time since any one moment. Latencies fall into bins a
//! quarter of an octave wide, so a quantile is off by 9 % at most. Our own, not `hdrhistogram`'s:
//! a minute is sixty seconds' bins that leave one by one, and each is a few hundred bytes.

use std::collections::VecDeque;
use std::time::Duration;

/// Seconds that are remembered.
const SECONDS: u64 = 60;
/// Seconds that the rate is averaged over.
const RATE_SECONDS: u64 = 10;
/// Upper end of the first bin.
const LEAST: Duration = Duration::from_micros(100);
const BINS_AN_OCTAVE: f64 = 4.0;
/// The last one begins at 22 s.
const BINS: usize = 72;

/// What happened within one second.
#[derive(Debug, Clone)]
struct Second {
    number: u64,
    scored: u32,
    rejected: u32,
    took: [u32; BINS],
}

/// The last minute, second by second.
#[derive(Debug, Clone, Default)]
pub(crate) struct LatencyWindow {
    seconds: VecDeque<Second>,
}

/// The last minute in a few numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rates {
    /// Posts scored a second, over the last ten whole seconds.
    pub(crate) scored_per_second: f64,
    /// Posts scored in each of the last whole seconds, oldest first.
    pub(crate) scored: Vec<u32>,
    /// Posts rejected in the last minute.
    pub(crate) rejected: u64,
    /// Median, 95th and 99th percentile of the time of a post; none without posts.
    pub(crate) took: Option<[Duration; 3]>,
}

impl LatencyWindow {
    /// A post was scored, `took` after it was accepted.
    pub(crate) fn scored(&mut self, at: Duration, took: Duration) {
        let second = self.second(at);
        second.scored = second.scored.saturating_add(1);
        let count = &mut second.took[bin(took)];
        *count = count.saturating_add(1);
    }

    /// A post was rejected.
    pub(crate) fn rejected(&mut self, at: Duration) {
        let second = self.second(at);
        second.rejected = second.rejected.saturating_add(1);
    }

    /// The minute that ends with the last whole second before `at`.
    pub(crate) fn rates(&self, at: Duration) -> Rates {
        let now = at.as_secs();
        let minute = || self.seconds.iter().filter(move |second| now - second.number <= SECONDS);
        let mut scored = vec![0; usize::try_from(SECONDS).unwrap_or_default()];
        for second in minute().filter(|second| second.number < now) {
            let ago = usize::try_from(now - second.number).unwrap_or_default();
            let place = scored.len() - ago;
            scored[place] = second.scored;
        }
        let lately = scored.iter().rev().take(usize::try_from(RATE_SECONDS).unwrap_or_default());
        let lately: u32 = lately.sum();
        let mut took = [0_u64; BINS];
        for second in minute() {
            for (sum, count) in took.iter_mut().zip(second.took) {
                *sum += u64::from(count);
            }
        }
        Rates {
            scored_per_second: f64::from(lately) / 10.0,
            rejected: minute().map(|second| u64::from(second.rejected)).sum(),
            scored,
            took: quantiles(&took),
        }
    }

    fn second(&mut self, at: Duration) -> &mut Second {
        // A clock that went back a little must not open a second twice.
        let number = self.seconds.back().map_or(0, |last| last.number).max(at.as_secs());
        while self.seconds.front().is_some_and(|first| number - first.number > SECONDS) {
            self.seconds.pop_front();
        }
        if self.seconds.back().is_none_or(|last| last.number != number) {
            self.seconds.push_back(Second { number, scored: 0, rejected: 0, took: [0; BINS] });
        }
        self.seconds.back_mut().expect("pushed above if it was not there")
    }
}

fn bin(took: Duration) -> usize {
    let octaves = (took.as_secs_f64() / LEAST.as_secs_f64()).max(1.0).log2();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at least 0, and casts of floats saturate"
    )]
    let bin = (octaves * BINS_AN_OCTAVE).ceil() as usize;
    bin.min(BINS - 1)
}

/// The middle of a bin, on the scale of octaves.
fn middle(bin: usize) -> Duration {
    let octaves = (f64::from(u32::try_from(bin).unwrap_or_default()) - 0.5) / BINS_AN_OCTAVE;
    LEAST.mul_f64(octaves.exp2())
}

fn quantiles(took: &[u64; BINS]) -> Option<[Duration; 3]> {
    let all: u64 = took.iter().sum();
    (all > 0).then(|| {
        [50, 95, 99].map(|percent| {
            let rank = (all * percent).div_ceil(100);
            let mut below = 0;
            let found = took.iter().position(|count| {
                below += count;
                below >= rank
            });
            middle(found.unwrap_or(BINS - 1))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn quantiles_are_within_a_tenth_of_what_they_should_be() {
        let mut latency = LatencyWindow::default();
        for n in 1..=1000 {
            latency.scored(Duration::from_secs(5), MILLI * n);
        }
        let found = latency.rates(Duration::from_secs(6)).took.expect("posts");
        for (found, expected) in found.into_iter().zip([500.0, 950.0, 990.0]) {
            let off = found.as_secs_f64() * 1000.0 / expected;
            assert!((0.9..=1.1).contains(&off), "{found:?} for {expected} ms");
        }
    }

    #[test]
    fn the_second_that_has_not_ended_does_not_lower_the_rate() {
        let mut latency = LatencyWindow::default();
        for second in 0..30 {
            for _ in 0..7 {
                latency.scored(Duration::from_secs(second), MILLI);
            }
            latency.rejected(Duration::from_secs(second));
        }
        let rates = latency.rates(Duration::from_millis(30_001));
        assert!((rates.scored_per_second - 7.0).abs() < 1e-9, "{rates:?}");
        assert_eq!((rates.scored.len(), rates.scored[29], rates.scored[30]), (60, 0, 7));
        assert_eq!(rates.rejected, 30);
    }

    #[test]
    fn a_minute_is_remembered_and_no_more() {
        let mut latency = LatencyWindow::default();
        for second in 0..1000 {
            latency.scored(Duration::from_secs(second), MILLI);
        }
        assert_eq!(latency.seconds.len(), 61);
        let silent = latency.rates(Duration::from_secs(2000));
        assert_eq!((silent.scored.iter().sum::<u32>(), silent.took), (0, None));
    }

    #[test]
    fn the_shortest_and_the_longest_have_a_bin() {
        assert_eq!((bin(Duration::ZERO), bin(Duration::MAX)), (0, BINS - 1));
    }
}
