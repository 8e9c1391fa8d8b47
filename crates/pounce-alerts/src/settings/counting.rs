//! Event time, and the bounds of what is remembered.

use std::time::Duration;

use serde::Deserialize;

use super::error::{SettingsError, check};
use pounce_types::post::Timestamp;

/// Event time, and which posts count.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Counting {
    /// How long a minute stays open after its end, in event time: posts may
    /// come out of order by as much without any effect.
    pub watermark_lag_seconds: u32,
    /// Posts behind the watermark by at most this still count in their minute.
    pub lateness_max_minutes: u32,
    /// Posts ahead of the clock by more than this are taken to be of now.
    pub future_max_seconds: u32,
    /// For how long a post id counts once within its topic.
    pub duplicate_hours: u32,
    /// For how long an author counts once within a topic or place.
    pub author_minutes: u32,
    /// For how long copies of a text count once within a topic or place.
    pub text_minutes: u32,
}

impl Default for Counting {
    fn default() -> Self {
        Self {
            watermark_lag_seconds: 60,
            lateness_max_minutes: 10,
            future_max_seconds: 120,
            duplicate_hours: 24,
            author_minutes: 15,
            text_minutes: 15,
        }
    }
}

impl Counting {
    /// How far behind its topic's watermark a post may be and still count.
    #[must_use]
    pub fn lateness(&self) -> Duration {
        Duration::from_secs(u64::from(self.lateness_max_minutes) * 60)
    }

    /// Event time up to which minutes close once `newest` was seen.
    pub(crate) fn watermark(&self, newest: Timestamp) -> Timestamp {
        newest.before(Duration::from_secs(self.watermark_lag_seconds.into()))
    }
}

/// Bounds of memory; past each one the oldest goes, and is counted.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Post ids remembered, all topics together; about 50 bytes each.
    pub post_ids_max: usize,
    /// Authors' votes remembered, all topics together; about 50 bytes each.
    pub author_votes_max: usize,
    /// Texts' votes remembered, all topics together; about 50 bytes each.
    pub text_votes_max: usize,
    /// Posts of minutes that are still open, all topics together; about 120
    /// bytes each. Past it the minutes of the topic at hand close early.
    pub open_posts_max: usize,
    /// Memory of what is known of topics and places: counts of minutes, baselines, sums of a
    /// week, authors with an audience. Past it the key with the least past goes.
    pub history_bytes_max: usize,
    /// Resolved alerts kept ...
    pub resolved_alerts_max: usize,
    /// ... for at most this long.
    pub resolved_hours: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            post_ids_max: 1_000_000,
            author_votes_max: 500_000,
            text_votes_max: 500_000,
            open_posts_max: 500_000,
            history_bytes_max: 64 << 20,
            resolved_alerts_max: 10_000,
            resolved_hours: 24,
        }
    }
}

pub(super) fn check_counting(counting: &Counting) -> Result<(), SettingsError> {
    check(
        (1..=3600).contains(&counting.watermark_lag_seconds),
        "counting.watermark_lag_seconds",
        "from 1 to 3600",
    )?;
    check(counting.lateness_max_minutes <= 60, "counting.lateness_max_minutes", "at most 60")?;
    check(counting.future_max_seconds <= 3600, "counting.future_max_seconds", "at most 3600")?;
    check(
        (1..=168).contains(&counting.duplicate_hours),
        "counting.duplicate_hours",
        "from 1 to 168",
    )?;
    check(
        (1..=1440).contains(&counting.author_minutes),
        "counting.author_minutes",
        "from 1 to 1440",
    )?;
    check((1..=1440).contains(&counting.text_minutes), "counting.text_minutes", "from 1 to 1440")
}

pub(super) fn check_limits(limits: &Limits) -> Result<(), SettingsError> {
    for (field, value) in [
        ("limits.post_ids_max", limits.post_ids_max),
        ("limits.author_votes_max", limits.author_votes_max),
        ("limits.text_votes_max", limits.text_votes_max),
        ("limits.open_posts_max", limits.open_posts_max),
        ("limits.resolved_alerts_max", limits.resolved_alerts_max),
    ] {
        check((1..=1_000_000_000).contains(&value), field, "from 1 to 1000000000")?;
    }
    check(
        (1 << 20..=1 << 40).contains(&limits.history_bytes_max),
        "limits.history_bytes_max",
        "from 1048576 (1 MiB) to 1099511627776 (1 TiB)",
    )?;
    check(limits.resolved_hours <= 168, "limits.resolved_hours", "at most 168")
}
