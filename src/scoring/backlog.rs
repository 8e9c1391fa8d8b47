//! What streams and calls have to be scored: no more than a drain has time for.
//!
//! A drain answers every accepted post within `--drain-timeout`, or it was wrong to accept it. So a
//! stream reads its next post only while the posts of all streams that are still to be scored take
//! less time than half of that, at the workers' measured pace. Work is counted in tokens, since a
//! long post takes a hundred times as long as a short one. A stream may hold no more of it than is
//! left (Choudhury and Hahne's dynamic thresholds, 1998), less an eighth: so streams share it equally.
//! One that holds nothing, who comes new or sends a post at a time, may go a quarter past it: it finds
//! room even when the workers have just become slower and the others hold more than they should.
//!
//! A call of one post or a batch has said all that it has to say. Nothing is refused to it before a
//! drain; then its posts that are not scored yet stay while all that stay take less than a quarter
//! of the drain's time. The others are turned away at once, to be sent to another server.
//!
//! Knows sizes and time; nothing of what is in a post.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::sync::Notify;

use crate::lifecycle::drain::{Drain, Phase};
use pounce_inference::scorer::Scorer;

/// Part of the drain's time that accepted posts of streams may take. The pace is an estimate of the past, and
/// others may take the processor meanwhile; seconds of work keep the workers busy all the same.
const DRAIN_SHARE: f64 = 0.5;
/// The same of posts of calls.
const CALLS_SHARE: f64 = 0.25;
/// One of so many equal parts of the room is kept for streams that hold nothing.
const RESERVE_PART: usize = 8;
/// They may go past the room by one of so many equal parts of it.
const EXCESS_PART: usize = 4;
/// Tokens that may always be accepted, so that a full batch can form however slow the workers are.
const TOKENS_MIN: usize = 4096;
/// Bytes of text that a token stands for, at least; plain English has twice as many.
const TOKEN_BYTES: usize = 2;
/// Tokens that a model adds to each text.
const TOKENS_ADDED: usize = 2;

/// The accepted posts of all streams, and those of calls that a drain found. Cheap to clone.
#[derive(Clone)]
pub struct Backlog {
    inner: Arc<Inner>,
}

struct Inner {
    scorer: Scorer,
    drain: Drain,
    drain_timeout: Duration,
    /// Tokens of the posts of calls that the drain lets stay.
    stay: AtomicUsize,
    /// Tokens accepted and not scored.
    tokens: AtomicUsize,
    /// Streams that wait for room: others that have none get in line behind them.
    waiting: AtomicUsize,
    /// Told when there is room again.
    freed: Notify,
}

impl Backlog {
    /// An empty backlog, bounded so that a drain of `drain_timeout` can answer it.
    #[must_use]
    pub fn new(scorer: Scorer, drain: Drain, drain_timeout: Duration) -> Self {
        let inner = Inner {
            scorer,
            drain,
            drain_timeout,
            stay: AtomicUsize::new(0),
            tokens: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The backlog of one more stream.
    pub(crate) fn stream(&self) -> StreamBacklog {
        StreamBacklog { all: Arc::clone(&self.inner), tokens: Arc::new(AtomicUsize::new(0)) }
    }

    /// Completes once a drain has no time for a post of a call, of so many bytes of text, that is
    /// still to be scored. Safe to drop.
    pub(crate) async fn turned_away(&self, text_bytes: usize) {
        self.inner.drain.clone().reached(Phase::Draining).await;
        if self.inner.may_stay(self.inner.tokens(text_bytes)) {
            std::future::pending::<()>().await;
        }
    }
}

impl Inner {
    /// Tokens that fit into a part of the drain's time at the present pace.
    fn tokens_max(&self, share: f64) -> usize {
        // Before the first batch nobody knows how fast the workers are.
        let Some(pace) = self.scorer.pace_per_token() else { return TOKENS_MIN };
        let pace = pace.as_nanos().max(1);
        let tokens = self.drain_timeout.mul_f64(share).as_nanos() / pace;
        usize::try_from(tokens).unwrap_or(usize::MAX).max(TOKENS_MIN)
    }

    /// Tokens of a text, at most.
    fn tokens(&self, text_bytes: usize) -> usize {
        let tokens = text_bytes.div_ceil(TOKEN_BYTES) + TOKENS_ADDED;
        tokens.min(self.scorer.model().tokens_max)
    }

    /// Lets a post of a call stay, if there is time for it beside those that stay already.
    fn may_stay(&self, tokens: usize) -> bool {
        let max = self.tokens_max(CALLS_SHARE);
        let with_it = |stay: usize| stay.checked_add(tokens).filter(|stay| *stay <= max);
        self.stay.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with_it).is_ok()
    }
}

/// Whether a stream that holds `own` of the `held` tokens may hold more, if all may hold `max`.
fn may_hold_more(own: usize, held: usize, max: usize) -> bool {
    let shared = max - max / RESERVE_PART;
    own < shared.saturating_sub(held) || own == 0 && held < max + max / EXCESS_PART
}

/// What one stream has accepted and not yet scored.
pub(crate) struct StreamBacklog {
    all: Arc<Inner>,
    tokens: Arc<AtomicUsize>,
}

impl StreamBacklog {
    /// The next item of `requests`, once there is room for what it may bring. Safe to drop.
    ///
    /// Poll it in the task that takes the stream's replies: each wakes it, and it looks for room
    /// again.
    pub(crate) async fn next<S: Stream + Unpin>(&self, requests: &mut S) -> Option<S::Item> {
        let mut called = false;
        loop {
            let mut freed = pin!(self.all.freed.notified());
            let mut waiting = None;
            let next = std::future::poll_fn(|context| {
                let has_some = self.tokens.load(Ordering::Relaxed) > 0;
                let in_turn = has_some || called || self.all.waiting.load(Ordering::Relaxed) == 0;
                if self.has_room() && waiting.is_none() && in_turn {
                    return requests.poll_next_unpin(context).map(Some);
                }
                if has_some {
                    return Poll::Pending;
                }
                if waiting.is_none() {
                    waiting = Some(Waiting::new(&self.all));
                    // Room that is there already goes to whoever waits longest.
                    self.all.pass_on();
                }
                freed.as_mut().poll(context).map(|()| None)
            });
            if let Some(request) = next.await {
                return request;
            }
            called = true;
            // Others may have room too, and this stream perhaps nothing to read.
            self.all.pass_on();
        }
    }

