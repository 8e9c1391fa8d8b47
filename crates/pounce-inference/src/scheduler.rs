//! Who waits for which score: one job a distinct text, any number of waiters.
//!
//! The synchronous meeting point of callers and workers, behind one std Mutex
//! that is held for a few map operations and never across an await or a run of
//! the model. Knows tokens and lanes; nothing of engines or text.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use quick_cache::unsync::Cache;
use tokio::sync::oneshot;

use super::waiting::{BatchLimits, JobId, LaneId, Waiting};
use crate::metrics;
use opentelemetry::trace::SpanContext;
use pounce_types::score::Probabilities;

/// How often an idle worker shows that it lives.
const BEAT: Duration = Duration::from_secs(1);

/// Memory of one cached score: key, value and the cache's own books.
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

/// The model's word on one text.
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
    lane: LaneId,
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

/// A caller's place in the queue.
pub(super) struct Place {
    pub(super) job: JobId,
    pub(super) waiter: u64,
    /// Whether somebody else had asked for the same text before.
    pub(super) shared: bool,
    pub(super) answer: oneshot::Receiver<Answer>,
}

struct Waiter {
    id: u64,
    answer: oneshot::Sender<Answer>,
    span: Option<SpanContext>,
}

/// A job that somebody waits for.
struct Open {
    key: TextKey,
    waiters: Vec<Waiter>,
    tokens_total: usize,
    /// Taken out when a worker takes the job.
    waiting: Option<(Vec<i32>, LaneId)>,
}

struct State {
    waiting: Waiting,
    open: HashMap<JobId, Open>,
    by_text: HashMap<TextKey, JobId>,
    cache: Cache<TextKey, Cached>,
    next: u64,
    closed: bool,
    /// Worker time a post, smoothed over about 16 batches.
    pace: Duration,
}

/// The queue between callers and workers.
pub(super) struct Scheduler {
    state: Mutex<State>,
    arrived: Condvar,
    limits: BatchLimits,
    alive: AtomicUsize,
    born: Instant,
    last_beat_millis: AtomicU64,
}

impl Scheduler {
    pub(super) fn new(limits: BatchLimits, cache_bytes_max: usize) -> Self {
        Self {
            state: Mutex::new(State {
                waiting: Waiting::default(),
                open: HashMap::new(),
                by_text: HashMap::new(),
                cache: Cache::new(cache_bytes_max / CACHE_ENTRY_BYTES),
                next: 0,
                closed: false,
                pace: Duration::ZERO,
            }),
            arrived: Condvar::new(),
            limits,
            alive: AtomicUsize::new(0),
            born: Instant::now(),
            last_beat_millis: AtomicU64::new(0),
        }
    }

    /// The score of a text that was scored before.
    pub(super) fn cached(&self, key: &TextKey) -> Option<Cached> {
        self.state().cache.get(key).copied()
    }

