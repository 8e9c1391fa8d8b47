//! Which key is dropped first when room is short. Knows keys only.
//!
//! Newcomers go before keys with a past, the least recently seen first, so that a flood of
//! made-up topics ends no other topic's alert; but newcomers always have a share of the room.
//! Seeing a key costs nothing here: its place in the queue is looked up again when it reaches
//! the front (lazy update). So the order is part of the state, and snapshots hold it.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::key::Key;

/// What would be lost with a key; the greatest goes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

/// How a key stands, or stood when it was looked up last; the least goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Standing {
    pub(super) rank: Rank,
    /// Number of the post that named it last.
    pub(super) seen: u64,
}

/// Two queues of keys, the least standing first.
#[derive(Debug, Clone, Default)]
pub(super) struct Recency {
    standings: HashMap<Key, Standing>,
    newcomers: BTreeSet<(Standing, Key)>,
    others: BTreeSet<(Standing, Key)>,
}

impl Recency {
    /// Adds a key, or moves it to where it stands now.
    pub(super) fn put(&mut self, key: Key, standing: Standing) {
        self.remove(&key);
        self.queue(standing.rank).insert((standing, key.clone()));
        self.standings.insert(key, standing);
    }

    /// Takes out a key, if it is there.
    pub(super) fn remove(&mut self, key: &Key) {
        if let Some((key, standing)) = self.standings.remove_entry(key) {
            self.queue(standing.rank).remove(&(standing, key));
        }
    }

    /// The key to be dropped: a newcomer, unless more than `others_max` other keys are held.
    /// `look` returns how a key stands now.
    pub(super) fn first(
        &mut self,
        others_max: usize,
        look: impl Fn(&Key) -> Option<Standing>,
    ) -> Option<Key> {
        loop {
            let crowded = self.others.len() > others_max || self.newcomers.is_empty();
            let queue = if crowded { &self.others } else { &self.newcomers };
            let (noted, key) = queue.first()?;
            let (noted, key) = (*noted, key.clone());
            match look(&key) {
                Some(now) if now == noted => return Some(key),
                Some(now) => self.put(key, now),
                None => self.remove(&key),
            }
        }
    }

    /// How each key stood when it was looked up last.
    pub(super) fn standings(&self) -> &HashMap<Key, Standing> {
        &self.standings
    }

    fn queue(&mut self, rank: Rank) -> &mut BTreeSet<(Standing, Key)> {
        match rank {
            Rank::Newcomer => &mut self.newcomers,
            Rank::Active | Rank::Established | Rank::Firing => &mut self.others,
        }
    }
}
