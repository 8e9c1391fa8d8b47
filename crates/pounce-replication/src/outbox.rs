//! What a writer has to append: items become batches whose bytes and number are fixed once, and
//! wait while the log can't be reached, bounded in bytes and age.
//!
//! Pure: the time is an argument. `W` is whoever waits for what comes of an item.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::entry::{Batch, Item};
use crate::entry_codec::encode_item;
use crate::form::EntryForm;

/// Bounds of an [`Outbox`].
#[derive(Debug, Clone, Copy)]
pub struct OutboxLimits {
    /// Items of a batch.
    pub batch_items_max: usize,
    /// Bytes of a batch, an item more or less.
    pub batch_bytes_max: usize,
    /// Bytes of all that waits to be appended.
    pub bytes_max: usize,
    /// An item that waited for longer would count no more.
    pub age_max: Duration,
}

/// A batch that is to be appended, however often it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedBatch {
    /// Of the writer's batches.
    pub number: u64,
    /// Its items; 0 for a tick.
    pub items: usize,
    /// Items that its form can't hold, or not the whole of them.
    pub left_out: usize,
    /// When its newest item came.
    pub newest_at: Instant,
    /// When it was taken out to be appended.
    pub sealed_at: Instant,
    /// The entry.
    pub bytes: Bytes,
}

impl SealedBatch {
    /// Whether it was put back: an earlier process made it.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.number == FOREIGN
    }
}

struct OpenBatch<W> {
    number: u64,
    /// The oldest that can hold its items.
    form: EntryForm,
    bytes: BytesMut,
    items: usize,
    /// Of each item; empty for a batch of an earlier process.
    waiting: Vec<W>,
    oldest_at: Instant,
    newest_at: Instant,
}

/// Nobody waits longer for what comes of an item.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// Number of a batch that an earlier process sealed: its own is in its bytes.
const FOREIGN: u64 = u64::MAX;

/// See the module.
pub struct Outbox<W> {
    reads: EntryForm,
    writer: u64,
    settings: u64,
    limits: OutboxLimits,
    next_number: u64,
    /// Not appended yet, oldest first; only the last one is added to.
    queue: VecDeque<OpenBatch<W>>,
    /// Of the queue.
    bytes: usize,
    /// Of batches that were taken out to be appended, until they are applied.
    waiting: BTreeMap<u64, (Instant, Vec<W>)>,
}

impl<W> Outbox<W> {
    /// An empty outbox of a writer whose nonce nobody else has; its entries tell that it reads forms
    /// up to `reads`.
    #[must_use]
    pub fn new(reads: EntryForm, writer: u64, settings: u64, limits: OutboxLimits) -> Self {
        Self {
            reads,
            writer,
            settings,
            limits,
            next_number: 1,
            queue: VecDeque::new(),
            bytes: 0,
            waiting: BTreeMap::new(),
        }
    }

    /// Adds an item, for which `waiting` waits. Returns how many items had to be dropped for it.
    pub fn push(&mut self, item: &Item, waiting: W, now: Instant) -> usize {
        let limits = self.limits;
        let full = |batch: &OpenBatch<W>| {
            batch.number == FOREIGN
                || batch.items >= limits.batch_items_max
                || batch.bytes.len() >= limits.batch_bytes_max
        };
        if self.queue.back().is_none_or(full) {
            self.open(now);
        }
        let batch = self.queue.back_mut().expect("opened above if there was none");
        let before = batch.bytes.len();
        encode_item(item, &mut batch.bytes);
        if item.form() > batch.form {
            batch.form = item.form();
            Batch::raise(&mut batch.bytes, batch.form);
        }
        batch.waiting.push(waiting);
        batch.items += 1;
        batch.newest_at = now;
        self.bytes += batch.bytes.len() - before;
        let mut dropped = 0;
        while self.bytes > limits.bytes_max && self.queue.len() > 1 {
            dropped += self.drop_oldest();
        }
        dropped
    }

    /// Adds a batch that an earlier process sealed, as it is: if the log has it already, it counts
    /// no more.
    pub fn put_back(&mut self, sealed: &[u8], form: EntryForm, items: usize, now: Instant) {
        self.bytes += sealed.len();
        self.enqueue(FOREIGN, form, BytesMut::from(sealed), items, now);
    }

    /// Whether a batch that was put back waits.
    #[must_use]
    pub fn holds_foreign(&self) -> bool {
        self.queue.iter().any(|batch| batch.number == FOREIGN)
    }

    /// The batches that wait, as they would be appended.
    #[must_use]
    pub fn unsent(&self) -> Vec<Bytes> {
        let batches = self.queue.iter().filter(|batch| batch.items > 0);
        batches.map(|batch| batch.bytes.clone().freeze()).collect()
    }

