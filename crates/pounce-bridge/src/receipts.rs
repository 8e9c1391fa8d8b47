//! The receipts of the messages in flight: from when a message was read until it is acknowledged,
//! wherever in the bridge it waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::metrics;

/// Receipts, numbered in the order in which their messages were read.
pub(crate) struct Receipts<R>(Mutex<Table<R>>);

struct Table<R> {
    next: u64,
    held: BTreeMap<u64, Arc<R>>,
}

impl<R> Default for Receipts<R> {
    fn default() -> Self {
        Self(Mutex::new(Table { next: 0, held: BTreeMap::new() }))
    }
}

impl<R> Receipts<R> {
    fn with<T>(&self, act: impl FnOnce(&mut Table<R>) -> T) -> T {
        // std Mutex: held for a few steps, never across an await.
        act(&mut self.0.lock().expect("no panic under the lock"))
    }

    /// A message was read. Returns its number.
    pub(crate) fn add(&self, receipt: Arc<R>) -> u64 {
        self.with(|table| {
            let number = table.next;
            table.next += 1;
            table.held.insert(number, receipt);
            metrics::in_flight(table.held.len());
            number
        })
    }

    /// The message was acknowledged.
    pub(crate) fn remove(&self, number: u64) {
        self.with(|table| {
            table.held.remove(&number);
            metrics::in_flight(table.held.len());
        });
    }

    /// Those of all messages in flight, the first one read first.
    pub(crate) fn all(&self) -> Vec<Arc<R>> {
        self.with(|table| table.held.values().cloned().collect())
    }
}
