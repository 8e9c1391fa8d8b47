//! Which post may enter the queue, and who is next when it is full. Pure.
//!
//! A quarter of all room is kept for those who hold little: the last eighth for callers,
//! the eighth before it for flows. The fuller the queue, the less a caller or flow may hold
//! to get in: no more than the room that is left (Choudhury and Hahne's dynamic thresholds,
//! 1998). So whoever comes new finds room, and nobody who got in is ever put out again.
//! Those who wait get in by what they hold: first the caller, then the flow of it, that
//! holds the fewest posts.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::flow_key::{CallerId, FlowId, FlowKey};

/// One of two equal parts of the reserve is an n-th of all room.
const RESERVE_PART: usize = 8;

/// What is held of a bounded resource.
#[derive(Debug, Clone, Copy)]
struct Room {
    max: usize,
    held: usize,
}

impl Room {
    /// What is not kept for those who hold little.
    fn shared(self) -> usize {
        self.max - 2 * (self.max / RESERVE_PART)
    }

    /// Whether `cost` more may be held by a flow that holds `flow`, of a caller that holds
    /// `caller`.
    fn admits(self, cost: usize, flow: usize, caller: usize) -> bool {
        let reserve = self.max / RESERVE_PART;
        let held = self.held.saturating_add(cost);
        held <= self.shared()
            || held.saturating_add(flow) <= self.max - reserve
            || held.saturating_add(caller) <= self.max
    }
}

/// What a caller or flow holds.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    posts: usize,
    bytes: usize,
    /// When it last got in: of those that hold equally much, the one that got in longest
    /// ago is next.
    admitted: u64,
}

/// Order in which callers, and flows of a caller, get in: the fewest posts held first.
type Rank = (usize, u64);

impl Share {
    fn rank(&self) -> Rank {
        (self.posts, self.admitted)
    }

    fn add(&mut self, bytes: usize, admitted: u64) {
        self.posts += 1;
        self.bytes += bytes;
        self.admitted = admitted;
    }

    fn remove(&mut self, bytes: usize) {
        self.posts -= 1;
        self.bytes -= bytes;
    }
}

/// Admits posts; `W` is what the caller of this file remembers of one that waits.
#[derive(Debug)]
pub struct Admission<W> {
    posts: Room,
    bytes: Room,
    callers: HashMap<CallerId, Caller<W>>,
    waiting: BTreeSet<(Rank, CallerId)>,
    steps: u64,
}

#[derive(Debug)]
struct Caller<W> {
    share: Share,
    /// What waits of all its flows.
    waits: Amount,
    flows: HashMap<FlowId, Flow<W>>,
    waiting: BTreeSet<(Rank, FlowId)>,
}

#[derive(Debug)]
struct Flow<W> {
    share: Share,
    waits: Amount,
    waiting: VecDeque<Waiting<W>>,
}

/// A number of posts, and the bytes of their texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Amount {
    posts: usize,
    bytes: usize,
}

impl<W> Flow<W> {
    fn push(&mut self, waiting: Waiting<W>) {
        self.waits.posts += 1;
        self.waits.bytes += waiting.bytes;
        self.waiting.push_back(waiting);
    }

    fn left(&mut self, waiting: &Waiting<W>) {
        self.waits.posts -= 1;
        self.waits.bytes -= waiting.bytes;
    }

    fn pop(&mut self) -> Option<Waiting<W>> {
        let next = self.waiting.pop_front()?;
        self.left(&next);
        Some(next)
    }

    /// Whether it was there.
    fn remove(&mut self, id: u64) -> bool {
        let position = self.waiting.iter().position(|waiting| waiting.id == id);
        let Some(removed) = position.and_then(|position| self.waiting.remove(position)) else {
            return false;
        };
        self.left(&removed);
        true
    }
}

#[derive(Debug)]
struct Waiting<W> {
    id: u64,
    bytes: usize,
    value: W,
}