    fn has_room(&self) -> bool {
        let max = self.all.tokens_max(DRAIN_SHARE);
        let (own, held) = (&self.tokens, &self.all.tokens);
        may_hold_more(own.load(Ordering::Relaxed), held.load(Ordering::Relaxed), max)
    }

    /// Counts a post of so many bytes of text, until what this returns is dropped.
    pub(crate) fn accept(&self, text_bytes: usize) -> Accepted {
        let tokens = self.all.tokens(text_bytes);
        self.all.tokens.fetch_add(tokens, Ordering::Relaxed);
        self.tokens.fetch_add(tokens, Ordering::Relaxed);
        Accepted { all: Arc::clone(&self.all), stream: Arc::clone(&self.tokens), tokens }
    }
}

impl Inner {
    fn pass_on(&self) {
        let held = self.tokens.load(Ordering::Relaxed);
        if may_hold_more(0, held, self.tokens_max(DRAIN_SHARE)) {
            self.freed.notify_one();
        }
    }
}

/// A stream that waits for room.
struct Waiting<'a>(&'a Inner);

impl<'a> Waiting<'a> {
    fn new(all: &'a Inner) -> Self {
        all.waiting.fetch_add(1, Ordering::Relaxed);
        Self(all)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An accepted post that is still to be scored.
pub(crate) struct Accepted {
    all: Arc<Inner>,
    stream: Arc<AtomicUsize>,
    tokens: usize,
}

impl Drop for Accepted {
    fn drop(&mut self) {
        self.stream.fetch_sub(self.tokens, Ordering::Relaxed);
        self.all.tokens.fetch_sub(self.tokens, Ordering::Relaxed);
        self.all.pass_on();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_comes_new_finds_room_beside_others_that_take_all_they_can() {
        const MAX: usize = 100_000;
        const SHARED: usize = MAX - MAX / RESERVE_PART;
        const SLOWER: usize = MAX * 3 / 4; // what there is room for when the workers slow down
        const POST: usize = 36;
        for streams in [1, 2, 50, 500] {
            let (mut own, mut held) = (vec![0; streams], 0);
            let mut took = true;
            while took {
                took = false;
                for own in &mut own {
                    if may_hold_more(*own, held, MAX) {
                        (*own, held, took) = (*own + POST, held + POST, true);
                    }
                }
            }
            assert!(held < SHARED + POST, "{streams} streams hold {held}");
            assert!(
                held * (streams + 1) > SHARED * streams * 9 / 10,
                "{streams} streams hold {held}"
            );
            let (least, most) = (own.iter().min(), own.iter().max());
            assert!(most <= least.map(|least| least + POST).as_ref(), "they share it equally");
            for max in [MAX, SLOWER] {
                assert!(may_hold_more(0, held, max), "{streams} streams, room for {max}");
                assert!(!may_hold_more(own[0], held, max), "{streams} streams, room for {max}");
            }
        }
    }
}
