//! How many cases are kept, and for how long.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

/// Posts of one author on one topic that are published within this time of a case's first post
/// belong to that case.
pub const JOIN_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// How long a closed case can still be listed and exported.
pub const CLOSED_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Post ids that a case keeps: its first one and the latest.
pub(crate) const POST_IDS_MAX: usize = 10;

/// Entries of a case's history: its opening and the latest.
pub(crate) const HISTORY_MAX: usize = 20;

/// Bounds of a [`CaseEngine`](crate::CaseEngine). Engines that are to be equal agree on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaseSettings {
    /// Cases in all, closed ones included; at least 1.
    pub cases_max: usize,
    /// Cases of one topic, closed ones included; at least 1.
    pub topic_cases_max: usize,
}

impl Default for CaseSettings {
    fn default() -> Self {
        Self { cases_max: 20_000, topic_cases_max: 5_000 }
    }
}

impl CaseSettings {
    /// The same for equal settings, on every machine.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let numbers = [self.cases_max as u64, self.topic_cases_max as u64];
        xxh3_64(&numbers.map(u64::to_le_bytes).concat())
    }
}
