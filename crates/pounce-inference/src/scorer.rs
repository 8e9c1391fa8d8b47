//! The door to inference: a text in, a score out, bounded and fair.
//!
//! Knows text, time limits and the scheduler; nothing of the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::engine::EngineError;
use super::language::KnownLanguages;
use super::model::Model;
use super::scheduler::{Answer, Place, Scheduler, TextKey};
use super::waiting::{BatchLimits, JobId, LaneId};
use super::worker::{WarmUp, Workers};
use crate::metrics::{self, DropReason};
use opentelemetry::trace::SpanContext;
use pounce_types::post::{LanguageTag, PostText};
use pounce_types::score::{Probabilities, Sentiment};

/// How much of what inference may use.
#[derive(Debug, Clone)]
pub struct ScorerLimits {
    /// Worker threads.
    pub workers: usize,
    /// Posts in the queue and in the model, over all lanes.
    pub queue_posts_max: usize,
    /// Bytes of their texts.
    pub queue_bytes_max: usize,
    /// Bytes of remembered scores; 0 remembers none.
    pub cache_bytes_max: usize,
    /// What a batch may hold.
    pub batch: BatchLimits,
}

/// A score and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// Class probabilities.
    pub probabilities: Probabilities,
    /// The class that the model's labels make of them.
    pub sentiment: Sentiment,
    /// Tokens the model read.
    pub tokens_used: usize,
    /// Tokens the text has.
    pub tokens_total: usize,
    /// Whether somebody had asked for the same text before.
    pub duplicate_text: bool,
    /// Whether the text is confidently in a language that the model does not know.
    pub foreign_language: bool,
    /// Where the time went.
    pub timings: Timings,
    /// The span of the batch it ran in, if the text's own is sampled.
    pub batch: Option<SpanContext>,
}

/// Time spent in each stage of inference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Normalising and splitting.
    pub tokenize: Duration,
    /// Waiting for room and for a worker.
    pub queue: Duration,
    /// In the model, together with the rest of the batch.
    pub infer: Duration,
}

/// Why a text got no score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScoreError {
    /// The queue is full, and the caller did not want to wait.
    #[error("the queue of {queue_posts_max} posts is full")]
    Full {
        /// The limit.
        queue_posts_max: usize,
        /// When there may be room again.
        retry_delay: Duration,
    },
    /// The deadline passed first.
    #[error("the deadline passed before the post was scored")]
    Deadline,
    /// The model failed on this text.
    #[error("the model failed on this post")]
    Failed,
    /// The service is going away.
    #[error("the service is going away")]
    Closed,
}

impl ScoreError {
    fn drop_reason(&self) -> Option<DropReason> {
        match self {
            Self::Full { .. } => Some(DropReason::Shed),
            Self::Deadline => Some(DropReason::Deadline),
            Self::Failed | Self::Closed => None,
        }
    }
}

/// What to do when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// Wait for room: streams, which are slowed by not being read.
    Wait,
    /// Say so at once: unary calls.
    Refuse,
}

/// How a text is to be scored.
#[derive(Debug, Clone)]
pub struct Wish<'a> {
    /// Its language, if the caller knows.
    pub language: Option<&'a LanguageTag>,
    /// Until when.
    pub deadline: Option<Instant>,
    /// What to do when the queue is full.
    pub when_full: WhenFull,
    /// The text's span, if it is sampled.
    pub span: Option<SpanContext>,
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
    lanes: AtomicU64,
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

/// Tells when the workers' engines have run once.
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
        let scheduler = Arc::new(Scheduler::new(limits.batch, limits.cache_bytes_max));
        let (workers, warm) = Workers::start(limits.workers, &model, &scheduler)?;
        metrics::queue_capacity(limits.queue_posts_max);
        let inner = Inner {
            known: KnownLanguages::new(&model.languages),
            model,
            scheduler,
            posts: Arc::new(Semaphore::new(limits.queue_posts_max)),
            bytes: Arc::new(Semaphore::new(limits.queue_bytes_max)),
            limits,
            lanes: AtomicU64::new(0),
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

    /// A lane of its own: posts of different lanes take turns.
    #[must_use]
    pub fn lane(&self) -> Lane {
        let id = LaneId(self.inner.lanes.fetch_add(1, Ordering::Relaxed));
        Lane { inner: Arc::clone(&self.inner), id }
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
pub struct Lane {
    inner: Arc<Inner>,
    id: LaneId,
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.inner.scheduler.forget(self.id);
    }
}

impl Lane {
    /// Scores a text. Dropping the future takes the text out of the queue.
    /// # Errors
    /// [`ScoreError`]; each costs this text alone.
    pub async fn score(&self, text: &PostText, wish: &Wish<'_>) -> Result<Scored, ScoreError> {
        let inner = &*self.inner;
        let &Wish { language, deadline, when_full, ref span } = wish;
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
        let mut fate = Fate(Some(DropReason::Cancelled));
        let queued = async {
            let _room = self.room(normalised.len(), deadline, when_full).await?;
            let place =
                inner.scheduler.enqueue(key, tokens.ids, tokens_total, self.id, span.clone());
            Ok((place.shared, self.wait(place, deadline).await?))
        };
        let answered = queued.await;
        fate.0 = answered.as_ref().err().and_then(ScoreError::drop_reason);
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

    async fn wait(&self, place: Place, deadline: Option<Instant>) -> Result<Answer, ScoreError> {
        let mut interest = Interest {
            scheduler: &self.inner.scheduler,
            job: place.job,
            waiter: place.waiter,
            over: false,
        };
        let answer = within(deadline, place.answer).await.ok_or(ScoreError::Deadline)?;
        interest.over = true;
        answer.map_err(|_| ScoreError::Closed)
    }

    /// A full queue's time through the workers, at the pace of late.
    fn retry_delay(&self) -> Duration {
        let posts = u32::try_from(self.inner.limits.queue_posts_max).unwrap_or(u32::MAX);
        let delay = self.inner.scheduler.pace_per_post().saturating_mul(posts);
        delay.clamp(Duration::from_millis(50), Duration::from_secs(10))
    }
}

/// A caller's interest in a job; ends it when the caller goes away.
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

/// Why a text was dropped without an answer, if it was; counted when its caller is done with it.
struct Fate(Option<DropReason>);

impl Drop for Fate {
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
