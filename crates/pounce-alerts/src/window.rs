//! Counts a minute of event time, and their sums over trailing windows.
//!
//! Buckets hold running totals, so the sum of any window is one subtraction
//! and late posts are added where they belong. Quiet minutes cost nothing.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::minute::Minute;

/// Posts, and the negative ones among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// All posts.
    pub posts: u64,
    /// Negative posts.
    pub negatives: u64,
}

impl Counts {
    /// Both together.
    pub(super) fn and(self, more: Self) -> Self {
        Self {
            posts: self.posts.saturating_add(more.posts),
            negatives: self.negatives.saturating_add(more.negatives),
        }
    }

    /// Negatives / posts; 0 without posts.
    #[must_use]
    pub fn share(self) -> f64 {
        if self.posts == 0 { 0.0 } else { ratio(self.negatives) / ratio(self.posts) }
    }
}

/// A count as a number to reckon with; exact up to 2^53.
pub(super) fn ratio(count: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "no count comes near 2^53")]
    let number = count as f64;
    number
}

/// 12 bytes for each minute that has posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Bucket {
    minute: Minute,
    /// Running totals up to and with this minute. They wrap: differences stay
    /// right while a window holds fewer than 2^32 posts.
    posts: u32,
    negatives: u32,
}

/// The counts of recent minutes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct MinuteCounts {
    buckets: VecDeque<Bucket>,
    /// Running totals before the first bucket.
    before: (u32, u32),
}

impl MinuteCounts {
    /// Counts one post in its minute.
    pub(super) fn add(&mut self, minute: Minute, negative: bool) {
        let at = self.buckets.partition_point(|bucket| bucket.minute < minute);
        if self.buckets.get(at).is_none_or(|bucket| bucket.minute != minute) {
            let (posts, negatives) = self.total(at);
            self.buckets.insert(at, Bucket { minute, posts, negatives });
        }
        for bucket in self.buckets.range_mut(at..) {
            bucket.posts = bucket.posts.wrapping_add(1);
            bucket.negatives = bucket.negatives.wrapping_add(u32::from(negative));
        }
    }

    /// Sums the `width` minutes that end with `last`.
    pub(super) fn trailing(&self, last: Minute, width: u32) -> Counts {
        let upto =
            |end: Minute| self.total(self.buckets.partition_point(|bucket| bucket.minute <= end));
        let to = upto(last);
        let from = if last.number() < width { self.before } else { upto(last.minus(width)) };
        Counts {
            posts: to.0.wrapping_sub(from.0).into(),
            negatives: to.1.wrapping_sub(from.1).into(),
        }
    }

    /// The oldest minute that has posts.
    pub(super) fn oldest(&self) -> Option<Minute> {
        self.buckets.front().map(|bucket| bucket.minute)
    }

    /// Drops what is before `minute`.
    pub(super) fn forget_before(&mut self, minute: Minute) {
        while let Some(bucket) = self.buckets.front().filter(|bucket| bucket.minute < minute) {
            self.before = (bucket.posts, bucket.negatives);
            self.buckets.pop_front();
        }
    }

    /// Memory that the buckets take.
    pub(super) fn bytes(&self) -> usize {
        self.buckets.len() * size_of::<Bucket>()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Running totals of the first `buckets` buckets.
    fn total(&self, buckets: usize) -> (u32, u32) {
        match buckets.checked_sub(1).and_then(|last| self.buckets.get(last)) {
            Some(bucket) => (bucket.posts, bucket.negatives),
            None => self.before,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn minute(number: u32) -> Minute {
        Minute::default().plus(number)
    }

    proptest! {
        #[test]
        fn a_window_sums_its_minutes_whatever_the_order(
            posts in prop::collection::vec((0_u32..40, any::<bool>()), 0..80),
            last in 0_u32..60,
            width in 1_u32..50,
        ) {
            let mut minutes = MinuteCounts::default();
            for &(at, negative) in &posts {
                minutes.add(minute(at), negative);
            }
            let inside =
                posts.iter().filter(|(at, _)| *at <= last && at + width > last);
            let expected = Counts {
                posts: inside.clone().count() as u64,
                negatives: inside.filter(|(_, negative)| *negative).count() as u64,
            };
            prop_assert_eq!(minutes.trailing(minute(last), width), expected);
        }
    }

    #[test]
    fn what_was_forgotten_counts_no_more_and_leaves_the_rest() {
        let mut minutes = MinuteCounts::default();
        for at in 10..20 {
            minutes.add(minute(at), at % 2 == 0);
        }
        minutes.forget_before(minute(15));
        assert_eq!(minutes.trailing(minute(19), 5), Counts { posts: 5, negatives: 2 });
        assert_eq!(minutes.trailing(minute(19), 60), Counts { posts: 5, negatives: 2 });
        minutes.forget_before(minute(20));
        assert!(minutes.is_empty());
    }
}