impl<W> Admission<W> {
    /// Bounds the posts that are held at a time, and the bytes of their texts.
    #[must_use]
    pub fn new(posts_max: usize, bytes_max: usize) -> Self {
        Self {
            posts: Room { max: posts_max, held: 0 },
            bytes: Room { max: bytes_max, held: 0 },
            callers: HashMap::new(),
            waiting: BTreeSet::new(),
            steps: 0,
        }
    }

    /// Posts that are held.
    #[must_use]
    pub fn posts_held(&self) -> usize {
        self.posts.held
    }

    /// Lets a post in, unless the room is short or somebody who holds no more waits for it.
    /// Each post that got in is to be released.
    pub fn try_admit(&mut self, key: FlowKey, bytes: usize) -> bool {
        let bytes = self.clamped(bytes);
        let caller = self.callers.get(&key.caller);
        let flow = caller.and_then(|caller| caller.flows.get(&key.flow));
        let caller_share = caller.map_or_else(Share::default, |caller| caller.share);
        let flow_share = flow.map_or_else(Share::default, |flow| flow.share);
        let first = match self.waiting.first() {
            None => true,
            Some(&((held, _), _)) => caller_share.posts < held,
        };
        if !first || !self.fits(bytes, &flow_share, &caller_share) {
            return false;
        }
        self.admit(key, bytes);
        true
    }

    /// Whether a post of `bytes` that finds no room should wait for it rather than be turned away:
    /// with it, its caller has no more than an equal share of the queue, so that others are the cause.
    /// Those that wait so are no more than fit into the queue, or one for each caller.
    #[must_use]
    pub fn is_owed_room(&self, key: FlowKey, bytes: usize) -> bool {
        let caller = self.callers.get(&key.caller);
        let has = caller.map_or(Amount::default(), |caller| Amount {
            posts: caller.share.posts + caller.waits.posts,
            bytes: caller.share.bytes + caller.waits.bytes,
        });
        let callers = self.callers.len() + usize::from(caller.is_none());
        has.posts == 0
            || has.posts < self.posts.shared() / callers
                && has.bytes.saturating_add(bytes) <= self.bytes.shared() / callers
    }

    /// Adds a post to those that wait; returns an id to [`Admission::cancel`] it with.
    pub fn wait(&mut self, key: FlowKey, bytes: usize, value: W) -> u64 {
        let bytes = self.clamped(bytes);
        self.steps += 1;
        let id = self.steps;
        self.change(key, |flow, _| flow.push(Waiting { id, bytes, value }));
        id
    }

    /// Gives up waiting; false if the post does not wait any more.
    pub fn cancel(&mut self, key: FlowKey, id: u64) -> bool {
        if !self.callers.get(&key.caller).is_some_and(|caller| caller.flows.contains_key(&key.flow))
        {
            return false;
        }
        self.change(key, |flow, _| flow.remove(id))
    }

    /// Gives back the room of a post that got in with `bytes`.
    pub fn release(&mut self, key: FlowKey, bytes: usize) {
        let bytes = self.clamped(bytes);
        self.posts.held -= 1;
        self.bytes.held -= bytes;
        self.change(key, |flow, caller| {
            flow.share.remove(bytes);
            caller.remove(bytes);
        });
    }

    /// Lets in the next post that waits, if there is room for it: its flow, its bytes, and
    /// what was remembered of it.
    pub fn admit_next(&mut self) -> Option<(FlowKey, usize, W)> {
        let &(_, id) = self.waiting.first()?;
        let caller = self.callers.get(&id)?;
        let &(_, flow_id) = caller.waiting.first()?;
        let flow = caller.flows.get(&flow_id)?;
        let bytes = flow.waiting.front()?.bytes;
        if !self.fits(bytes, &flow.share, &caller.share) {
            return None;
        }
        let key = FlowKey { caller: id, flow: flow_id };
        let next = self.change(key, |flow, _| flow.pop())?;
        self.admit(key, bytes);
        Some((key, bytes, next.value))
    }

