//! Event time in whole minutes. Knows timestamps only.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use pounce_types::post::Timestamp;

const MINUTE_MILLIS: u64 = 60_000;

/// So many minutes as a duration.
pub(super) fn minutes_long(minutes: u32) -> Duration {
    Duration::from_secs(u64::from(minutes) * 60)
}

/// Whole minutes of a duration.
pub(super) fn minutes_of(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs() / 60).unwrap_or(u32::MAX)
}

/// A minute of event time, counted from 1970. Arithmetic saturates.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Minute(u32);

impl Minute {
    /// The minute that holds `at`. The year 9999 still fits in 32 bits.
    #[must_use]
    pub fn of(at: Timestamp) -> Self {
        Self(u32::try_from(at.millis() / MINUTE_MILLIS).unwrap_or(u32::MAX))
    }

    /// First moment.
    #[must_use]
    pub fn start(self) -> Timestamp {
        Timestamp::from_millis(u64::from(self.0) * MINUTE_MILLIS)
    }

    /// First moment after it.
    #[must_use]
    pub fn end(self) -> Timestamp {
        self.plus(1).start()
    }

    /// Later by `minutes`.
    #[must_use]
    pub fn plus(self, minutes: u32) -> Self {
        Self(self.0.saturating_add(minutes))
    }

    /// Earlier by `minutes`.
    #[must_use]
    pub fn minus(self, minutes: u32) -> Self {
        Self(self.0.saturating_sub(minutes))
    }

    /// Minutes since `earlier`; 0 if that is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> u32 {
        self.0.saturating_sub(earlier.0)
    }

    /// Minutes between the two, whichever is first.
    #[must_use]
    pub fn distance(self, other: Self) -> u32 {
        self.0.abs_diff(other.0)
    }

    /// Number of whole periods of `minutes` since 1970.
    #[must_use]
    pub fn period(self, minutes: u32) -> u32 {
        self.0 / minutes.max(1)
    }

    /// Minutes since 1970.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }
}
