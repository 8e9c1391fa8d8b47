//! Worker threads: each owns an engine, takes a batch, runs it, answers it.
//!
//! Knows engines and the scheduler's `take` and `finish`; nothing of who waits for
//! an answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::engine::{Engine, EngineError, TokenBatch};
use super::model::Model;
use super::scheduler::{Answer, Forward, Job, Scheduler};
use crate::metrics;
use crate::traces;
use opentelemetry::trace::SpanContext;

/// Delay before the next try to rebuild an engine; doubles up to the maximum.
const REBUILD_DELAY: Duration = Duration::from_millis(100);
const REBUILD_DELAY_MAX: Duration = Duration::from_secs(30);

/// Receives whether a worker's engine could be built and run.
pub(super) type WarmUp = oneshot::Receiver<Result<(), EngineError>>;

/// The running workers.
pub(super) struct Workers {
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts `count` threads; each receiver tells of one engine once it has run. Those who wait
    /// for answers do so in `runtime`.
    pub(super) fn start(
        count: usize,
        model: &Arc<Model>,
        scheduler: &Arc<Scheduler>,
        runtime: &Handle,
    ) -> std::io::Result<(Self, Vec<WarmUp>)> {
        let closing = scheduler;
        let mut threads = Vec::with_capacity(count);
        let mut warm = Vec::with_capacity(count);
        for index in 0..count {
            let (sender, receiver) = oneshot::channel();
            let (model, scheduler) = (Arc::clone(model), Arc::clone(scheduler));
            let runtime = runtime.clone();
            let thread = std::thread::Builder::new().name(format!("pounce-worker-{index}")).spawn(
                move || Worker { index, model, scheduler, runtime, engine: None }.run(sender),
            );
            // Without the rest, those that were started must end.
            threads.push(thread.inspect_err(|_| closing.close())?);
            warm.push(receiver);
        }
        Ok((Self { threads }, warm))
    }

    /// Waits until all have ended; they end when the scheduler is closed and empty.
    pub(super) fn join(self) {
        for thread in self.threads {
            // A worker catches its engine's panics; one of its own was logged by the hook.
            let _ = thread.join();
        }
    }
}

/// Builds an engine and runs it once, so that the first post finds it warm.
fn warm_up(model: &Model) -> Result<Box<dyn Engine>, EngineError> {
    let mut engine = model.engine.build()?;
    let text = model.normalisation.apply("warm up");
    let tokens = model.tokenizer.encode(&text).map_err(|e| EngineError::Load(e.to_string()))?;
    let logits = engine.logits(&TokenBatch::new([tokens.ids.as_slice()], model.padding_id))?;
    match model.labels.probabilities(&logits) {
        Some(_) => Ok(engine),
        None => Err(EngineError::Load("the model answers with numbers that are not finite".into())),
    }
}

/// Runs a batch. An engine that gives too few logits would leave posts without an answer.
fn checked(
    engine: &mut Box<dyn Engine>,
    batch: &TokenBatch,
    outputs: usize,
) -> Result<Vec<f32>, EngineError> {
    let logits = engine.logits(batch)?;
    let (got, rows) = (logits.len(), batch.rows());
    if got == rows * outputs { Ok(logits) } else { Err(EngineError::Shape { got, rows, outputs }) }
}

struct Worker {
    index: usize,
    model: Arc<Model>,
    scheduler: Arc<Scheduler>,
    runtime: Handle,
    /// `None` after a panic: the state an engine is left in is then unknown.
    engine: Option<Box<dyn Engine>>,
}

impl Worker {
    fn run(mut self, warm: oneshot::Sender<Result<(), EngineError>>) {
        match warm_up(&self.model) {
            Ok(engine) => self.engine = Some(engine),
            Err(error) => {
                let _ = warm.send(Err(error));
                return;
            }
        }
        self.scheduler.worker_alive(true);
        let _ = warm.send(Ok(()));
        while let Some(jobs) = self.scheduler.take() {
            metrics::batch_began();
            let began = Instant::now();
            self.run_batch(jobs);
            self.scheduler.running(self.index, false);
            metrics::batch_ended(began.elapsed());
            if self.engine.is_none() && !self.rebuild() {
                break;
            }
        }
        self.scheduler.worker_alive(false);
    }

