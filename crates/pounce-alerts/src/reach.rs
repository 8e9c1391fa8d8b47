//! REACH: authors with a large audience post negative posts.
//!
//! It stands apart from SHARE and VOLUME: there one author is one vote, so
//! that their statistics hold.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::hashing::AuthorHash;
use super::lifecycle::{Detection, Evaluation};
use super::minute::{Minute, minutes_long};
use super::settings::Reach;
use super::window::ratio;
use pounce_types::score::Severity;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct InfluentialAuthor {
    /// Of the last negative post.
    minute: Minute,
    /// The most that were seen.
    followers: u64,
}

/// The authors of recent negative posts who have an audience.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Audience {
    authors: BTreeMap<AuthorHash, InfluentialAuthor>,
    /// No entry is older than this minute.
    oldest: Minute,
}

impl Audience {
    /// Takes in the author of a negative post. Returns how many authors were
    /// dropped for want of room: those with the fewest followers.
    pub(super) fn record(
        &mut self,
        author: AuthorHash,
        followers: u64,
        minute: Minute,
        rules: &Reach,
    ) -> u64 {
        if followers < rules.author_followers_min {
            return 0;
        }
        if self.authors.is_empty() || minute < self.oldest {
            self.oldest = minute;
        }
        let author = self.authors.entry(author).or_insert(InfluentialAuthor { minute, followers });
        author.minute = author.minute.max(minute);
        author.followers = author.followers.max(followers);
        if self.authors.len() <= rules.authors_max {
            return 0;
        }
        let least = self.authors.iter().min_by_key(|(id, author)| (author.followers, **id));
        if let Some(id) = least.map(|(id, _)| *id) {
            self.authors.remove(&id);
        }
        1
    }

    /// Looks at the window that ends with `last`.
    pub(super) fn read(&mut self, last: Minute, rules: &Reach) -> Evaluation {
        let first = last.plus(1).minus(rules.window_minutes);
        if self.oldest < first {
            self.authors.retain(|_, author| author.minute >= first);
            self.oldest = self.authors.values().map(|author| author.minute).min().unwrap_or(last);
        }
        let authors = self.authors.len() as u64;
        let followers =
            self.authors.values().fold(0_u64, |sum, author| sum.saturating_add(author.followers));
        let found = authors >= rules.authors_min && followers >= rules.followers_min;
        let detection = found.then(|| Detection {
            severity: severity(followers, rules),
            window: minutes_long(rules.window_minutes),
            covered: minutes_long(rules.window_minutes),
            posts: authors,
            negatives: authors,
            observed: ratio(followers),
            baseline: 0.0,
            threshold: ratio(rules.followers_min),
            bound: ratio(authors),
        });
        Evaluation { calm: detection.is_none(), detection }
    }

    /// As [`Audience::read`] for each minute from `first` up to `next`, of an empty audience.
    pub(super) fn skip_idle(&mut self, first: Minute, next: Minute, rules: &Reach) {
        let width = rules.window_minutes;
        // What has no author moves on all the same, once a window: it is part of the state.
        let moves = first.max(self.oldest.plus(width));
        if moves < next {
            let last = next.minus(1);
            self.oldest = last.minus(last.since(moves) % width.max(1));
        }
    }

    /// Memory that the authors take.
    pub(super) fn bytes(&self) -> usize {
        self.authors.len() * size_of::<(AuthorHash, InfluentialAuthor)>()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.authors.is_empty()
    }
}

fn severity(followers: u64, rules: &Reach) -> Severity {
    if followers >= rules.high_followers {
        Severity::High
    } else if followers >= rules.medium_followers {
        Severity::Medium
    } else {
        Severity::Low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(authors: &[(u64, u64, u32)], at: u32, fires: bool) {
        let (mut audience, rules) = (Audience::default(), Reach::default());
        for &(author, followers, minute) in authors {
            audience.record(AuthorHash(author), followers, Minute::default().plus(minute), &rules);
        }
        let evaluation = audience.read(Minute::default().plus(at), &rules);
        assert_eq!(evaluation.detection.is_some(), fires, "{authors:?} at {at}");
        assert_eq!(evaluation.calm, !fires);
    }

    #[test]
    fn three_authors_with_a_hundred_thousand_followers_within_an_hour_have_reach() {
        check(&[(1, 50_000, 0), (2, 40_000, 30), (3, 10_000, 59)], 59, true);
        check(&[(1, 50_000, 0), (2, 40_000, 30), (3, 9_999, 59)], 59, false);
        check(&[(1, 50_000, 0), (2, 40_000, 30), (3, 10_000, 60)], 60, false);
        check(&[(1, 50_000, 0), (2, 90_000, 30), (1, 50_000, 40)], 59, false);
    }

    #[test]
    fn followers_without_number_overflow_nothing() {
        check(&[(1, u64::MAX, 0), (2, u64::MAX, 0), (3, u64::MAX, 0)], 0, true);
    }

    #[test]
    fn when_room_is_short_those_with_most_followers_stay() {
        let rules = Reach { authors_max: 3, ..Reach::default() };
        let mut audience = Audience::default();
        let dropped: u64 = (1..=10)
            .map(|author| {
                audience.record(AuthorHash(author), author * 30_000, Minute::default(), &rules)
            })
            .sum();
        assert_eq!(dropped, 7);
        let detection = audience.read(Minute::default(), &rules).detection.expect("reach");
        assert_eq!((detection.bound, detection.observed), (3.0, 810_000.0));
    }
}
