//! Bytes of requests that are still arriving, shared between callers.
//!
//! By the rule of the scorer's queue: one caller leaves a quarter of the room to others, and those
//! who wait get in by what they hold, the least first. Knows sizes; nothing of what arrives.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::caller_key::CallerKey;
use pounce_inference::flow_key::{CallerId, FlowKey};
use pounce_inference::gate::{Gate, Permit};

/// Bytes of all unfinished requests, unless one may be larger than half of them.
const BYTES_MAX: usize = 32 << 20;
/// Room is taken in steps of so many bytes.
const STEP_BYTES: usize = 64 << 10;

/// The room that all share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct UnfinishedBytes {
    gate: Arc<Gate>,
    /// Keyed at random, so that nobody can choose a name to share another caller's id.
    caller_ids: RandomState,
}

impl fmt::Debug for UnfinishedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnfinishedBytes").finish_non_exhaustive()
    }
}

impl UnfinishedBytes {
    /// Room for requests of at most `request_bytes_max`.
    pub(crate) fn new(request_bytes_max: usize) -> Self {
        let bytes_max = BYTES_MAX.max(request_bytes_max.saturating_mul(2));
        let gate = Arc::new(Gate::new(usize::MAX, bytes_max));
        Self { gate, caller_ids: RandomState::new() }
    }

    /// What a request of `caller` holds: nothing yet.
    pub(crate) fn share(&self, caller: &CallerKey) -> Share {
        let caller = FlowKey::shared(CallerId(self.caller_ids.hash_one(caller)));
        Share { gate: Arc::clone(&self.gate), caller, steps: Vec::new() }
    }

    /// Steps that are held.
    #[cfg(test)]
    pub(crate) fn steps_held(&self) -> usize {
        self.gate.posts_held()
    }
}

/// What one request holds; given back when dropped.
pub(crate) struct Share {
    gate: Arc<Gate>,
    caller: FlowKey,
    steps: Vec<Permit>,
}

/// Room that was waited for: see [`Share::add`].
pub(crate) struct More(Vec<Permit>);

impl Share {
    /// Waits for what is missing to hold `bytes`; `None` if nothing is. Safe to drop.
    pub(crate) fn missing(
        &self,
        bytes: usize,
    ) -> Option<impl Future<Output = More> + Send + use<>> {
        let missing =
            bytes.div_ceil(STEP_BYTES).checked_sub(self.steps.len()).filter(|&n| n > 0)?;
        let (gate, caller) = (Arc::clone(&self.gate), self.caller);
        Some(async move {
            let mut more = Vec::with_capacity(missing);
            while more.len() < missing
                // The gate is never closed.
                && let Ok(step) = gate.enter(caller, STEP_BYTES).await
            {
                more.push(step);
            }
            More(more)
        })
    }

    /// Keeps what was waited for.
    pub(crate) fn add(&mut self, More(steps): More) {
        self.steps.extend(steps);
    }

    /// Gives back what `bytes` don't need.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        self.steps.truncate(bytes.div_ceil(STEP_BYTES));
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const REQUEST: usize = 4 << 20;

    /// A share of `caller` that got `bytes`; `None` if it would have to wait.
    fn taken(room: &UnfinishedBytes, caller: &str, bytes: usize) -> Option<Share> {
        let mut share = room.share(&CallerKey::Token(caller.to_owned()));
        let more = share.missing(bytes).expect("it holds nothing").now_or_never()?;
        share.add(more);
        Some(share)
    }

    #[test]
    fn one_caller_leaves_room_for_a_whole_request_of_the_next() {
        let room = UnfinishedBytes::new(REQUEST);
        let greedy: Vec<_> = std::iter::from_fn(|| taken(&room, "greedy", REQUEST)).collect();
        assert_eq!(greedy.len(), 6, "24 of 32 MiB");
        assert!(taken(&room, "greedy", STEP_BYTES).is_none());
        let polite = taken(&room, "polite", REQUEST);
        assert!(polite.is_some());
        assert!(taken(&room, "third", REQUEST / 2).is_some());
        drop((greedy, polite));
        assert_eq!(room.steps_held(), 0);
    }

    #[test]
    fn a_share_grows_by_what_is_missing_and_gives_back_what_is_not_needed() {
        let room = UnfinishedBytes::new(REQUEST);
        let mut share = taken(&room, "one", 3 * STEP_BYTES + 1).expect("room");
        assert_eq!(room.steps_held(), 4);
        assert!(share.missing(4 * STEP_BYTES).is_none());
        share.add(share.missing(5 * STEP_BYTES).expect("one").now_or_never().expect("room"));
        assert_eq!(room.steps_held(), 5);
        share.shrink(STEP_BYTES);
        assert_eq!(room.steps_held(), 1);
        share.shrink(0);
        assert_eq!(room.steps_held(), 0);
    }

    #[test]
    fn a_request_of_any_size_that_may_be_sent_finds_room_alone() {
        let room = UnfinishedBytes::new(1 << 28);
        assert!(taken(&room, "one", 1 << 28).is_some());
    }
}