    /// Answers every job: a batch that fails is halved until the culprit is alone.
    fn run_batch(&mut self, jobs: Vec<Job>) {
        let mut pending = vec![jobs];
        while let Some(mut jobs) = pending.pop() {
            if self.engine.is_none() {
                self.engine = self.try_build();
            }
            let Some(engine) = self.engine.as_mut() else {
                pending.push(jobs);
                self.scheduler.put_back(pending.into_iter().flatten().collect());
                break;
            };
            let batch = TokenBatch::new(jobs.iter().map(Job::tokens), self.model.padding_id);
            let started = Instant::now();
            self.scheduler.running(self.index, true);
            let outputs = self.model.labels.outputs();
            let result = catch_unwind(AssertUnwindSafe(|| checked(engine, &batch, outputs)));
            let error = match result {
                Ok(Ok(logits)) => {
                    self.answer(jobs, &batch, &logits, started);
                    continue;
                }
                Ok(Err(error)) => Some(error),
                Err(_) => None,
            };
            let panicked = error.is_none();
            if panicked {
                self.engine = None;
            }
            if jobs.len() > 1 {
                pending.push(jobs.split_off(jobs.len() / 2));
                pending.push(jobs);
            } else {
                let (worker, tokens) = (self.index, batch.real_tokens());
                let error = error.map(tracing::field::display);
                tracing::error!(worker, panicked, error, tokens, "the model failed on a post");
                self.finish(jobs.into_iter().map(|job| (job, None)).collect());
            }
        }
    }

    fn answer(&self, jobs: Vec<Job>, batch: &TokenBatch, logits: &[f32], started: Instant) {
        let infer = started.elapsed();
        self.scheduler.paced(infer, jobs.len(), batch.real_tokens());
        let posts: Vec<SpanContext> = jobs.iter().flat_map(Job::spans).cloned().collect();
        let padded = match self.model.engine.pads() {
            true => batch.rows() * batch.width(),
            false => batch.real_tokens(),
        };
        let span = traces::batch(&posts, batch.rows(), batch.real_tokens(), padded, infer);
        let rows = logits.chunks_exact(self.model.labels.outputs());
        let answers = rows.map(|row| {
            let probabilities = self.model.labels.probabilities(row);
            if probabilities.is_none() {
                let (worker, panicked, error) = (self.index, false, "logits are not finite");
                tracing::error!(worker, panicked, error, "the model failed on a post");
            }
            probabilities.map(|probabilities| Forward {
                probabilities,
                started,
                infer,
                span: span.clone(),
            })
        });
        self.finish(jobs.into_iter().zip(answers).collect());
    }

    /// Answers everybody who waits for the jobs, on a thread that serves sockets: from there a
    /// wake-up is a push to that thread's own queue, and from here each would be a system call, and
    /// whoever it wakes would run before the rest is there.
    fn finish(&self, jobs: Vec<(Job, Answer)>) {
        let answered = self.scheduler.finish(jobs);
        self.runtime.spawn(async move { answered.deliver() });
    }

    /// Builds the engine anew until it runs; false if the scheduler closes before.
    fn rebuild(&mut self) -> bool {
        self.engine = self.try_build();
        if self.engine.is_some() {
            return true;
        }
        self.scheduler.worker_alive(false);
        let mut delay = REBUILD_DELAY;
        while self.engine.is_none() && !self.scheduler.closes_within(delay) {
            delay = (delay * 2).min(REBUILD_DELAY_MAX);
            self.engine = self.try_build();
        }
        self.scheduler.worker_alive(true);
        self.engine.is_some()
    }

    fn try_build(&self) -> Option<Box<dyn Engine>> {
        metrics::worker_restarted();
        let worker = self.index;
        match catch_unwind(AssertUnwindSafe(|| warm_up(&self.model))) {
            Ok(Ok(engine)) => {
                tracing::warn!(worker, "engine rebuilt after a panic");
                return Some(engine);
            }
            Ok(Err(error)) => tracing::error!(worker, %error, "the engine could not be rebuilt"),
            Err(_) => tracing::error!(worker, "engine panicked while being rebuilt"),
        }
        None
    }
}