    /// Takes out all that wait.
    pub fn take_waiting(&mut self) -> Vec<W> {
        self.waiting.clear();
        let mut values = Vec::new();
        for caller in self.callers.values_mut() {
            caller.waiting.clear();
            caller.waits = Amount::default();
            for flow in caller.flows.values_mut() {
                flow.waits = Amount::default();
                values.extend(flow.waiting.drain(..).map(|waiting| waiting.value));
            }
            caller.flows.retain(|_, flow| flow.share.posts > 0);
        }
        self.callers.retain(|_, caller| caller.share.posts > 0);
        values
    }

    /// A post larger than the whole bound would wait for ever: it takes all there is.
    fn clamped(&self, bytes: usize) -> usize {
        bytes.min(self.bytes.max)
    }

    fn fits(&self, bytes: usize, flow: &Share, caller: &Share) -> bool {
        self.posts.admits(1, flow.posts, caller.posts)
            && self.bytes.admits(bytes, flow.bytes, caller.bytes)
    }

    fn admit(&mut self, key: FlowKey, bytes: usize) {
        self.posts.held += 1;
        self.bytes.held += bytes;
        self.steps += 1;
        let step = self.steps;
        self.change(key, |flow, caller| {
            flow.share.add(bytes, step);
            caller.add(bytes, step);
        });
    }

