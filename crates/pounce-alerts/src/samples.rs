//! Negative posts to show with an alert. Knows ids, not texts.

use serde::{Deserialize, Serialize};

use super::alert::SAMPLES_MAX;
use super::minute::Minute;
use super::observation::Record;
use pounce_types::post::{PostId, Timestamp};
use pounce_types::score::Severity;

/// A sample and its post's id.
const SAMPLE_BYTES: usize = 128;

/// A negative post to show; the greatest are shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Sample {
    severity: Option<Severity>,
    followers: u64,
    at: Timestamp,
    id: PostId,
}

/// The samples of a key: few, the most severe of the recent ones.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Samples(Vec<Sample>);

impl Samples {
    /// Keeps a negative post if it ranks among those of the last `fresh_minutes` by severity and
    /// followers.
    pub(super) fn keep(&mut self, record: &Record, fresh_minutes: u32) {
        let Some(id) = record.post_id.clone() else { return };
        let Record { discontent: severity, followers, at, .. } = *record;
        self.0.push(Sample { severity, followers, at, id });
        if self.0.len() <= SAMPLES_MAX {
            return;
        }
        let fresh = |sample: &Sample| Minute::of(at).since(Minute::of(sample.at)) < fresh_minutes;
        let least = (0..self.0.len()).min_by_key(|&index| (fresh(&self.0[index]), &self.0[index]));
        if let Some(least) = least {
            self.0.remove(least);
        }
    }

    /// Ids of the samples since `from`, the most severe first.
    pub(super) fn since(&self, from: Timestamp) -> Vec<PostId> {
        let mut shown: Vec<&Sample> = self.0.iter().filter(|sample| sample.at >= from).collect();
        shown.sort_unstable_by(|a, b| b.cmp(a));
        shown.into_iter().map(|sample| sample.id.clone()).collect()
    }

    /// Memory that the samples take: an estimate.
    pub(super) fn bytes(&self) -> usize {
        self.0.len() * SAMPLE_BYTES
    }
}
