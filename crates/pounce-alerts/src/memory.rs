//! What was seen lately, within a bound: post ids, authors' votes.
//!
//! Entries go by the wall clock or when room is short, the oldest arrival
//! first. Whoever asks decides by event time whether an entry still matters,
//! so the answer does not depend on how fast a stream is played.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::minute::Minute;
use pounce_types::post::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Entry<V> {
    arrived: Minute,
    value: V,
}

/// A bounded map by 64-bit hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory<V> {
    entries: HashMap<u64, Entry<V>>,
    /// Every entry's hash and arrival, oldest first; stale where the entry was
    /// renewed since.
    arrivals: VecDeque<(Minute, u64)>,
    forgotten: u64,
}

impl<V> Default for Memory<V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), arrivals: VecDeque::new(), forgotten: 0 }
    }
}

impl<V> Memory<V> {
    pub(super) fn get_mut(&mut self, hash: u64) -> Option<&mut V> {
        self.entries.get_mut(&hash).map(|entry| &mut entry.value)
    }

    /// Remembers `value`, in place of what was there.
    pub(super) fn put(&mut self, hash: u64, value: V, now: Timestamp, entries_max: usize) {
        let arrived = Minute::of(now);
        let old = self.entries.insert(hash, Entry { arrived, value });
        if old.is_none_or(|old| old.arrived != arrived) {
            self.arrivals.push_back((arrived, hash));
        }
        // Renewed entries leave stale arrivals behind: these count as well, so
        // that both halves are bounded.
        while self.arrivals.len() > entries_max {
            let before = self.entries.len();
            self.drop_oldest();
            self.forgotten += (before - self.entries.len()) as u64;
        }
    }

    /// Drops what arrived more than `age` before `now`.
    pub(super) fn forget(&mut self, now: Timestamp, age: Duration) {
        let first = Minute::of(now.before(age));
        while self.arrivals.front().is_some_and(|(arrived, _)| *arrived < first) {
            self.drop_oldest();
        }
    }

    /// Entries dropped for want of room, ever.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Entries held.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn drop_oldest(&mut self) {
        let Some((arrived, hash)) = self.arrivals.pop_front() else { return };
        if self.entries.get(&hash).is_some_and(|entry| entry.arrived == arrived) {
            self.entries.remove(&hash);
        }
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
        let mut memory = Memory::default();
        for hash in 0..5 {
            memory.put(hash, hash, at(hash), 3);
        }
        let kept: Vec<_> = (0..5).map(|hash| memory.get_mut(hash).is_some()).collect();
        assert_eq!(kept, [false, false, true, true, true]);
        assert_eq!((memory.forgotten(), memory.len()), (2, 3));
    }

    #[test]
    fn age_is_no_loss_and_a_renewed_entry_stays() {
        let mut memory = Memory::default();
        memory.put(1, (), at(0), 10);
        memory.put(2, (), at(0), 10);
        memory.put(1, (), at(30), 10);
        memory.forget(at(40), Duration::from_secs(20 * 60));
        assert!(memory.get_mut(1).is_some());
        assert!(memory.get_mut(2).is_none());
        assert_eq!(memory.forgotten(), 0);
    }
}