    /// Changes a flow and its caller's share, and keeps the orders and the maps in step:
    /// who holds nothing and waits for nothing is forgotten.
    fn change<T>(&mut self, key: FlowKey, change: impl FnOnce(&mut Flow<W>, &mut Share) -> T) -> T {
        let caller = self.callers.entry(key.caller).or_insert_with(|| Caller {
            share: Share::default(),
            waits: Amount::default(),
            flows: HashMap::new(),
            waiting: BTreeSet::new(),
        });
        let flow = caller.flows.entry(key.flow).or_insert_with(|| Flow {
            share: Share::default(),
            waits: Amount::default(),
            waiting: VecDeque::new(),
        });
        let (caller_rank, flow_rank) = (caller.share.rank(), flow.share.rank());
        let (caller_waited, flow_waited) = (!caller.waiting.is_empty(), !flow.waiting.is_empty());
        let waited = flow.waits;

        let result = change(flow, &mut caller.share);

        caller.waits.posts = caller.waits.posts - waited.posts + flow.waits.posts;
        caller.waits.bytes = caller.waits.bytes - waited.bytes + flow.waits.bytes;
        let (waits, rank) = (!flow.waiting.is_empty(), flow.share.rank());
        let idle = !waits && flow.share.posts == 0;
        if flow_waited && (!waits || rank != flow_rank) {
            caller.waiting.remove(&(flow_rank, key.flow));
        }
        if waits && (!flow_waited || rank != flow_rank) {
            caller.waiting.insert((rank, key.flow));
        }
        if idle {
            caller.flows.remove(&key.flow);
        }
        let (waits, rank) = (!caller.waiting.is_empty(), caller.share.rank());
        let idle = caller.flows.is_empty();
        if caller_waited && (!waits || rank != caller_rank) {
            self.waiting.remove(&(caller_rank, key.caller));
        }
        if waits && (!caller_waited || rank != caller_rank) {
            self.waiting.insert((rank, key.caller));
        }
        if idle {
            self.callers.remove(&key.caller);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POSTS_MAX: usize = 1024;
    const BYTES_MAX: usize = 1 << 20;

    fn key(caller: u64, flow: u64) -> FlowKey {
        FlowKey { caller: CallerId(caller), flow: FlowId(flow) }
    }

    fn admission() -> Admission<u64> {
        Admission::new(POSTS_MAX, BYTES_MAX)
    }

    /// Fills the queue from `flows` in turn and lets each wait with `backlog` more.
    fn fill(admission: &mut Admission<u64>, flows: &[FlowKey], backlog: u64) {
        while flows.iter().filter(|&&flow| admission.try_admit(flow, 100)).count() > 0 {}
        for &flow in flows {
            for n in 0..backlog {
                admission.wait(flow, 100, n);
            }
        }
    }

    #[test]
    fn room_is_kept_for_callers_that_hold_little() {
        let mut admission = admission();
        let greedy: Vec<_> = (1..=50).map(|caller| key(caller, caller)).collect();
        fill(&mut admission, &greedy, 64);
        assert!(admission.posts_held() > POSTS_MAX * 9 / 10, "{}", admission.posts_held());
        for _ in 0..10 {
            assert!(admission.try_admit(key(99, 0), 100), "a caller that holds little");
        }
        assert!(!admission.try_admit(greedy[0], 100), "one that holds its share");
    }

    #[test]
    fn room_is_kept_for_a_callers_other_flows() {
        let mut admission = admission();
        let greedy: Vec<_> = (1..=50).map(|flow| key(1, flow)).collect();
        fill(&mut admission, &greedy, 64);
        assert!(admission.wait(key(1, 99), 100, 0) > 0);
        assert_eq!(admission.admit_next().map(|(key, ..)| key), Some(key(1, 99)));
        let held = admission.posts_held();
        assert!(admission.try_admit(key(2, 200), 100), "another caller at {held}");
    }

    #[test]
    fn who_holds_less_than_an_equal_share_is_owed_room() {
        let mut admission = admission();
        let greedy: Vec<_> = (1..=3).map(|caller| key(caller, caller)).collect();
        fill(&mut admission, &greedy, 0);
        assert!(greedy.iter().all(|&flow| !admission.is_owed_room(flow, 100)), "a third each");
        // With a fourth caller a share is a quarter: it is owed so many and no more.
        let owed = (0..POSTS_MAX)
            .take_while(|_| {
                let owed = admission.is_owed_room(key(9, 9), 100);
                owed && admission.wait(key(9, 9), 100, 0) > 0
            })
            .count();
        assert_eq!(owed, POSTS_MAX * 3 / 4 / 4);
    }

    #[test]
    fn who_fills_the_queue_with_long_texts_is_owed_nothing() {
        let mut admission = admission();
        let long = BYTES_MAX / 32;
        while admission.try_admit(key(1, 1), long) {}
        assert!(!admission.is_owed_room(key(1, 2), long), "a few posts are its share of the bytes");
        assert!(admission.is_owed_room(key(2, 2), long));
        let owed = (0..POSTS_MAX)
            .take_while(|_| {
                let owed = admission.is_owed_room(key(2, 2), long);
                owed && admission.wait(key(2, 2), long, 0) > 0
            })
            .count();
        assert_eq!(owed * long, BYTES_MAX * 3 / 4 / 2);
    }

    #[test]
    fn one_caller_alone_may_use_three_quarters() {
        let mut admission = admission();
        fill(&mut admission, &[key(1, 1)], 0);
        assert_eq!(admission.posts_held(), POSTS_MAX * 3 / 4);
        let mut small = Admission::<()>::new(3, BYTES_MAX);
        assert!((0..3).all(|_| small.try_admit(key(1, 1), 1)));
        assert!(!small.try_admit(key(2, 2), 1), "a queue of three has no reserve");
    }

    #[test]
    fn who_holds_least_gets_in_first() {
        let mut admission = admission();
        fill(&mut admission, &[key(1, 1), key(1, 2), key(2, 3)], 64);
        for _ in 0..200 {
            admission.release(key(2, 3), 100);
        }
        let next: Vec<_> = std::iter::from_fn(|| admission.admit_next()).take(50).collect();
        assert!(next.iter().all(|(flow, ..)| *flow == key(2, 3)), "{next:?}");
    }

    #[test]
    fn a_long_post_gets_its_turn_among_short_ones() {
        let mut admission = Admission::new(1000, 1000);
        while admission.try_admit(key(1, 1), 10) {}
        admission.wait(key(2, 2), 1000, "long");
        assert!(!admission.try_admit(key(1, 1), 1));
        while admission.posts_held() > 0 {
            assert!(admission.admit_next().is_none(), "no room for a post as large as all");
            admission.release(key(1, 1), 10);
            assert!(!admission.try_admit(key(1, 1), 10), "the long post is before it");
        }
        assert_eq!(admission.admit_next().map(|(.., value)| value), Some("long"));
    }

    #[test]
    fn a_post_larger_than_all_room_takes_all_of_it() {
        let mut admission = Admission::<()>::new(10, 100);
        assert!(admission.try_admit(key(1, 1), usize::MAX));
        assert!(!admission.try_admit(key(2, 1), 1));
        admission.release(key(1, 1), usize::MAX);
        assert!(admission.try_admit(key(2, 1), 1));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Try(u64, u64, usize),
        Wait(u64, u64, usize),
        Cancel(usize),
        Release(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let (caller, flow, bytes) = (0_u64..5, 0_u64..3, 0_usize..200);
        prop_oneof![
            (caller.clone(), flow.clone(), bytes.clone()).prop_map(|(c, f, b)| Step::Try(c, f, b)),
            (caller, flow, bytes).prop_map(|(c, f, b)| Step::Wait(c, f, b)),
            (0_usize..50).prop_map(Step::Cancel),
            (0_usize..50).prop_map(Step::Release),
        ]
    }

    proptest! {
        /// Bounds hold at every step, the books agree with a plain list, and in the end
        /// everybody who waited got in exactly once.
        #[test]
        fn bounds_hold_and_nobody_is_forgotten(steps in prop::collection::vec(step(), 1..300)) {
            let mut admission = Admission::new(20, 1000);
            let mut held: Vec<(FlowKey, usize)> = Vec::new();
            let mut waiting: Vec<(FlowKey, u64, usize)> = Vec::new();
            let mut ticket = 0;
            for step in steps {
                match step {
                    Step::Try(caller, flow, bytes) => {
                        if admission.try_admit(key(caller, flow), bytes) {
                            held.push((key(caller, flow), bytes));
                        }
                    }
                    Step::Wait(caller, flow, bytes) => {
                        ticket += 1;
                        let id = admission.wait(key(caller, flow), bytes, ticket);
                        waiting.push((key(caller, flow), id, ticket));
                    }
                    Step::Cancel(n) if !waiting.is_empty() => {
                        let (flow, id, _) = waiting.remove(n % waiting.len());
                        prop_assert!(admission.cancel(flow, id));
                        prop_assert!(!admission.cancel(flow, id));
                    }
                    Step::Release(n) if !held.is_empty() => {
                        let (flow, bytes) = held.remove(n % held.len());
                        admission.release(flow, bytes);
                    }
                    Step::Cancel(_) | Step::Release(_) => {}
                }
                while let Some((flow, bytes, ticket)) = admission.admit_next() {
                    let place = waiting.iter().position(|(.., waits)| *waits == ticket);
                    waiting.remove(place.expect("it waited"));
                    held.push((flow, bytes));
                }
                prop_assert_eq!(admission.posts_held(), held.len());
                prop_assert!(held.len() <= 20);
                prop_assert!(held.iter().map(|(_, bytes)| bytes).sum::<usize>() <= 1000);
            }
            while let Some((flow, bytes)) = held.pop() {
                admission.release(flow, bytes);
                while let Some((flow, bytes, ticket)) = admission.admit_next() {
                    waiting.retain(|(.., waits)| *waits != ticket);
                    held.push((flow, bytes));
                }
            }
            prop_assert!(waiting.is_empty());
            prop_assert!(admission.callers.is_empty() && admission.waiting.is_empty());
        }
    }
}
