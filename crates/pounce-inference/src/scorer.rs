//! The entry point of inference: a text in, a score out, bounded and fair.
//!
//! Knows text, time limits and the scheduler; nothing of the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::batching::{BatchLimits, FlowId, JobId};
use super::engine::EngineError;
use super::language::KnownLanguages;
use super::model::Model;
use super::scheduler::{Answer, Scheduler, TextKey, Ticket};
pub use super::scored::{ScoreError, ScoreOptions, Scored, Timings, WhenFull};
use super::worker::{WarmUp, Workers};
use crate::metrics::{self, DropReason};
use pounce_types::post::PostText;

/// How much of what inference may use.
#[derive(Debug, Clone)]
pub struct ScorerLimits {
    /// Worker threads.
    pub workers: usize,
    /// Posts that may be queued or in the model at a time, over all flows.
    pub queue_posts_max: usize,
    /// Bytes of the texts of these posts.
    pub queue_bytes_max: usize,
    /// Bytes of the cache of scores; 0 turns it off.
    pub cache_bytes_max: usize,
    /// What a batch may hold.
    pub batch: BatchLimits,
}

/// Scores texts with a pool of workers. Cheap to clone.
#[derive(Clone)]
pub struct Scorer {
    inner: Arc<Inner>,
}

struct Inner {
    model: Arc<Model>,
    known: KnownLanguages,
    scheduler: Arc<Scheduler>,
    posts: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    limits: ScorerLimits,
    flows: AtomicU64,
}

/// Worker threads that run until [`Scorer::close`].
pub struct ScorerHandle {
    workers: Workers,
}

impl ScorerHandle {
    /// Blocks until every worker has ended. Call it after [`Scorer::close`],
    /// off the async threads.
    pub fn join(self) {
        self.workers.join();
    }
}

/// Completes as the workers' engines have run once.
pub struct Warm(Vec<WarmUp>);

impl Warm {
    /// Waits for one of the engines: then the model can be run.
    /// # Errors
    /// [`EngineError`] if it can't be built or run.
    pub async fn first(&mut self) -> Result<(), EngineError> {
        let Some(engine) = self.0.pop() else { return Ok(()) };
        engine.await.unwrap_or_else(|_| {
            Err(EngineError::Load("a worker panicked while building its engine".into()))
        })
    }

    /// Waits for all that are left.
    /// # Errors
    /// As [`Warm::first`].
    pub async fn all(mut self) -> Result<(), EngineError> {
        while !self.0.is_empty() {
            self.first().await?;
        }
        Ok(())
    }
}

impl Scorer {
    /// Starts the workers. Returns at once; the third value tells when they are warm.
    /// # Errors
    /// If the system gives no more threads.
    pub fn start(
        model: Model,
        limits: ScorerLimits,
    ) -> std::io::Result<(Self, ScorerHandle, Warm)> {
        let model = Arc::new(model);
        let padding_max = limits.batch.padding_max.filter(|_| model.engine.pads());
        let batch = BatchLimits { padding_max, ..limits.batch };
        let scheduler = Arc::new(Scheduler::new(batch, limits.cache_bytes_max));
        let (workers, warm) = Workers::start(limits.workers, &model, &scheduler)?;
        metrics::queue_capacity(limits.queue_posts_max);
        let inner = Inner {
            known: KnownLanguages::new(&model.languages),
            model,
            scheduler,
            posts: Arc::new(Semaphore::new(limits.queue_posts_max)),
            bytes: Arc::new(Semaphore::new(limits.queue_bytes_max)),
            limits,
            flows: AtomicU64::new(0),
        };
        Ok((Self { inner: Arc::new(inner) }, ScorerHandle { workers }, Warm(warm)))
    }

    /// The model being served.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.inner.model
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> &ScorerLimits {
        &self.inner.limits
    }

    /// A new flow: posts of different flows take turns.
    #[must_use]
    pub fn flow(&self) -> Flow {
        let id = FlowId(self.inner.flows.fetch_add(1, Ordering::Relaxed));
        Flow { inner: Arc::clone(&self.inner), id }
    }

    /// Lets workers end once the queue is empty; texts that come later are refused.
    pub fn close(&self) {
        self.inner.posts.close();
        self.inner.scheduler.close();
    }

    /// Texts that somebody waits for, queued or in the model.
    #[must_use]
    pub fn posts_open(&self) -> usize {
        self.inner.limits.queue_posts_max - self.inner.posts.available_permits()
    }

    /// Workers with an engine.
    #[must_use]
    pub fn workers_alive(&self) -> usize {
        self.inner.scheduler.workers_alive()
    }

    /// Time since a worker last asked for work.
    #[must_use]
    pub fn since_last_beat(&self) -> Duration {
        self.inner.scheduler.since_last_beat()
    }
}

/// One stream's or call's way into the queue.
pub struct Flow {
    inner: Arc<Inner>,
    id: FlowId,
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.inner.scheduler.forget(self.id);
    }
}

