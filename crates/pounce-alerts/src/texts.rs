//! How many different texts stand behind a key's negative posts. Knows hashes of texts only.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hashing::TextHash;
use super::minute::{Minute, minutes_long};

/// Texts a key remembers: 24 bytes each. Past it the oldest go, and evidence says how far back
/// it reaches.
const TEXTS_MAX: usize = 256;

/// Negative posts of one minute that share a text; short ones have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct TextCount {
    minute: Minute,
    text: Option<TextHash>,
    posts: u32,
}

/// The texts of recent negative posts, copies included.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct RecentTexts {
    /// In rising order of minutes.
    counts: VecDeque<TextCount>,
    /// First minute of which everything is known.
    since: Minute,
}

/// What is known of the texts of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct TextSummary {
    /// Different texts. Short ones count as different.
    pub(super) distinct: u64,
    /// Posts with the commonest text.
    pub(super) commonest: u64,
    /// How much of the window is known.
    pub(super) window: Duration,
}

impl RecentTexts {
    /// Takes in the text of a negative post.
    pub(super) fn record(&mut self, minute: Minute, text: Option<TextHash>) {
        let end = self.counts.partition_point(|count| count.minute <= minute);
        let of_minute = self.counts.range_mut(..end).rev().take_while(|c| c.minute == minute);
        if let Some(same) = of_minute.into_iter().find(|count| count.text == text) {
            same.posts = same.posts.saturating_add(1);
            return;
        }
        self.counts.insert(end, TextCount { minute, text, posts: 1 });
        while self.counts.len() > TEXTS_MAX {
            if let Some(oldest) = self.counts.pop_front() {
                // Never back: what goes may be a late one, of a minute that went before.
                self.since = self.since.max(oldest.minute.plus(1));
            }
        }
    }

    /// Drops what is before `minute`.
    pub(super) fn forget_before(&mut self, minute: Minute) {
        while self.counts.front().is_some_and(|count| count.minute < minute) {
            self.counts.pop_front();
        }
    }

    /// The oldest minute that has texts.
    pub(super) fn oldest(&self) -> Option<Minute> {
        self.counts.front().map(|count| count.minute)
    }

    /// The texts of the `width` minutes that end with `last`.
    pub(super) fn summary(&self, last: Minute, width: u32) -> TextSummary {
        let first = last.plus(1).minus(width).max(self.since);
        let from = self.counts.partition_point(|count| count.minute < first);
        let to = self.counts.partition_point(|count| count.minute <= last);
        let mut copies: HashMap<TextHash, u64> = HashMap::new();
        let (mut short, mut commonest) = (0, 0);
        for &TextCount { text, posts, .. } in self.counts.range(from..to.max(from)) {
            let Some(text) = text else {
                short += u64::from(posts);
                continue;
            };
            let all = copies.entry(text).or_default();
            *all += u64::from(posts);
            commonest = commonest.max(*all);
        }
        TextSummary {
            distinct: copies.len() as u64 + short,
            commonest: commonest.max(short.min(1)),
            window: minutes_long(last.plus(1).since(first)),
        }
    }

    /// Memory that the texts take.
    pub(super) fn bytes(&self) -> usize {
        self.counts.len() * size_of::<TextCount>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(number: u32) -> Minute {
        Minute::default().plus(number)
    }

    #[test]
    fn copies_are_counted_within_their_window() {
        let mut texts = RecentTexts::default();
        for (at, text) in [(0, Some(7)), (1, Some(7)), (3, Some(8)), (3, Some(7)), (2, None)] {
            texts.record(minute(at), text.map(TextHash));
        }
        texts.record(minute(2), None);
        let found = texts.summary(minute(3), 4);
        assert_eq!((found.distinct, found.commonest), (4, 3));
        assert_eq!(found.window, Duration::from_secs(240));
        let found = texts.summary(minute(3), 1);
        assert_eq!((found.distinct, found.commonest), (2, 1));
        let found = texts.summary(minute(2), 1);
        assert_eq!((found.distinct, found.commonest), (2, 1), "two short ones");
        texts.forget_before(minute(3));
        assert_eq!(texts.summary(minute(3), 4).distinct, 2);
    }

    #[test]
    fn what_is_dropped_shortens_the_known_window() {
        let mut texts = RecentTexts::default();
        for at in 0..300 {
            texts.record(minute(at), Some(TextHash(at.into())));
        }
        let found = texts.summary(minute(299), 290);
        assert_eq!((found.distinct, found.commonest), (256, 1));
        assert_eq!(found.window, Duration::from_secs(256 * 60));
        // One of a minute that was dropped brings none of the others back.
        texts.record(minute(20), Some(TextHash(300)));
        assert_eq!(texts.summary(minute(299), 290), found);
    }
}
