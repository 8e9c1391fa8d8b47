//! A bounded map of recent entries: post ids, authors' votes.
//!
//! Entries go by the wall clock or when room is short, the oldest arrival
//! first. Whoever asks decides by event time whether an entry still matters,
//! so the answer does not depend on how fast a stream is played.
//!
//! It is cut into shards by hash, which a clone shares: a snapshot takes no time, and
//! afterwards only the shards that change are copied, one by one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::minute::Minute;
use pounce_types::post::Timestamp;

const SHARDS_MAX: usize = 64;
/// Fewer entries than this are not worth a shard of their own.
const SHARD_ENTRIES_MIN: usize = 8192;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Entry<V> {
    arrived: Minute,
    value: V,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Shard<V> {
    entries: HashMap<u64, Entry<V>>,
    /// Every entry's hash and arrival, oldest first; stale where the entry was
    /// renewed since.
    arrivals: VecDeque<(Minute, u64)>,
}

/// A bounded map by 64-bit hash.
#[derive(Debug, Clone)]
pub(super) struct BoundedMap<V> {
    shards: Vec<Arc<Shard<V>>>,
    shard_entries_max: usize,
    forgotten: u64,
    /// Newest arrival that was dropped for want of room.
    dropped: Option<Minute>,
}

impl<V: Clone> BoundedMap<V> {
    /// Room for `entries_max` entries, divided evenly between the shards.
    pub(super) fn new(entries_max: usize) -> Self {
        let shards = (entries_max / SHARD_ENTRIES_MIN).clamp(1, SHARDS_MAX);
        let empty = || Arc::new(Shard { entries: HashMap::new(), arrivals: VecDeque::new() });
        Self {
            shards: (0..shards).map(|_| empty()).collect(),
            shard_entries_max: entries_max / shards,
            forgotten: 0,
            dropped: None,
        }
    }

    /// Puts back what [`BoundedMap::chunks`] returned, oldest arrival first.
    pub(super) fn put_back(&mut self, entries: Vec<(Minute, u64, V)>) {
        for (arrived, hash, value) in entries {
            self.insert(hash, arrived, value);
        }
    }

    /// Goes on counting where another map ended.
    pub(super) fn set_forgotten(&mut self, forgotten: u64) {
        self.forgotten = forgotten;
    }

    pub(super) fn get_mut(&mut self, hash: u64) -> Option<&mut V> {
        let shard = self.shard_of(hash);
        if !self.shards[shard].entries.contains_key(&hash) {
            return None;
        }
        let shard = Arc::make_mut(&mut self.shards[shard]);
        shard.entries.get_mut(&hash).map(|entry| &mut entry.value)
    }

    /// Remembers `value`, in place of what was there.
    pub(super) fn put(&mut self, hash: u64, value: V, now: Timestamp) {
        self.insert(hash, Minute::of(now), value);
    }

    /// Drops what arrived more than `age` before `now`.
    pub(super) fn forget(&mut self, now: Timestamp, age: Duration) {
        let first = Minute::of(now.before(age));
        let is_old =
            |shard: &Shard<V>| shard.arrivals.front().is_some_and(|(arrived, _)| *arrived < first);
        for shard in self.shards.iter_mut().filter(|shard| is_old(shard)) {
            let shard = Arc::make_mut(shard);
            while is_old(shard) {
                shard.drop_oldest();
            }
        }
    }

    /// Entries dropped for want of room, ever.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// How far back everything that arrived is remembered, if for want of room that is less
    /// than `age`.
    pub(super) fn horizon(&self, now: Timestamp, age: Duration) -> Duration {
        let Some(dropped) = self.dropped else { return age };
        let since = now.millis().saturating_sub(dropped.end().millis());
        Duration::from_millis(since).min(age)
    }

    /// Entries held.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.entries.len()).sum()
    }

    /// Every entry, shard by shard, in lists of at most `size`; the oldest arrival of a shard
    /// first. A shard is let go once it was read.
    pub(super) fn chunks(self, size: usize) -> impl Iterator<Item = Vec<(Minute, u64, V)>> {
        self.shards.into_iter().flat_map(move |shard| {
            let mut chunks = Vec::new();
            for part in shard.live().collect::<Vec<_>>().chunks(size) {
                chunks.push(part.to_vec());
            }
            chunks
        })
    }

    fn shard_of(&self, hash: u64) -> usize {
        // The hash map uses the hash as well, through a hasher of its own.
        usize::try_from(hash % self.shards.len() as u64).unwrap_or(0)
    }

    fn insert(&mut self, hash: u64, arrived: Minute, value: V) {
        let shard = self.shard_of(hash);
        let shard = Arc::make_mut(&mut self.shards[shard]);
        let old = shard.entries.insert(hash, Entry { arrived, value });
        if old.is_none_or(|old| old.arrived != arrived) {
            shard.arrivals.push_back((arrived, hash));
        }
        while shard.entries.len() > self.shard_entries_max {
            if let Some(arrived) = shard.drop_oldest() {
                self.forgotten += 1;
                self.dropped = self.dropped.max(Some(arrived));
            }
        }
        // Renewed entries leave stale arrivals behind. They decide nothing: a map that comes back from
        // its chunks has none.
        if shard.arrivals.len() > 2 * self.shard_entries_max {
            shard.drop_stale();
        }
    }
}