impl Flow {
    /// Scores a text. Dropping the future takes the text out of the queue.
    /// # Errors
    /// [`ScoreError`]; each costs this text alone.
    pub async fn score(
        &self,
        text: &PostText,
        options: &ScoreOptions<'_>,
    ) -> Result<Scored, ScoreError> {
        let inner = &*self.inner;
        let &ScoreOptions { language, deadline, when_full, ref span } = options;
        let entered = Instant::now();
        let normalised = inner.model.normalisation.apply(text.as_str());
        let foreign_language = inner.known.is_foreign(&normalised, language);
        let key = TextKey::of(&normalised);
        if let Some(cached) = inner.scheduler.cached(&key) {
            let timings = Timings { tokenize: entered.elapsed(), ..Timings::default() };
            return Ok(Scored {
                probabilities: cached.probabilities,
                sentiment: inner.model.labels.sentiment(&cached.probabilities),
                tokens_used: cached.tokens_used,
                tokens_total: cached.tokens_total,
                duplicate_text: true,
                foreign_language,
                timings,
                batch: None,
            });
        }
        let tokens = inner.model.tokenizer.encode(&normalised).map_err(|error| {
            tracing::error!(%error, "a text can't be split");
            ScoreError::Failed
        })?;
        let tokenized = Instant::now();

        let (tokens_used, tokens_total) = (tokens.ids.len(), tokens.total);
        let mut guard = DropGuard(Some(DropReason::Cancelled));
        let queued = async {
            let _room = self.room(normalised.len(), deadline, when_full).await?;
            let ticket =
                inner.scheduler.enqueue(key, tokens.ids, tokens_total, self.id, span.clone());
            Ok((ticket.shared, self.wait(ticket, deadline).await?))
        };
        let answered = queued.await;
        guard.0 = answered.as_ref().err().and_then(DropGuard::reason);
        let (duplicate_text, answer) = answered?;

        let forward = answer.ok_or(ScoreError::Failed)?;
        let timings = Timings {
            tokenize: tokenized - entered,
            queue: Instant::from_std(forward.started).saturating_duration_since(tokenized),
            infer: forward.infer,
        };
        metrics::post_inferred(&timings);
        Ok(Scored {
            probabilities: forward.probabilities,
            sentiment: inner.model.labels.sentiment(&forward.probabilities),
            tokens_used,
            tokens_total,
            duplicate_text,
            foreign_language,
            timings,
            batch: forward.span,
        })
    }

    /// Room for one post of `bytes`; held until the answer is there.
    async fn room(
        &self,
        bytes: usize,
        deadline: Option<Instant>,
        when_full: WhenFull,
    ) -> Result<[OwnedSemaphorePermit; 2], ScoreError> {
        let inner = &*self.inner;
        // A post larger than the whole bound would wait for ever: it takes all there is.
        let bytes = u32::try_from(bytes.clamp(1, inner.limits.queue_bytes_max)).unwrap_or(u32::MAX);
        let (posts, texts) = (Arc::clone(&inner.posts), Arc::clone(&inner.bytes));
        if when_full == WhenFull::Refuse {
            let full = |_| ScoreError::Full {
                queue_posts_max: inner.limits.queue_posts_max,
                retry_delay: self.retry_delay(),
            };
            if posts.is_closed() {
                return Err(ScoreError::Closed);
            }
            let post = posts.try_acquire_owned().map_err(full)?;
            return Ok([post, texts.try_acquire_many_owned(bytes).map_err(full)?]);
        }
        let both = async {
            let post = posts.acquire_owned().await?;
            Ok::<_, tokio::sync::AcquireError>([post, texts.acquire_many_owned(bytes).await?])
        };
        let room = within(deadline, both).await.ok_or(ScoreError::Deadline)?;
        room.map_err(|_| ScoreError::Closed)
    }

    async fn wait(&self, ticket: Ticket, deadline: Option<Instant>) -> Result<Answer, ScoreError> {
        let mut interest = Interest {
            scheduler: &self.inner.scheduler,
            job: ticket.job,
            waiter: ticket.waiter,
            over: false,
        };
        let answer = within(deadline, ticket.answer).await.ok_or(ScoreError::Deadline)?;
        interest.over = true;
        answer.map_err(|_| ScoreError::Closed)
    }

    /// Expected time for the workers to empty a full queue.
    fn retry_delay(&self) -> Duration {
        let posts = u32::try_from(self.inner.limits.queue_posts_max).unwrap_or(u32::MAX);
        let delay = self.inner.scheduler.pace_per_post().saturating_mul(posts);
        delay.clamp(Duration::from_millis(50), Duration::from_secs(10))
    }
}

/// Takes a waiter out of the queue when its future is dropped before the answer.
struct Interest<'a> {
    scheduler: &'a Scheduler,
    job: JobId,
    waiter: u64,
    /// The answer has come.
    over: bool,
}

impl Drop for Interest<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.scheduler.leave(self.job, self.waiter);
        }
    }
}

/// Counts a post as dropped, for the reason it holds, when its future ends or is dropped.
struct DropGuard(Option<DropReason>);

impl DropGuard {
    /// The reason to count for a post that ended in `error`, if any.
    fn reason(error: &ScoreError) -> Option<DropReason> {
        match error {
            ScoreError::Full { .. } => Some(DropReason::Shed),
            ScoreError::Deadline => Some(DropReason::Deadline),
            ScoreError::Failed | ScoreError::Closed => None,
        }
    }
}

impl Drop for DropGuard {
    fn drop(&mut self) {
        if let Some(reason) = self.0 {
            metrics::posts_dropped(reason);
        }
    }
}

/// Awaits `future` until `deadline`, without end if there is none.
async fn within<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    match deadline {
        Some(at) => tokio::time::timeout_at(at, future).await.ok(),
        None => Some(future.await),
    }
}
