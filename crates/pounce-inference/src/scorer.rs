//! The entry point of inference: a text in, a score out, bounded and fair.

use std::hash::{BuildHasher, Hash, RandomState};
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use pounce_types::post::PostText;
use tokio::runtime::Handle;

use crate::batching::BatchLimits;
use crate::engine::EngineError;
use crate::flow_key::{CallerId, FlowId, FlowKey};
use crate::gate::Gate;
pub use crate::limits::ScorerLimits;
use crate::metrics;
use crate::model::Model;
use crate::pipeline::Pipeline;
use crate::scheduler::Scheduler;
pub use crate::scored::{ScoreError, ScoreOptions, Scored, Timings, WhenFull};
use crate::text::TextStage;
use crate::text_pool::TextPool;
use crate::worker::{WarmUp, Workers};

/// Workers that one thread for long texts can feed; such a text takes the model far longer.
const WORKERS_PER_TEXT_THREAD: usize = 8;

/// Scores texts with a pool of workers. Cheap to clone.
#[derive(Clone)]
pub struct Scorer {
    inner: Arc<Inner>,
}

struct Inner {
    pipeline: Arc<Pipeline>,
    /// Keyed at random, so that nobody can choose a name to share another caller's id.
    caller_ids: RandomState,
    /// Number of the last flow.
    flows: AtomicU64,
}

/// Worker threads that run until [`Scorer::close`].
pub struct ScorerHandle {
    workers: Workers,
    text_threads: Vec<JoinHandle<()>>,
}

impl ScorerHandle {
    /// Blocks until every thread has ended. Call it after [`Scorer::close`],
    /// off the async threads.
    pub fn join(self) {
        self.workers.join();
        for thread in self.text_threads {
            // Panics of its work are caught; one of its own was logged by the hook.
            let _ = thread.join();
        }
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
    /// Starts the workers. Returns at once; the third value tells when they are warm. Call it
    /// within the runtime whose tasks will wait for scores.
    /// # Errors
    /// If a limit is out of its range, or the system gives no more threads; no thread is
    /// left behind then.
    pub fn start(
        model: Model,
        limits: ScorerLimits,
    ) -> std::io::Result<(Self, ScorerHandle, Warm)> {
        limits.check().map_err(|error| std::io::Error::new(ErrorKind::InvalidInput, error))?;
        let model = Arc::new(model);
        let padding_max = limits.batch.padding_max.filter(|_| model.engine.pads());
        let batch = BatchLimits { padding_max, ..limits.batch };
        let limits = ScorerLimits { batch, ..limits };
        let scheduler = Arc::new(Scheduler::new(&limits));
        let (text_pool, text_threads) =
            TextPool::start(limits.workers.div_ceil(WORKERS_PER_TEXT_THREAD))?;
        let (workers, warm) =
            Workers::start(limits.workers, &model, &scheduler, &Handle::current())
                .inspect_err(|_| text_pool.close())?;
        metrics::queue_capacity(limits.queue_posts_max);
        let pipeline = Pipeline {
            gate: Arc::new(Gate::new(limits.queue_posts_max, limits.queue_bytes_max)),
            text: Arc::new(TextStage::new(Arc::clone(&model), Arc::clone(&scheduler))),
            model,
            limits,
            scheduler,
            text_pool,
        };
        let inner = Inner {
            pipeline: Arc::new(pipeline),
            caller_ids: RandomState::new(),
            flows: AtomicU64::new(0),
        };
        Ok((Self { inner: Arc::new(inner) }, ScorerHandle { workers, text_threads }, Warm(warm)))
    }

    /// The model being served.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.inner.pipeline.model
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> &ScorerLimits {
        &self.inner.pipeline.limits
    }

    /// A new flow of `caller`, such as a stream. Callers take turns, and the flows of each
    /// caller take turns in what is its.
    #[must_use]
    pub fn flow(&self, caller: &impl Hash) -> Flow {
        let flow = FlowId(self.inner.flows.fetch_add(1, Ordering::Relaxed) + 1);
        self.with_key(FlowKey { caller: self.caller_id(caller), flow })
    }

    /// The flow that all unary calls of `caller` share, so that many short calls get no more
    /// than one stream.
    #[must_use]
    pub fn shared_flow(&self, caller: &impl Hash) -> Flow {
        self.with_key(FlowKey::shared(self.caller_id(caller)))
    }

    fn caller_id(&self, caller: &impl Hash) -> CallerId {
        CallerId(self.inner.caller_ids.hash_one(caller))
    }

    fn with_key(&self, key: FlowKey) -> Flow {
        Flow { pipeline: Arc::clone(&self.inner.pipeline), key }
    }

    /// Lets threads end once the queue is empty; texts that come later are refused.
    pub fn close(&self) {
        let pipeline = &self.inner.pipeline;
        pipeline.gate.close();
        pipeline.text_pool.close();
        pipeline.scheduler.close();
    }

    /// Posts that were admitted and not yet answered.
    #[must_use]
    pub fn posts_open(&self) -> usize {
        self.inner.pipeline.gate.posts_held()
    }

    /// Expected time that each token adds to the queue while all workers are busy, from recent
    /// batches; `None` before the first.
    #[must_use]
    pub fn pace_per_token(&self) -> Option<Duration> {
        self.inner.pipeline.scheduler.pace_per_token()
    }

    /// Workers with an engine.
    #[must_use]
    pub fn workers_alive(&self) -> usize {
        self.inner.pipeline.scheduler.workers_alive()
    }

    /// The longest time that a worker has been at one run of the model; zero while none has a
    /// batch. Shows it as a metric, too: ask from time to time.
    #[must_use]
    pub fn longest_run(&self) -> Duration {
        let longest = self.inner.pipeline.scheduler.longest_run();
        metrics::longest_run(longest);
        longest
    }
}

/// One stream's or call's way into the queue.
pub struct Flow {
    pipeline: Arc<Pipeline>,
    key: FlowKey,
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
        self.pipeline.score(self.key, text, options).await
    }
}
