//! Who waits for which score: one job a caller and distinct text, any number of waiters.
//!
//! Connects async callers with worker threads through one std Mutex
//! that is held for a few map operations and never across an await or a run of
//! the model. Knows tokens and lanes; nothing of engines or text.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use quick_cache::unsync::Cache;
use tokio::sync::oneshot;

use super::batching::{self, BatchLimits};
use super::fair_queue::{FairQueue, JobId};
use super::flow_key::{CallerId, FlowKey};
use super::limits::ScorerLimits;
use crate::metrics;
use crate::sync::{AtomicU64, AtomicUsize, Condvar, Mutex, MutexGuard};
use opentelemetry::trace::SpanContext;
use pounce_types::score::Probabilities;

/// The time of a run that is none.
const IDLE: u64 = u64::MAX;

/// Memory of one cached score: key, value and the cache's overhead.
const CACHE_ENTRY_BYTES: usize = 128;

/// Identifies a text: its hash. Blake3, so that nobody can write two texts with
/// one key and have one answered with the other's score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TextKey([u8; 32]);

impl TextKey {
    pub(super) fn of(text: &str) -> Self {
        Self(*blake3::hash(text.as_bytes()).as_bytes())
    }
}

/// What a job is shared by: a caller does not wait in the place of another, who may have sent
/// thousands of texts before this one.
type SharedKey = (CallerId, TextKey);

/// The model's answer for one text.
#[derive(Debug, Clone)]
pub(super) struct Forward {
    pub(super) probabilities: Probabilities,
    /// When the batch began to run.
    pub(super) started: Instant,
    /// How long the batch ran.
    pub(super) infer: Duration,
    /// The batch's span, if one of its posts is sampled.
    pub(super) span: Option<SpanContext>,
}

/// What a waiter hears; `None`: the model failed on this very text.
pub(super) type Answer = Option<Forward>;

/// A text that a worker has taken.
pub(super) struct Job {
    id: JobId,
    key: TextKey,
    ids: Vec<i32>,
    flow: FlowKey,
    spans: Vec<SpanContext>,
}

impl Job {
    /// Token ids.
    pub(super) fn tokens(&self) -> &[i32] {
        &self.ids
    }

    /// Spans of those who wait for it.
    pub(super) fn spans(&self) -> &[SpanContext] {
        &self.spans
    }
}

/// A score that was found without the model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cached {
    pub(super) probabilities: Probabilities,
    pub(super) tokens_used: usize,
    pub(super) tokens_total: usize,
}

/// What a caller holds while it waits for an answer.
pub(super) struct Ticket {
    pub(super) job: JobId,
    pub(super) waiter: u64,
    /// Whether the same text had been asked for before.
    pub(super) shared: bool,
    pub(super) answer: oneshot::Receiver<Answer>,
}

struct Waiter {
    id: u64,
    answer: oneshot::Sender<Answer>,
    span: Option<SpanContext>,
}

/// The answers of a batch, and those who wait for them.
#[must_use = "whoever waits is answered by `deliver`"]
pub(super) struct Answered(Vec<(Vec<Waiter>, Answer)>);

impl Answered {
    /// Answers them all.
    pub(super) fn deliver(self) {
        for (waiters, answer) in self.0 {
            for waiter in waiters {
                // The waiter may have left in between: then nobody needs the answer.
                let _ = waiter.answer.send(answer.clone());
            }
        }
    }
}

/// A job that somebody waits for.
struct Open {
    key: SharedKey,
    waiters: Vec<Waiter>,
    tokens_total: usize,
    /// Taken out when a worker takes the job.
    waiting: Option<(Vec<i32>, FlowKey)>,
}

struct State {
    waiting: FairQueue,
    open: HashMap<JobId, Open>,
    by_text: HashMap<SharedKey, JobId>,
    cache: Cache<TextKey, Cached>,
    next: u64,
    /// Workers that wait for a job.
    idle: usize,
    closed: bool,
    /// Worker time a post, smoothed over about 16 batches.
    pace: Duration,
    /// Worker time a token, smoothed over 4 batches where it rises and 16 where it falls.
    token_pace: Option<Duration>,
}

/// The queue between callers and workers.
pub(super) struct Scheduler {
    state: Mutex<State>,
    /// Wakes idle workers, and nobody else: a wake-up that went to another would be lost.
    arrived: Condvar,
    /// Wakes workers that wait to rebuild their engine.
    closing: Condvar,
    limits: BatchLimits,
    alive: AtomicUsize,
    started: Instant,
    /// When each worker began its run of the model, in milliseconds since `started`.
    runs: Box<[AtomicU64]>,
}

