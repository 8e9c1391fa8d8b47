//! Hierarchical start-time fair queueing, first between callers, then between a caller's
//! flows (Goyal, Vin and Cheng, 1996). Pure.
//!
//! A job's size is its length in tokens. A new job's start tag is the virtual time, or the
//! finish tag of the job before it, whichever is later; its finish tag is its start tag plus
//! its size. The least start tag is served next. So a caller or flow that was idle is served
//! soon, and one that sends much takes turns with the others, however much it sends. A job
//! may also be served ahead of its turn, because its length suits a batch: its caller is
//! charged all the same.
//!
//! Each level's virtual time is at least the start tag of what is served, and advances with
//! every job by its size over one more than the number of those that wait (close to WF2Q+,
//! Bennett and Zhang, 1997): an endless row of newcomers, each at the virtual time, does not hold up the others.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use crate::flow_key::{CallerId, FlowId, FlowKey};

/// Identifies a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// Callers that are asked for a job of a suitable length: those that are next in turn.
const CANDIDATES: usize = 8;

/// Virtual time at which a job or a caller is to be served; equal ones in order of arrival.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct StartTag {
    time: u64,
    arrival: u64,
}

/// Jobs in fair order. Every operation takes logarithmic time in the number of jobs and callers.
#[derive(Debug, Default)]
pub struct FairQueue {
    callers: FinishTags<CallerId>,
    backlogs: HashMap<CallerId, Backlog>,
    by_tag: BTreeMap<StartTag, CallerId>,
    jobs: HashMap<JobId, Place>,
    arrivals: u64,
}

/// Where a job is in the queue.
#[derive(Debug, Clone, Copy)]
struct Place {
    key: FlowKey,
    tag: StartTag,
    length: usize,
}

/// The jobs of a caller that has any.
#[derive(Debug, Default)]
struct Backlog {
    /// Of the caller's next job, whichever it will be.
    start: StartTag,
    flows: FinishTags<FlowId>,
    /// Number of jobs of each flow.
    waiting: HashMap<FlowId, usize>,
    by_tag: BTreeMap<StartTag, (JobId, usize)>,
    by_length: BTreeMap<(usize, StartTag), JobId>,
}

impl FairQueue {
    /// Number of jobs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether there is no job.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Adds a job of `length` tokens.
    pub fn push(&mut self, job: JobId, key: FlowKey, length: usize) {
        self.arrivals += 1;
        let arrival = self.arrivals;
        let backlog = self.backlogs.entry(key.caller).or_insert_with(|| {
            let start = StartTag { time: self.callers.start(key.caller), arrival };
            self.by_tag.insert(start, key.caller);
            Backlog { start, ..Backlog::default() }
        });
        let time = backlog.flows.start(key.flow);
        backlog.flows.finish(key.flow, time + size(length));
        *backlog.waiting.entry(key.flow).or_default() += 1;
        let tag = StartTag { time, arrival };
        backlog.by_tag.insert(tag, (job, length));
        backlog.by_length.insert((length, tag), job);
        self.jobs.insert(job, Place { key, tag, length });
    }

    /// The job whose turn it is, with its length; it stays in the queue.
    #[must_use]
    pub fn first(&self) -> Option<(JobId, usize)> {
        let caller = self.by_tag.first_key_value()?.1;
        self.backlogs.get(caller)?.by_tag.first_key_value().map(|(_, &job)| job)
    }

    /// Takes out the job whose turn it is, with its length.
    pub fn pop(&mut self) -> Option<(JobId, usize)> {
        let (&start, &caller) = self.by_tag.first_key_value()?;
        let backlog = self.backlogs.get_mut(&caller)?;
        let (&tag, &(job, length)) = backlog.by_tag.first_key_value()?;
        self.callers.advance_to(start.time);
        backlog.flows.advance_to(tag.time);
        self.serve(job);
        Some((job, length))
    }