impl<V: Clone> Shard<V> {
    fn live(&self) -> impl Iterator<Item = (Minute, u64, V)> {
        self.arrivals.iter().filter_map(|&(arrived, hash)| {
            let entry = self.entries.get(&hash).filter(|entry| entry.arrived == arrived)?;
            Some((arrived, hash, entry.value.clone()))
        })
    }

    fn drop_stale(&mut self) {
        let entries = &self.entries;
        self.arrivals.retain(|(arrived, hash)| {
            entries.get(hash).is_some_and(|entry| entry.arrived == *arrived)
        });
    }

    /// Drops the oldest arrival; returns when it came if it was no stale one.
    fn drop_oldest(&mut self) -> Option<Minute> {
        let (arrived, hash) = self.arrivals.pop_front()?;
        self.entries.get(&hash).filter(|entry| entry.arrived == arrived)?;
        self.entries.remove(&hash);
        Some(arrived)
    }
}

/// The map as format 1 holds it.
#[derive(Debug, Deserialize)]
pub(super) struct MapV1<V> {
    entries: HashMap<u64, Entry<V>>,
    arrivals: VecDeque<(Minute, u64)>,
    forgotten: u64,
}

impl<V: Clone> MapV1<V> {
    pub(super) fn into_map(self, entries_max: usize) -> BoundedMap<V> {
        let old = Shard { entries: self.entries, arrivals: self.arrivals };
        let mut map = BoundedMap::new(entries_max);
        map.put_back(old.live().collect());
        map.set_forgotten(self.forgotten);
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: u64) -> Timestamp {
        Timestamp::from_millis(minute * 60_000)
    }

    #[test]
    fn the_oldest_arrival_goes_first_when_room_is_short() {
        let mut map = BoundedMap::new(3);
        for hash in 0..5 {
            map.put(hash, hash, at(hash));
        }
        let kept: Vec<_> = (0..5).map(|hash| map.get_mut(hash).is_some()).collect();
        assert_eq!(kept, [false, false, true, true, true]);
        assert_eq!((map.forgotten(), map.len()), (2, 3));
    }

    #[test]
    fn age_is_no_loss_and_a_renewed_entry_stays() {
        let mut map = BoundedMap::new(10);
        map.put(1, (), at(0));
        map.put(2, (), at(0));
        map.put(1, (), at(30));
        map.forget(at(40), Duration::from_secs(20 * 60));
        assert!(map.get_mut(1).is_some());
        assert!(map.get_mut(2).is_none());
        assert_eq!(map.forgotten(), 0);
    }

    #[test]
    fn a_map_that_comes_back_drops_what_the_one_before_drops() {
        let mut map = BoundedMap::new(3);
        (1..=3).for_each(|hash| map.put(hash, hash, at(hash)));
        (4..40).for_each(|minute| map.put(1, 1, at(minute)));
        assert!((1..=3).all(|hash| map.get_mut(hash).is_some()), "renewing one drops no other");
        let mut back = BoundedMap::new(3);
        map.clone().chunks(10).for_each(|chunk| back.put_back(chunk));
        for map in [&mut map, &mut back] {
            map.put(4, 4, at(40));
            let kept: Vec<_> = (1..=4).map(|hash| map.get_mut(hash).is_some()).collect();
            assert_eq!(kept, [true, false, true, true]);
        }
        assert!(map.shards[0].arrivals.len() <= 6, "stale arrivals are bounded");
    }

    #[test]
    fn a_clone_keeps_what_it_saw_and_comes_back_from_its_chunks() {
        let mut map = BoundedMap::new(100_000);
        (0..50_000_u64).for_each(|hash| map.put(hash, hash, at(hash / 1000)));
        let seen = map.clone();
        (0..50_000).for_each(|hash| map.put(hash, 0, at(100)));
        let mut back = BoundedMap::new(100_000);
        for chunk in seen.chunks(1000) {
            assert!(chunk.len() <= 1000);
            back.put_back(chunk);
        }
        assert_eq!(back.len(), 50_000);
        assert!((0..50_000).all(|hash| back.get_mut(hash).copied() == Some(hash)));
        back.forget(at(60), Duration::from_secs(20 * 60));
        assert_eq!(back.len(), 10_000, "by arrival, as before");
    }
}