impl Scheduler {
    pub(super) fn new(limits: &ScorerLimits) -> Self {
        Self {
            state: Mutex::new(State {
                waiting: FairQueue::default(),
                open: HashMap::new(),
                by_text: HashMap::new(),
                cache: Cache::new(limits.cache_bytes_max / CACHE_ENTRY_BYTES),
                next: 0,
                idle: 0,
                closed: false,
                pace: Duration::ZERO,
                token_pace: None,
            }),
            arrived: Condvar::new(),
            closing: Condvar::new(),
            limits: limits.batch,
            alive: AtomicUsize::new(0),
            started: Instant::now(),
            runs: (0..limits.workers).map(|_| AtomicU64::new(IDLE)).collect(),
        }
    }

    /// The score of a text that was scored before.
    pub(super) fn cached(&self, key: &TextKey) -> Option<Cached> {
        self.state().cache.get(key).copied()
    }

    /// Queues a text of `tokens_total` tokens, of which `ids` are read, or joins
    /// those of the same caller who wait for the same text.
    pub(super) fn enqueue(
        &self,
        key: TextKey,
        ids: Vec<i32>,
        tokens_total: usize,
        flow: FlowKey,
        span: Option<SpanContext>,
    ) -> Ticket {
        let (sender, answer) = oneshot::channel();
        let mut state = self.state();
        let id = state.next;
        let waiter = Waiter { id, answer: sender, span };
        state.next += 1;
        let shared = (flow.caller, key);
        if let Some(&job) = state.by_text.get(&shared)
            && let Some(open) = state.open.get_mut(&job)
        {
            open.waiters.push(waiter);
            return Ticket { job, waiter: id, shared: true, answer };
        }
        let job = JobId(id);
        // It may have been scored since the caller looked.
        if let Some(&Cached { probabilities, .. }) = state.cache.get(&key) {
            let (started, infer) = (Instant::now(), Duration::ZERO);
            let _ = waiter.answer.send(Some(Forward { probabilities, started, infer, span: None }));
            return Ticket { job, waiter: id, shared: true, answer };
        }
        state.waiting.push(job, flow, ids.len());
        state.by_text.insert(shared, job);
        let waiting = Some((ids, flow));
        state.open.insert(job, Open { key: shared, waiters: vec![waiter], tokens_total, waiting });
        metrics::queue_length(state.waiting.len());
        let idle = state.idle > 0;
        drop(state);
        // A busy worker looks at the queue before it waits: waking nobody costs a system call.
        if idle {
            self.arrived.notify_one();
        }
        Ticket { job, waiter: id, shared: false, answer }
    }

    /// Takes a waiter's interest back; a text that nobody waits for any more
    /// leaves the queue.
    pub(super) fn leave(&self, job: JobId, waiter: u64) {
        let mut state = self.state();
        let Some(open) = state.open.get_mut(&job) else { return };
        open.waiters.retain(|other| other.id != waiter);
        if open.waiters.is_empty() && open.waiting.is_some() {
            let key = open.key;
            state.open.remove(&job);
            state.by_text.remove(&key);
            state.waiting.remove(job);
            metrics::queue_length(state.waiting.len());
        }
    }

