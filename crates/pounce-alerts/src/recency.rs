//! Which key is dropped first when room is short. Knows keys only.
//!
//! Newcomers go before keys with a past, the least recently seen first, so that a flood of
//! made-up topics ends no other topic's alert; but newcomers always have a share of the room.
//! Seeing a key costs nothing here: its standing is looked up again when it reaches the front
//! of its queue (lazy update).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::key::Key;

/// What would be lost with a key; the greatest goes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Fewer posts than a rule needs.
    Newcomer,
    /// Posts enough for the rules.
    Active,
    /// A baseline of its own.
    Established,
    /// An alert.
    Firing,
}

/// How a key stands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Number of the post that created it.
    pub(super) created: u64,
    pub(super) rank: Rank,
    /// Number of the post that named it last.
    pub(super) seen: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    rank: Rank,
    seen: u64,
    created: u64,
    key: Key,
}

/// Two queues of keys, one entry a key.
#[derive(Debug, Clone, Default)]
pub(super) struct Recency {
    newcomers: BinaryHeap<Reverse<Entry>>,
    others: BinaryHeap<Reverse<Entry>>,
}

impl Recency {
    /// Adds a key that was created by post number `created`.
    pub(super) fn push(&mut self, key: Key, created: u64) {
        self.insert(Entry { rank: Rank::Newcomer, seen: created, created, key });
    }

    /// Takes out the key to be dropped: a newcomer, unless more than `others_max` other keys
    /// are held. `look` returns how a key stands; none if it is gone.
    pub(super) fn pop(
        &mut self,
        others_max: usize,
        look: impl Fn(&Key) -> Option<Standing>,
    ) -> Option<Key> {
        loop {
            let crowded = self.others.len() > others_max || self.newcomers.is_empty();
            let queue = if crowded { &mut self.others } else { &mut self.newcomers };
            let Reverse(entry) = queue.pop()?;
            let standing = look(&entry.key).filter(|now| now.created == entry.created);
            let Some(Standing { rank, seen, .. }) = standing else { continue };
            if (rank, seen) == (entry.rank, entry.seen) {
                return Some(entry.key);
            }
            self.insert(Entry { rank, seen, ..entry });
        }
    }

    fn insert(&mut self, entry: Entry) {
        let queue = match entry.rank {
            Rank::Newcomer => &mut self.newcomers,
            Rank::Active | Rank::Established | Rank::Firing => &mut self.others,
        };
        queue.push(Reverse(entry));
    }
}
