//! One vote an author, and one a text, decision and key, in 15 minutes. Knows hashes only.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bounded_map::BoundedMap;
use super::hashing::{AuthorHash, TextHash};
use super::key::within;
use super::minute::{Minute, minutes_long};
use super::settings::{Counting, Limits};
use pounce_types::post::Timestamp;

/// The one vote of an author, and what more they wrote in its period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Vote {
    minute: Minute,
    negatives: u32,
}

/// What came of an author's post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AuthorVote {
    /// It is their vote: the first post of the period.
    pub(super) counts: bool,
    /// Their negative posts of the period so far.
    pub(super) negatives: u32,
}

/// Recent votes of all keys.
#[derive(Debug, Clone)]
pub(super) struct Votes {
    pub(super) authors: BoundedMap<Vote>,
    /// When a text had its vote.
    pub(super) texts: BoundedMap<Minute>,
}

impl Votes {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            authors: BoundedMap::new(limits.author_votes_max),
            texts: BoundedMap::new(limits.text_votes_max),
        }
    }

    /// The vote of an author in the key that hashes to `key`.
    pub(super) fn author(
        &mut self,
        key: u64,
        author: AuthorHash,
        (minute, negative): (Minute, bool),
        counting: &Counting,
        now: Timestamp,
    ) -> AuthorVote {
        let hash = within(key, author.0);
        let first = self.authors.get_mut(hash);
        let first = first.filter(|vote| vote.minute.distance(minute) < counting.author_minutes);
        if let Some(vote) = first {
            vote.negatives = vote.negatives.saturating_add(negative.into());
            return AuthorVote { counts: false, negatives: vote.negatives };
        }
        let vote = Vote { minute, negatives: negative.into() };
        self.authors.put(hash, vote, now);
        AuthorVote { counts: true, negatives: vote.negatives }
    }

    /// Whether a text is the first of its copies with the same decision in the key that hashes
    /// to `key`. A copy with another decision has a vote of its own.
    pub(super) fn text(
        &mut self,
        key: u64,
        text: TextHash,
        (minute, negative): (Minute, bool),
        counting: &Counting,
        now: Timestamp,
    ) -> bool {
        let hash = within(key, within(text.0, negative.into()));
        let first = self.texts.get_mut(hash);
        if first.is_some_and(|first| first.distance(minute) < counting.text_minutes) {
            return false;
        }
        self.texts.put(hash, minute, now);
        true
    }

    /// Drops votes that can't matter any more.
    pub(super) fn forget(&mut self, now: Timestamp, counting: &Counting, slack: Duration) {
        self.authors.forget(now, minutes_long(counting.author_minutes) + slack);
        self.texts.forget(now, minutes_long(counting.text_minutes) + slack);
    }
}