    /// Of the callers next in turn, the job for which `cost` is least; of equals the one
    /// whose turn comes first. `cost` is asked of the nearest lengths on both sides of
    /// `length`. The job stays in the queue until [`FairQueue::serve`].
    #[must_use]
    pub fn best_fit(&self, length: usize, cost: impl Fn(usize) -> f64) -> Option<(JobId, usize)> {
        let callers = self.by_tag.values().take(CANDIDATES);
        let backlogs = callers.filter_map(|caller| self.backlogs.get(caller));
        let fits = backlogs.flat_map(|backlog| backlog.nearest(length)).flatten();
        let first = |(job, length)| (cost(length), (job, length));
        // `min_by` keeps the first of equals.
        let least = fits.map(first).min_by(|(a, _), (b, _)| a.total_cmp(b));
        least.map(|(_, fit)| fit)
    }

    /// Takes a job out and charges its caller for it; false if it is not in the queue.
    pub fn serve(&mut self, job: JobId) -> bool {
        self.take(job, true)
    }

    /// Takes a job out that is no longer wanted; false if it is not in the queue.
    pub fn remove(&mut self, job: JobId) -> bool {
        self.take(job, false)
    }

    fn take(&mut self, job: JobId, charged: bool) -> bool {
        let Some(Place { key, tag, length }) = self.jobs.remove(&job) else { return false };
        let (callers, caller) = (self.backlogs.len(), key.caller);
        let Some(backlog) = self.backlogs.get_mut(&caller) else { return false };
        backlog.by_tag.remove(&tag);
        backlog.by_length.remove(&(length, tag));
        let before = backlog.start;
        if charged {
            self.callers.advance_by(size(length), callers);
            backlog.flows.advance_by(size(length), backlog.waiting.len());
            self.arrivals += 1;
            let time = before.time + size(length);
            backlog.start = StartTag { time, arrival: self.arrivals };
        } else {
            backlog.flows.forgive(key.flow, size(length));
        }
        if let Entry::Occupied(mut jobs) = backlog.waiting.entry(key.flow) {
            *jobs.get_mut() -= 1;
            if *jobs.get() == 0 {
                jobs.remove();
            }
        }
        let (start, ended) = (backlog.start, backlog.by_tag.is_empty());
        if ended {
            self.by_tag.remove(&before);
            self.backlogs.remove(&caller);
            self.callers.finish(caller, start.time);
        } else if charged {
            self.by_tag.remove(&before);
            self.by_tag.insert(start, caller);
        }
        if self.jobs.is_empty() {
            self.callers.end_busy_period();
        }
        true
    }
}

impl Backlog {
    /// The first job of the nearest length up to `length`, and of the nearest above it.
    fn nearest(&self, length: usize) -> [Option<(JobId, usize)>; 2] {
        let floor = StartTag::default();
        let first_of = |length: usize| {
            let (&(length, _), &job) = self.by_length.range((length, floor)..).next()?;
            Some((job, length))
        };
        let up_to = self.by_length.range(..(length + 1, floor)).next_back();
        [up_to.and_then(|(&(length, _), _)| first_of(length)), first_of(length + 1)]
    }
}

/// One level's virtual time, and the finish tags that are ahead of it.
#[derive(Debug)]
struct FinishTags<K> {
    virtual_time: u64,
    tags: HashMap<K, u64>,
    /// Number of tags from which those that no longer matter are removed.
    prune_at: usize,
}

const PRUNE_MIN: usize = 64;

impl<K> Default for FinishTags<K> {
    fn default() -> Self {
        Self { virtual_time: 0, tags: HashMap::new(), prune_at: PRUNE_MIN }
    }
}

impl<K: Hash + Eq> FinishTags<K> {
    /// Start tag of the next job of `key`.
    fn start(&self, key: K) -> u64 {
        self.tags.get(&key).map_or(self.virtual_time, |&finish| finish.max(self.virtual_time))
    }

