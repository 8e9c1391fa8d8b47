//! The numbers of one key as a dashboard or a person asks for them. Changes nothing.

use super::key_state::KeyState;
use super::minute::{Minute, minutes_long};
use super::settings::Rules;
use super::share::ShareLimits;
use super::status::{ShareHistory, SharePoint, TopicStatus, WindowStatus};
use super::topic::TopicState;
use super::wilson::lower_bound;
use pounce_types::post::Timestamp;

/// Minutes from one point of a history to the next.
const HISTORY_STEP_MINUTES: u32 = 5;
/// Steps of a history: no more than half a day, whatever the settings.
const HISTORY_STEPS_MAX: u32 = 144;
/// The longest window whose history is worth showing.
const HISTORY_WINDOW_MINUTES_MAX: u32 = 60;

impl TopicState {
    /// The numbers of the topic, or of one of its places.
    pub(super) fn status_of(&self, key: &KeyState) -> TopicStatus {
        key.status(self.next(), self.next().start(), &self.rules)
    }
}

impl KeyState {
    /// The numbers as of the minutes before `next`.
    fn status(&self, next: Minute, watermark: Timestamp, rules: &Rules) -> TopicStatus {
        let limits = self.present_limits(next, rules);
        let windows = rules.share.windows_minutes.iter().map(|&width| {
            let counts = self.minutes.trailing(next.minus(1), width);
            WindowStatus {
                window: minutes_long(width),
                counts,
                bound: lower_bound(counts, rules.share.z),
            }
        });
        TopicStatus {
            key: self.key.clone(),
            warming: self.baseline.is_warming(&rules.share),
            baseline: limits.baseline,
            threshold: limits.threshold,
            windows: windows.collect(),
            watermark,
            alert_ids: self.alert_ids().collect(),
        }
    }

    /// Whether anything fires, and the level of discontent: the highest
    /// lower bound of the windows before `next`.
    pub(super) fn mood(&self, next: Minute, rules: &Rules) -> (bool, f64) {
        let windows = rules.share.windows_minutes.iter();
        let bounds = windows
            .map(|&width| lower_bound(self.minutes.trailing(next.minus(1), width), rules.share.z));
        (self.fires().contains(&true), bounds.fold(0.0, f64::max))
    }

    /// The share over the hours before `next`. It is counted anew, so that a
    /// late post shows where it belongs.
    pub(super) fn history(&self, next: Minute, rules: &Rules) -> ShareHistory {
        let last = next.minus(1);
        let windows = &rules.share.windows_minutes;
        let has_posts =
            |&width: &u32| self.minutes.trailing(last, width).posts >= rules.share.posts_min;
        let mut shown =
            windows.iter().copied().filter(|&width| width <= HISTORY_WINDOW_MINUTES_MAX);
        let width = shown.clone().find(has_posts).or_else(|| shown.next_back());
        let width = width.or_else(|| windows.first().copied()).unwrap_or(1);
        let steps = rules.span_minutes().saturating_sub(width) / HISTORY_STEP_MINUTES;
        let points = (0..=steps.min(HISTORY_STEPS_MAX)).rev().map(|step| {
            let counts = self.minutes.trailing(last.minus(step * HISTORY_STEP_MINUTES), width);
            SharePoint { counts, bound: lower_bound(counts, rules.share.z) }
        });
        ShareHistory {
            window: minutes_long(width),
            step: minutes_long(HISTORY_STEP_MINUTES),
            points: points.collect(),
        }
    }

    /// The limits of the shortest window.
    fn present_limits(&self, next: Minute, rules: &Rules) -> ShareLimits {
        let last = next.minus(1);
        let width = rules.share.windows_minutes.first().copied().unwrap_or(1);
        self.share_limits(last, width, last.minus(rules.share.baseline_gap_minutes), rules)
    }
}
