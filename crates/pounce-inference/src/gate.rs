//! [`Admission`] for async callers: waits for room, and gives it back on drop.
//!
//! One std Mutex, held for a few map operations and never across an await.

use std::fmt;
use std::sync::{Arc, PoisonError};

use tokio::sync::oneshot;

use crate::admission::Admission;
use crate::flow_key::FlowKey;
use crate::sync::{Mutex, MutexGuard};

/// Why a post did not get in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnedAway {
    /// There is no room, and its caller holds its share of the queue.
    Full,
    /// The scorer takes no more posts.
    Closed,
}

/// Lets posts into the queue.
pub struct Gate {
    state: Mutex<State>,
}

struct State {
    admission: Admission<oneshot::Sender<Permit>>,
    closed: bool,
}

/// Room for one post, held until this is dropped.
pub struct Permit {
    gate: Arc<Gate>,
    key: FlowKey,
    bytes: usize,
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.change(|admission| admission.release(self.key, self.bytes));
    }
}

impl Gate {
    /// Room for `posts_max` posts with `bytes_max` of text.
    #[must_use]
    pub fn new(posts_max: usize, bytes_max: usize) -> Self {
        let admission = Admission::new(posts_max, bytes_max);
        Self { state: Mutex::new(State { admission, closed: false }) }
    }

    /// Room for a post of `bytes` of a caller that would rather not wait: it is turned away at once,
    /// unless others hold more than their share of the queue. Safe to drop.
    pub async fn enter_or_leave(
        self: &Arc<Self>,
        key: FlowKey,
        bytes: usize,
    ) -> Result<Permit, TurnedAway> {
        self.wait(key, bytes, |admission| admission.is_owed_room(key, bytes)).await
    }

    /// Waits for room for a post of `bytes`. Safe to drop.
    pub async fn enter(self: &Arc<Self>, key: FlowKey, bytes: usize) -> Result<Permit, TurnedAway> {
        self.wait(key, bytes, |_| true).await
    }

    /// Waits for room, if `may_wait`.
    async fn wait(
        self: &Arc<Self>,
        key: FlowKey,
        bytes: usize,
        may_wait: impl FnOnce(&Admission<oneshot::Sender<Permit>>) -> bool,
    ) -> Result<Permit, TurnedAway> {
        let (id, granted) = {
            let mut state = self.state();
            if state.closed {
                return Err(TurnedAway::Closed);
            }
            if state.admission.try_admit(key, bytes) {
                return Ok(Permit { gate: Arc::clone(self), key, bytes });
            }
            if !may_wait(&state.admission) {
                return Err(TurnedAway::Full);
            }
            let (grant, granted) = oneshot::channel();
            let id = state.admission.wait(key, bytes, grant);
            // A new flow may be first in line at once, before those of its caller that wait.
            self.admit_waiting(state);
            (id, granted)
        };
        let _waiting = Waiting { gate: self, key, id };
        granted.await.map_err(|_| TurnedAway::Closed)
    }

    /// Posts that are inside.
    pub fn posts_held(&self) -> usize {
        self.state().admission.posts_held()
    }

    /// Turns away all who wait and all who come.
    pub fn close(&self) {
        let waiting = {
            let mut state = self.state();
            state.closed = true;
            state.admission.take_waiting()
        };
        drop(waiting);
    }

    /// Makes a change that may leave room for those who wait.
    fn change(self: &Arc<Self>, change: impl FnOnce(&mut Admission<oneshot::Sender<Permit>>)) {
        let mut state = self.state();
        change(&mut state.admission);
        self.admit_waiting(state);
    }

    /// Lets in whoever waits and has room, in their order.
    fn admit_waiting(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let mut granted = Vec::new();
        while let Some((key, bytes, grant)) = state.admission.admit_next() {
            granted.push((grant, Permit { gate: Arc::clone(self), key, bytes }));
        }
        drop(state);
        for (grant, permit) in granted {
            // Whoever went away meanwhile drops the permit, which gives the room back.
            let _ = grant.send(permit);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock, so a poisoned state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a post off the list of those that wait when its future ends or is dropped.
struct Waiting<'a> {
    gate: &'a Arc<Gate>,
    key: FlowKey,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // The next in turn may have waited for the room that this one needed.
        self.gate.change(|admission| {
            admission.cancel(self.key, self.id);
        });
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::flow_key::{CallerId, FlowId};

    fn key(caller: u64) -> FlowKey {
        FlowKey { caller: CallerId(caller), flow: FlowId(caller) }
    }

    /// Enters without waiting.
    fn enter(gate: &Arc<Gate>, key: FlowKey) -> Result<Permit, TurnedAway> {
        gate.enter_or_leave(key, 10).now_or_never().expect("it need not wait")
    }

    #[test]
    fn a_permit_that_is_dropped_lets_the_next_one_in() {
        let gate = Arc::new(Gate::new(1, 100));
        let first = enter(&gate, key(1)).expect("room");
        assert_eq!(enter(&gate, key(1)).err(), Some(TurnedAway::Full));
        let mut second = Box::pin(gate.enter(key(2), 10));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        let second = second.now_or_never().expect("room").expect("open");
        assert_eq!(gate.posts_held(), 1);
        drop(second);
        assert_eq!(gate.posts_held(), 0);
    }

    #[test]
    fn whoever_gives_up_leaves_nothing_behind_granted_or_not() {
        let gate = Arc::new(Gate::new(1, 100));
        let first = enter(&gate, key(1)).expect("room");
        let mut waits = Box::pin(gate.enter(key(2), 10));
        let mut granted = Box::pin(gate.enter(key(3), 10));
        assert!(waits.as_mut().now_or_never().is_none());
        assert!(granted.as_mut().now_or_never().is_none());
        drop(waits);
        drop(first);
        assert_eq!(gate.posts_held(), 1, "granted, but not yet heard of it");
        drop(granted);
        assert_eq!(gate.posts_held(), 0);
    }

    #[test]
    fn a_new_flow_gets_in_at_once_where_its_callers_others_hold_their_share() {
        let gate = Arc::new(Gate::new(64, 1 << 20));
        let flow = |flow| FlowKey { caller: CallerId(1), flow: FlowId(flow) };
        let held: Vec<_> = std::iter::from_fn(|| enter(&gate, flow(1)).ok()).collect();
        let mut waits = Box::pin(gate.enter(flow(1), 10));
        assert!(waits.as_mut().now_or_never().is_none());
        let newcomer = gate.enter(flow(2), 10).now_or_never().expect("at once").expect("open");
        assert!(waits.as_mut().now_or_never().is_none(), "the flow that holds its share");
        drop((held, newcomer));
    }

    #[test]
    fn closing_turns_away_who_waits_and_who_comes() {
        let gate = Arc::new(Gate::new(1, 100));
        let _first = enter(&gate, key(1)).expect("room");
        let mut waits = Box::pin(gate.enter(key(2), 10));
        assert!(waits.as_mut().now_or_never().is_none());
        gate.close();
        assert!(matches!(waits.now_or_never(), Some(Err(TurnedAway::Closed))));
        assert_eq!(enter(&gate, key(3)).err(), Some(TurnedAway::Closed));
    }
}
