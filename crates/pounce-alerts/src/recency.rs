//! Which key was seen least recently. Knows keys only.
//!
//! Seeing a key costs nothing here: its place in line is looked up again when
//! it comes to the front.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::key::Key;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    seen: u64,
    born: u64,
    key: Key,
}

/// A line of keys, one turn for each.
#[derive(Debug, Clone, Default)]
pub(super) struct Recency {
    line: BinaryHeap<Reverse<Turn>>,
}

impl Recency {
    /// Lines up a key that came to be with post number `born`.
    pub(super) fn push(&mut self, key: Key, born: u64) {
        self.line.push(Reverse(Turn { seen: born, born, key }));
    }

    /// Takes out the key that was seen least recently. `look` tells of a key
    /// with what post it came to be and was seen last; none if it is gone.
    pub(super) fn pop(&mut self, look: impl Fn(&Key) -> Option<(u64, u64)>) -> Option<Key> {
        loop {
            let Reverse(turn) = self.line.pop()?;
            match look(&turn.key) {
                Some((born, seen)) if born == turn.born && seen > turn.seen => {
                    self.line.push(Reverse(Turn { seen, ..turn }));
                }
                Some((born, _)) if born == turn.born => return Some(turn.key),
                _ => {}
            }
        }
    }
}