    /// Takes out the oldest batch to be appended, or a tick if there is none. Append them one
    /// after the other. What an entry of the form `newest` can't hold is left out.
    pub fn seal(&mut self, newest: EntryForm, now: Instant) -> SealedBatch {
        if self.queue.is_empty() {
            self.open(now);
        }
        let batch = self.queue.pop_front().expect("opened above if there was none");
        self.bytes -= batch.bytes.len();
        let (batch, left_out) =
            if batch.form > newest { batch.in_form(newest) } else { (batch, 0) };
        let items = batch.items;
        if !batch.waiting.is_empty() {
            self.waiting.insert(batch.number, (batch.oldest_at, batch.waiting));
        }
        let (number, newest_at) = (batch.number, batch.newest_at);
        let bytes = batch.bytes.freeze();
        SealedBatch { number, items, left_out, newest_at, sealed_at: now, bytes }
    }

    /// Drops what is too old to count. Returns how many items.
    pub fn expire(&mut self, now: Instant) -> usize {
        let mut dropped = 0;
        let limit = self.limits.age_max;
        // Appended, and never read back.
        self.waiting.retain(|_, (at, _)| now.saturating_duration_since(*at) <= limit.min(WAIT_MAX));
        while self.queue.front().is_some_and(|batch| self.is_too_old(batch.newest_at, now)) {
            dropped += self.drop_oldest();
        }
        dropped
    }

    /// Whether an item that came at `at` is too old to count.
    #[must_use]
    pub fn is_too_old(&self, at: Instant, now: Instant) -> bool {
        now.saturating_duration_since(at) > self.limits.age_max
    }

    /// Whoever waits for batch `number`, which was applied.
    pub fn applied(&mut self, number: u64) -> Vec<W> {
        self.waiting.remove(&number).map(|(_, waiting)| waiting).unwrap_or_default()
    }

    /// Forgets whoever waits for a batch before `number`, which was applied: batches are appended in
    /// order, so those before it were applied elsewhere, or the log lost them.
    pub fn forget_before(&mut self, number: u64) {
        while self.waiting.first_key_value().is_some_and(|(&first, _)| first < number) {
            self.waiting.pop_first();
        }
    }

    /// Everybody who waits, to be changed; those of the oldest batch first.
    pub fn waiting_mut(&mut self) -> impl Iterator<Item = &mut W> {
        let sealed = self.waiting.values_mut().flat_map(|(_, waiting)| waiting);
        sealed.chain(self.queue.iter_mut().flat_map(|batch| &mut batch.waiting))
    }

    /// When the oldest item came that was not applied.
    #[must_use]
    pub fn oldest_waiting(&self) -> Option<Instant> {
        let sealed = self.waiting.values().next().map(|(at, _)| *at);
        let queued = self.queue.iter().find(|batch| !batch.waiting.is_empty());
        sealed.or(queued.map(|batch| batch.oldest_at))
    }

    /// Items that wait to be appended.
    #[must_use]
    pub fn items(&self) -> usize {
        self.queue.iter().map(|batch| batch.items).sum()
    }

    /// Items of the batch that is next.
    #[must_use]
    pub fn next_items(&self) -> usize {
        self.queue.front().map_or(0, |batch| batch.items)
    }

    /// The oldest form that can hold the batch that is next.
    #[must_use]
    pub fn next_form(&self) -> EntryForm {
        self.queue.front().map_or(EntryForm::OLDEST, |batch| batch.form)
    }

    /// Bytes that wait to be appended.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn open(&mut self, now: Instant) {
        let number = self.next_number;
        self.next_number += 1;
        let bytes = Batch::encode_head(self.reads, self.writer, number, self.settings);
        self.bytes += bytes.len();
        self.enqueue(number, EntryForm::OLDEST, bytes, 0, now);
    }

    fn enqueue(
        &mut self,
        number: u64,
        form: EntryForm,
        bytes: BytesMut,
        items: usize,
        now: Instant,
    ) {
        let (waiting, oldest_at, newest_at) = (Vec::new(), now, now);
        let batch = OpenBatch { number, form, bytes, items, waiting, oldest_at, newest_at };
        self.queue.push_back(batch);
    }

    fn drop_oldest(&mut self) -> usize {
        let Some(batch) = self.queue.pop_front() else { return 0 };
        self.bytes -= batch.bytes.len();
        batch.items
    }
}

impl<W> OpenBatch<W> {
    /// The batch in an older form, and how many items that can't hold, or not the whole of them.
    /// Whoever waits for one that is left out is dropped.
    fn in_form(self, form: EntryForm) -> (Self, usize) {
        let batch = Batch::decode(&self.bytes).expect("it was encoded here, or read before");
        let reads = EntryForm::read_by(batch.reads);
        let mut bytes = Batch::encode_head(reads, batch.writer, batch.number, batch.settings);
        Batch::raise(&mut bytes, form);
        let (mut items, mut left_out, mut waiting) = (0, 0, Vec::new());
        let mut waiters = self.waiting.into_iter();
        for item in batch.items {
            left_out += usize::from(item.form() > form);
            let waiter = waiters.next();
            if let Some(item) = item.in_form(form) {
                encode_item(&item, &mut bytes);
                waiting.extend(waiter);
                items += 1;
            }
        }
        (Self { form, bytes, items, waiting, ..self }, left_out)
    }
}
