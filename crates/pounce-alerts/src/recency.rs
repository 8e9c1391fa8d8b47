//! Which key was seen least recently. Knows keys only.
//!
//! Seeing a key costs nothing here: its position is looked up again when it
//! reaches the front of the queue (lazy deletion).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::key::Key;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    seen: u64,
    created: u64,
    key: Key,
}

/// A queue of keys, one entry each.
#[derive(Debug, Clone, Default)]
pub(super) struct Recency {
    queue: BinaryHeap<Reverse<Entry>>,
}

impl Recency {
    /// Adds a key that was created by post number `created`.
    pub(super) fn push(&mut self, key: Key, created: u64) {
        self.queue.push(Reverse(Entry { seen: created, created, key }));
    }

    /// Takes out the key that was seen least recently. `look` returns the
    /// numbers of the posts that created a key and that named it last; none if it is gone.
    pub(super) fn pop(&mut self, look: impl Fn(&Key) -> Option<(u64, u64)>) -> Option<Key> {
        loop {
            let Reverse(entry) = self.queue.pop()?;
            match look(&entry.key) {
                Some((created, seen)) if created == entry.created && seen > entry.seen => {
                    self.queue.push(Reverse(Entry { seen, ..entry }));
                }
                Some((created, _)) if created == entry.created => return Some(entry.key),
                _ => {}
            }
        }
    }
}