    /// Takes the next batch; blocks until there is one. `None` once closed and empty.
    pub(super) fn take(&self) -> Option<Vec<Job>> {
        let mut state = self.state();
        let (ids, closed) = loop {
            let workers = self.workers_alive();
            if let Some(batch) = batching::next_batch(&mut state.waiting, &self.limits, workers) {
                break batch;
            }
            if state.closed {
                return None;
            }
            state.idle += 1;
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        };
        let mut jobs = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(open) = state.open.get_mut(&id) else { continue };
            let Some((ids, flow)) = open.waiting.take() else { continue };
            let spans = open.waiters.iter().filter_map(|waiter| waiter.span.clone()).collect();
            jobs.push(Job { id, key: open.key.1, ids, flow, spans });
        }
        metrics::queue_length(state.waiting.len());
        drop(state);
        let width = jobs.iter().map(|job| job.ids.len()).max().unwrap_or(0);
        let real = jobs.iter().map(|job| job.ids.len()).sum();
        let padded = if self.limits.padding_max.is_some() { jobs.len() * width } else { real };
        metrics::batch_formed(jobs.len(), real, padded, closed);
        Some(jobs)
    }

    /// Returns jobs that a worker can't run now to the queue.
    pub(super) fn put_back(&self, jobs: Vec<Job>) {
        let mut state = self.state();
        for job in jobs {
            if let Some(open) = state.open.get_mut(&job.id) {
                let length = job.ids.len();
                open.waiting = Some((job.ids, job.flow));
                state.waiting.push(job.id, job.flow, length);
            }
        }
        drop(state);
        self.arrived.notify_all();
    }

    /// Ends the jobs of a batch and remembers their scores; what it returns answers everybody who
    /// waits for them.
    pub(super) fn finish(&self, jobs: Vec<(Job, Answer)>) -> Answered {
        let mut answered = Vec::with_capacity(jobs.len());
        let mut state = self.state();
        for (job, answer) in jobs {
            state.by_text.remove(&(job.flow.caller, job.key));
            let Some(open) = state.open.remove(&job.id) else { continue };
            if let Some(forward) = &answer {
                let cached = Cached {
                    probabilities: forward.probabilities,
                    tokens_used: job.ids.len(),
                    tokens_total: open.tokens_total,
                };
                state.cache.insert(job.key, cached);
            }
            answered.push((open.waiters, answer));
        }
        Answered(answered)
    }

    /// Records how much worker time a batch took.
    pub(super) fn paced(&self, infer: Duration, posts: usize, tokens: usize) {
        let each = |count: usize| infer / u32::try_from(count.max(1)).unwrap_or(u32::MAX);
        let mut state = self.state();
        state.pace = (state.pace * 15 + each(posts)) / 16;
        // Quick to believe in slower workers, slow to believe in faster ones: what is promised
        // by this pace has to be kept.
        let now = each(tokens);
        let before = state.token_pace.unwrap_or(now);
        let weight = if now > before { 4 } else { 16 };
        state.token_pace = Some((before * (weight - 1) + now) / weight);
    }

    /// Expected time between two scores while all workers are busy, from recent batches.
    pub(super) fn pace_per_post(&self) -> Duration {
        let workers = u32::try_from(self.workers_alive().max(1)).unwrap_or(u32::MAX);
        self.state().pace / workers
    }

    /// Expected time that each token adds to the queue while all workers are busy, from recent
    /// batches; `None` before the first.
    pub(super) fn pace_per_token(&self) -> Option<Duration> {
        let workers = u32::try_from(self.workers_alive().max(1)).unwrap_or(u32::MAX);
        self.state().token_pace.map(|pace| pace / workers)
    }

    /// Lets workers end once the queue is empty.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_all();
        self.closing.notify_all();
    }

    /// Waits up to `delay`; true as soon as the scheduler is closed.
    pub(super) fn closes_within(&self, delay: Duration) -> bool {
        let waited = self.closing.wait_timeout_while(self.state(), delay, |state| !state.closed);
        waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    pub(super) fn worker_alive(&self, alive: bool) {
        let before = if alive {
            self.alive.fetch_add(1, Ordering::Relaxed) + 1
        } else {
            self.alive.fetch_sub(1, Ordering::Relaxed) - 1
        };
        metrics::workers(before);
    }

    /// Workers with an engine.
    pub(super) fn workers_alive(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }

    /// A worker begins a run of the model, or has ended the last one of its batch.
    pub(super) fn running(&self, worker: usize, running: bool) {
        let since = if running { self.millis() } else { IDLE };
        if let Some(run) = self.runs.get(worker) {
            run.store(since, Ordering::Relaxed);
        }
    }

    /// The longest time that a worker has been at one run of the model.
    pub(super) fn longest_run(&self) -> Duration {
        let now = self.millis();
        let runs = self.runs.iter().map(|run| run.load(Ordering::Relaxed));
        // An idle worker's time is later than now.
        let longest = runs.map(|since| now.saturating_sub(since)).max();
        Duration::from_millis(longest.unwrap_or(0))
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock, so a poisoned state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow_key::FlowId;

    const LIMITS: ScorerLimits = ScorerLimits {
        workers: 1,
        queue_posts_max: 200,
        queue_bytes_max: 20_000,
        cache_bytes_max: 1 << 14,
        batch: BatchLimits { posts_max: 2, tokens_max: 64, padding_max: None },
    };

    #[test]
    fn a_text_that_another_caller_has_queued_has_a_place_of_its_own() {
        let scheduler = Scheduler::new(&LIMITS);
        scheduler.worker_alive(true);
        let ask = |caller: u64, text: &str| {
            let flow = FlowKey { caller: CallerId(caller), flow: FlowId(0) };
            scheduler.enqueue(TextKey::of(text), vec![1; 3], 3, flow, None)
        };
        let theirs: Vec<_> = (0..100).map(|n| ask(1, &format!("post {n}"))).collect();
        let mut ours = ask(2, "post 99");
        assert!(ask(2, "post 99").shared && ask(1, "post 99").shared, "one job a caller");
        let probabilities = Probabilities::of_sentiment(0.5, 0.25, 0.25);
        for _ in 0..2 {
            let (started, infer) = (Instant::now(), Duration::ZERO);
            let answer = Some(Forward { probabilities, started, infer, span: None });
            let jobs = scheduler.take().expect("jobs wait");
            let answered = jobs.into_iter().map(|job| (job, answer.clone())).collect();
            scheduler.finish(answered).deliver();
        }
        assert!(ours.answer.try_recv().is_ok(), "it did not wait for a hundred of another's");
        drop(theirs);
    }
}
