//! SHARE: the share of negative posts is significantly above the key's baseline.
//!
//! Wilson's lower bound is compared with a threshold well above the baseline,
//! not against the baseline itself: relative to it, a constant bias of the
//! classifier cancels out.

use std::time::Duration;

use super::lifecycle::{Detection, Evaluation};
use super::minute::{Minute, minutes_long};
use super::settings::Share;
use super::wilson::{lower_bound, upper_bound};
use super::window::{Counts, MinuteCounts, ratio};
use pounce_types::score::Severity;

/// Baseline of the share, and the threshold that its lower bound must exceed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ShareLimits {
    pub(super) baseline: f64,
    pub(super) threshold: f64,
}

impl ShareLimits {
    /// Of a key without a baseline of its own: `before` are its posts before the window. With
    /// few posts its share may be far above what was seen, so the upper bound stands in for it.
    pub(super) fn cold(before: Counts, share: &Share) -> Self {
        let prior = f64::from(share.prior_negatives) / f64::from(share.prior_posts);
        let weight = f64::from(share.cold_prior_posts);
        let posts = ratio(before.posts) + weight;
        let seen = (ratio(before.negatives) + weight * prior) / posts;
        Self::of(upper_bound(seen, posts, share.cold_z), share)
    }

    pub(super) fn of(baseline: f64, share: &Share) -> Self {
        let threshold = share
            .threshold_min
            .max(baseline + share.threshold_rise)
            .max(baseline * share.threshold_ratio);
        Self { baseline, threshold }
    }

    /// At or below this share it is calm again: halfway back.
    fn calm(self) -> f64 {
        f64::midpoint(self.baseline, self.threshold)
    }

    fn severity(self, bound: f64, share: &Share) -> Severity {
        let rise = (bound - self.baseline) / (self.threshold - self.baseline);
        if rise >= share.high_rise {
            Severity::High
        } else if rise >= share.medium_rise {
            Severity::Medium
        } else {
            Severity::Low
        }
    }
}

/// Looks at every window that ends with `last`. `limits` tells those of a window of so many
/// minutes. `firing` is the window that
/// decided the alert that fires, if one does. `ended` is when the one before
/// resolved: what that was raised on is spent, and no window reaches back
/// behind it.
pub(super) fn read(
    minutes: &MinuteCounts,
    last: Minute,
    limits: impl Fn(u32) -> ShareLimits,
    firing: Option<Duration>,
    ended: Option<Minute>,
    share: &Share,
) -> Evaluation {
    let reach = ended.map_or(u32::MAX, |ended| last.since(ended));
    let windows = &share.windows_minutes;
    // The settings may have changed since: then the next longer window stands for it.
    let own = firing.and_then(|firing| {
        let longer = windows.iter().find(|width| minutes_long(**width) >= firing);
        longer.or(windows.last()).copied()
    });
    let mut calm = false;
    let mut detection = None;
    for &width in windows {
        let covered = width.min(reach);
        let counts = minutes.trailing(last, covered);
        let bound = lower_bound(counts, share.z);
        let limits = limits(width);
        if counts.posts >= share.posts_min && bound > limits.threshold {
            detection = Some(found([width, covered], counts, bound, limits, share));
            break;
        }
        // A shorter window with enough posts that is back below them overrules
        // what a longer one still holds of the past. Without enough posts only
        // the window of the alert itself may speak: its source went silent.
        let spoke = counts.posts >= share.calm_posts_min;
        let own = own == Some(width);
        calm = if spoke { counts.share() <= limits.calm() } else { own };
        if calm || own {
            break;
        }
    }
    Evaluation { detection, calm }
}

/// A detection in a window, of which so much is `covered`.
fn found(
    [width, covered]: [u32; 2],
    counts: Counts,
    bound: f64,
    limits: ShareLimits,
    share: &Share,
) -> Detection {
    Detection {
        severity: limits.severity(bound, share),
        window: minutes_long(width),
        covered: minutes_long(covered),
        posts: counts.posts,
        negatives: counts.negatives,
        observed: counts.share(),
        baseline: limits.baseline,
        threshold: limits.threshold,
        bound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_of_a_window_that_the_settings_no_longer_have_ends_when_its_source_is_silent() {
        let share = Share { windows_minutes: vec![30, 60], ..Share::default() };
        let counts = MinuteCounts::default();
        for firing in [15, 30, 45, 60, 90] {
            let firing = Some(minutes_long(firing));
            let limits = |_| ShareLimits::of(0.1, &share);
            let read = read(&counts, Minute::default(), limits, firing, None, &share);
            assert!(read.calm && read.detection.is_none(), "{firing:?}");
        }
    }
}