    fn finish(&mut self, key: K, tag: u64) {
        if self.tags.len() >= self.prune_at {
            let now = self.virtual_time;
            self.tags.retain(|_, finish| *finish > now);
            // Twice what is left: pruning costs constant time a job.
            self.prune_at = (2 * self.tags.len()).max(PRUNE_MIN);
        }
        self.tags.insert(key, tag);
    }

    /// A job of `key` was not served: those that come next don't wait for it.
    fn forgive(&mut self, key: K, size: u64) {
        if let Some(finish) = self.tags.get_mut(&key) {
            *finish = finish.saturating_sub(size);
        }
    }

    fn advance_to(&mut self, start: u64) {
        self.virtual_time = self.virtual_time.max(start);
    }

    /// A job of `size` was served while `waiting` had jobs.
    fn advance_by(&mut self, size: u64, waiting: usize) {
        // One more than wait: a newcomer comes before those that have just been served.
        self.virtual_time += size / (waiting as u64 + 1);
    }

    /// Nobody waits: nobody owes anything to anybody, and time begins again.
    fn end_busy_period(&mut self) {
        self.virtual_time = 0;
        self.tags.clear();
    }
}

/// Size of a job of `length` tokens: in small parts, so that it can be divided.
fn size(length: usize) -> u64 {
    // An empty text takes a turn, too.
    (length.max(1) as u64) << 20
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(caller: u64, flow: u64) -> FlowKey {
        FlowKey { caller: CallerId(caller), flow: FlowId(flow) }
    }

    fn served(queue: &mut FairQueue, jobs: usize) -> Vec<u64> {
        (0..jobs).map(|_| queue.pop().expect("a job waits").0.0).collect()
    }

    #[test]
    fn callers_take_turns_however_many_flows_they_have() {
        let mut queue = FairQueue::default();
        for job in 0..100 {
            queue.push(JobId(job), key(1, job), 10);
        }
        for job in 100..110 {
            queue.push(JobId(job), key(2, 0), 10);
        }
        let first = served(&mut queue, 20);
        assert_eq!(first.iter().filter(|job| **job >= 100).count(), 10, "{first:?}");
    }

    #[test]
    fn flows_of_a_caller_take_turns() {
        let mut queue = FairQueue::default();
        for job in 0..100 {
            queue.push(JobId(job), key(1, 1), 10);
        }
        served(&mut queue, 1);
        queue.push(JobId(100), key(1, 2), 10);
        assert_eq!(served(&mut queue, 2), [100, 1]);
    }

    #[test]
    fn a_caller_with_long_posts_gets_as_many_tokens_as_one_with_short_posts() {
        let mut queue = FairQueue::default();
        for job in 0..100 {
            queue.push(JobId(job), key(1, 1), 100);
            queue.push(JobId(1000 + job), key(2, 2), 10);
        }
        let long = served(&mut queue, 44).iter().filter(|job| **job < 1000).count();
        assert_eq!(long, 4, "40 short posts are as many tokens as 4 long ones");
    }

    #[test]
    fn a_caller_is_charged_for_jobs_served_ahead_of_their_turn() {
        let mut queue = FairQueue::default();
        for job in 0..10 {
            queue.push(JobId(job), key(1, 1), 10);
            queue.push(JobId(10 + job), key(2, 2), 20);
        }
        for job in 0..6 {
            assert!(queue.serve(JobId(job)));
        }
        assert_eq!(served(&mut queue, 3), [10, 11, 12], "60 tokens for the other caller");
    }

    #[test]
    fn who_was_idle_gets_no_credit_and_owes_nothing_after_a_pause() {
        let mut queue = FairQueue::default();
        for job in 0..50 {
            queue.push(JobId(job), key(1, 1), 10);
        }
        served(&mut queue, 50);
        for job in 50..54 {
            queue.push(JobId(job), key(1, 1), 10);
            queue.push(JobId(10 + job), key(2, 2), 10);
        }
        assert_eq!(served(&mut queue, 4), [50, 60, 51, 61]);
    }

    #[test]
    fn jobs_that_are_no_longer_wanted_cost_their_flow_nothing() {
        let mut queue = FairQueue::default();
        for job in 0..100 {
            queue.push(JobId(job), key(1, 1), 10);
        }
        for job in 100..200 {
            queue.push(JobId(job), key(1, 2), 10);
            assert!(queue.remove(JobId(job)));
        }
        queue.push(JobId(200), key(1, 2), 10);
        assert!(served(&mut queue, 2).contains(&200), "the flow's first job is served soon");
    }

    #[test]
    fn time_begins_again_when_nobody_waits() {
        let mut queue = FairQueue::default();
        // 2^44 and more in all: without an end, the tags of so many would not fit.
        for job in 0..40 {
            queue.push(JobId(job), key(1, 1), 1 << 40);
            queue.push(JobId(1_000 + job), key(2, 1), 1 << 40);
            assert_eq!(served(&mut queue, 2), [job, 1_000 + job]);
        }
    }

    #[test]
    fn one_shot_flows_leave_nothing_behind() {
        let mut queue = FairQueue::default();
        queue.push(JobId(0), key(1, 0), 1_000_000);
        for job in 1..100_000 {
            queue.push(JobId(job), key(job % 100, job), 1);
            queue.push(JobId(1_000_000 + job), key(1_000 + job, 0), 1);
            queue.pop();
            queue.pop();
        }
        let tags: usize = queue.backlogs.values().map(|backlog| backlog.flows.tags.len()).sum();
        assert!(tags + queue.callers.tags.len() < 10 * PRUNE_MIN, "{tags} of {}", queue.len());
    }

    #[test]
    fn an_endless_row_of_newcomers_does_not_hold_up_a_steady_stream() {
        for same_caller in [true, false] {
            let mut queue = FairQueue::default();
            let stream = key(1, 1);
            (0..100).for_each(|job| queue.push(JobId(job), stream, 10));
            let mut newcomer = 100;
            let mut from_stream = 0;
            for _ in 0..100_000 {
                while queue.len() < 104 - from_stream {
                    newcomer += 1;
                    let caller = if same_caller { 1 } else { newcomer };
                    queue.push(JobId(newcomer), key(caller, newcomer), 10);
                }
                let (JobId(job), _) = queue.pop().expect("jobs wait");
                from_stream += usize::from(job < 100);
                if from_stream == 50 {
                    break;
                }
            }
            assert_eq!(from_stream, 50);
            let others = newcomer - 100;
            assert!(others < 10 * 50, "{others} newcomers before 50 posts of the stream");
        }
    }

    proptest! {
        /// The bound of start-time fair queueing: while two callers both wait, what they
        /// were served differs by no more than their two longest jobs.
        #[test]
        fn backlogged_callers_are_served_alike(
            jobs in prop::collection::vec((0_u64..4, 0_u64..3, 1_usize..100), 1..200),
        ) {
            let mut queue = FairQueue::default();
            let mut left = [0_usize; 4];
            for (job, &(caller, flow, length)) in jobs.iter().enumerate() {
                queue.push(JobId(job as u64), key(caller, 10 * caller + flow), length);
                left[usize::try_from(caller).expect("small")] += 1;
            }
            let mut tokens = [0_usize; 4];
            while let Some((JobId(job), length)) = queue.pop() {
                let caller = jobs[usize::try_from(job).expect("small")].0;
                let caller = usize::try_from(caller).expect("small");
                tokens[caller] += length;
                left[caller] -= 1;
                let waiting = (0..4).filter(|&caller| left[caller] > 0).map(|caller| tokens[caller]);
                let (least, most) = waiting.fold((usize::MAX, 0), |(a, b), t| (a.min(t), b.max(t)));
                prop_assert!(most == 0 || most - least <= 200, "{tokens:?}");
            }
            prop_assert_eq!(left, [0; 4]);
        }
    }
}