    /// Queues a text of `tokens_total` tokens, of which `ids` are read, or joins
    /// those who wait for the same text.
    pub(super) fn enqueue(
        &self,
        key: TextKey,
        ids: Vec<i32>,
        tokens_total: usize,
        lane: LaneId,
        span: Option<SpanContext>,
    ) -> Place {
        let (sender, answer) = oneshot::channel();
        let mut state = self.state();
        let id = state.next;
        let waiter = Waiter { id, answer: sender, span };
        state.next += 1;
        if let Some(&job) = state.by_text.get(&key)
            && let Some(open) = state.open.get_mut(&job)
        {
            open.waiters.push(waiter);
            return Place { job, waiter: id, shared: true, answer };
        }
        let job = JobId(id);
        // It may have been scored since the caller looked.
        if let Some(&Cached { probabilities, .. }) = state.cache.get(&key) {
            let (started, infer) = (Instant::now(), Duration::ZERO);
            let _ = waiter.answer.send(Some(Forward { probabilities, started, infer, span: None }));
            return Place { job, waiter: id, shared: true, answer };
        }
        state.waiting.push(job, lane, ids.len());
        state.by_text.insert(key, job);
        let waiting = Some((ids, lane));
        state.open.insert(job, Open { key, waiters: vec![waiter], tokens_total, waiting });
        metrics::queue_length(state.waiting.posts());
        drop(state);
        self.arrived.notify_one();
        Place { job, waiter: id, shared: false, answer }
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
            metrics::queue_length(state.waiting.posts());
        }
    }

    /// Forgets a lane that will queue no more.
    pub(super) fn forget(&self, lane: LaneId) {
        self.state().waiting.forget(lane);
    }

    /// Takes the next batch; blocks until there is one. `None` once closed and empty.
    pub(super) fn take(&self) -> Option<Vec<Job>> {
        let mut state = self.state();
        let (ids, closed) = loop {
            self.beat();
            if let Some(batch) = state.waiting.next_batch(&self.limits) {
                break batch;
            }
            if state.closed {
                return None;
            }
            let waited = self.arrived.wait_timeout(state, BEAT);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        };
        let mut jobs = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(open) = state.open.get_mut(&id) else { continue };
            let Some((ids, lane)) = open.waiting.take() else { continue };
            let spans = open.waiters.iter().filter_map(|waiter| waiter.span.clone()).collect();
            jobs.push(Job { id, key: open.key, ids, lane, spans });
        }
        metrics::queue_length(state.waiting.posts());
        drop(state);
        let width = jobs.iter().map(|job| job.ids.len()).max().unwrap_or(0);
        let real = jobs.iter().map(|job| job.ids.len()).sum();
        metrics::batch_formed(jobs.len(), real, jobs.len() * width, closed);
        Some(jobs)
    }

    /// Gives jobs back that a worker can't run now.
    pub(super) fn put_back(&self, jobs: Vec<Job>) {
        let mut state = self.state();
        for job in jobs {
            if let Some(open) = state.open.get_mut(&job.id) {
                let length = job.ids.len();
                open.waiting = Some((job.ids, job.lane));
                state.waiting.push(job.id, job.lane, length);
            }
        }
        drop(state);
        self.arrived.notify_all();
    }

    /// Answers everybody who waits for the jobs of a batch and remembers their scores.
    pub(super) fn finish(&self, jobs: Vec<(Job, Answer)>) {
        let mut answered = Vec::with_capacity(jobs.len());
        let mut state = self.state();
        for (job, answer) in jobs {
            state.by_text.remove(&job.key);
            let Some(open) = state.open.remove(&job.id) else { continue };
            if let Some(forward) = &answer {
                let cached = Cached {
                    probabilities: forward.probabilities,
                    tokens_used: job.ids.len(),
                    tokens_total: open.tokens_total,
                };
                state.cache.insert(job.key, cached);
            }
            answered.push((open.waiters, answer, job));
        }
        drop(state);
        // All at once, so that a stream wakes once for what a batch has of it.
        for (waiters, answer, _) in answered {
            for waiter in waiters {
                // The waiter may have left in between: then nobody needs the answer.
                let _ = waiter.answer.send(answer.clone());
            }
        }
    }

    /// Hears how much worker time each post of a batch took.
    pub(super) fn paced(&self, per_post: Duration) {
        let mut state = self.state();
        state.pace = (state.pace * 15 + per_post) / 16;
    }

    /// Time between two scores when all workers are busy, at the pace of late.
    pub(super) fn pace_per_post(&self) -> Duration {
        let workers = u32::try_from(self.workers_alive().max(1)).unwrap_or(u32::MAX);
        self.state().pace / workers
    }

    /// Lets workers end once the queue is empty.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_all();
    }

    /// Waits up to `delay`; true as soon as the scheduler is closed.
    pub(super) fn closes_within(&self, delay: Duration) -> bool {
        let waited = self.arrived.wait_timeout_while(self.state(), delay, |state| !state.closed);
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

    /// Time since a worker last asked for work.
    pub(super) fn since_last_beat(&self) -> Duration {
        let beat = Duration::from_millis(self.last_beat_millis.load(Ordering::Relaxed));
        self.born.elapsed().saturating_sub(beat)
    }

    fn beat(&self) {
        let millis = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_beat_millis.store(millis, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock, so a poisoned state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
