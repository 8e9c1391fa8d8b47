//! The posts of one stream that are not answered yet.
//!
//! One task a stream scores and counts them, so that counting waits for scores and not for
//! whoever reads the replies. With replies in sequence it also counts in sequence. Where counting
//! goes through a log, that is a step of its own: posts are scored while others wait for it. The task
//! ends, and its posts leave the queue, when the stream is dropped.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{FuturesOrdered, FuturesUnordered};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::scoring::backlog::Accepted;
use crate::scoring::pipeline::{
    AcceptedPost, CallOptions, CountedPost, CountingPost, Pipeline, ScoredPost,
};
use pounce_inference::scorer::Flow;
use pounce_proto as proto;

/// A reply, and since when it has been ready to leave.
pub(super) struct Finished {
    pub(super) reply: Result<CountedPost, proto::Rejection>,
    pub(super) ready: Instant,
}

/// What becomes a reply: a post or a rejection.
pub(super) type Job = Result<Submitted, proto::Rejection>;

/// A post to be scored.
pub(super) struct Submitted {
    pub(super) post: Box<AcceptedPost>,
    /// Its id as a rejection repeats it.
    pub(super) id: String,
    /// Its share of what streams may have accepted; given back when it is scored.
    pub(super) backlog: Accepted,
}

/// See the module.
pub(super) struct InFlight {
    jobs: mpsc::Sender<Job>,
    replies: mpsc::Receiver<Finished>,
    unanswered: usize,
}

impl InFlight {
    /// Starts the task. There may be at most `posts_max` unanswered.
    pub(super) fn start(
        pipeline: Arc<Pipeline>,
        flow: Arc<Flow>,
        options: CallOptions,
        order: proto::ReplyOrder,
        posts_max: usize,
    ) -> Self {
        let (jobs, receiver) = mpsc::channel(posts_max);
        let (sender, replies) = mpsc::channel(posts_max);
        let task = Task { pipeline, flow, options: Arc::new(options) };
        tokio::spawn(task.run(receiver, sender, order));
        Self { jobs, replies, unanswered: 0 }
    }

    pub(super) fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// Adds a post or a rejection. Call it only while fewer than `posts_max` are unanswered.
    pub(super) fn push(&mut self, job: Job) {
        self.unanswered += 1;
        // It fails only if the task has panicked: then the next reply says so.
        let _ = self.jobs.try_send(job);
    }

    /// The next reply; none if the task has ended. Safe to drop.
    pub(super) async fn next(&mut self) -> Option<Finished> {
        let finished = self.replies.recv().await?;
        self.unanswered = self.unanswered.saturating_sub(1);
        Some(finished)
    }
}

type Step<T> = Pin<Box<dyn Future<Output = Result<T, proto::Rejection>> + Send>>;

/// What is under way in one of the steps that posts go through.
enum Steps<T> {
    InSequence(FuturesOrdered<Step<T>>),
    AsReady(FuturesUnordered<Step<T>>),
}

impl<T> Steps<T> {
    fn new(order: proto::ReplyOrder) -> Self {
        match order {
            proto::ReplyOrder::Ready => Self::AsReady(FuturesUnordered::new()),
            proto::ReplyOrder::Unspecified | proto::ReplyOrder::Sequence => {
                Self::InSequence(FuturesOrdered::new())
            }
        }
    }

    fn push(&mut self, step: Step<T>) {
        match self {
            Self::InSequence(steps) => steps.push_back(step),
            Self::AsReady(steps) => steps.push(step),
        }
    }

    /// Whether one that is ready now would overtake others.
    fn holds_back(&self) -> bool {
        match self {
            Self::InSequence(steps) => !steps.is_empty(),
            Self::AsReady(_) => false,
        }
    }

    /// The next that is ready; none while nothing is under way.
    async fn next(&mut self) -> Option<Result<T, proto::Rejection>> {
        match self {
            Self::InSequence(steps) => steps.next().await,
            Self::AsReady(steps) => steps.next().await,
        }
    }
}

struct Task {
    pipeline: Arc<Pipeline>,
    flow: Arc<Flow>,
    options: Arc<CallOptions>,
}

impl Task {
    async fn run(
        self,
        mut jobs: mpsc::Receiver<Job>,
        replies: mpsc::Sender<Finished>,
        order: proto::ReplyOrder,
    ) {
        let (mut scores, mut counts) = (Steps::new(order), Steps::new(order));
        let mut open = true;
        loop {
            let reply = tokio::select! {
                biased;
                () = replies.closed() => break,
                Some(reply) = counts.next() => reply,
                Some(scored) = scores.next() => {
                    let counting = scored.map(|scored| self.pipeline.count(scored));
                    let waits = counting.as_ref().is_ok_and(CountingPost::is_pending);
                    let counted = self.counted(counting);
                    if waits || counts.holds_back() {
                        counts.push(Box::pin(counted));
                        continue;
                    }
                    counted.await
                }
                job = jobs.recv(), if open => {
                    match job {
                        Some(job) => scores.push(self.score(job)),
                        None => open = false,
                    }
                    continue;
                }
                else => break,
            };
            // There is room for every unanswered post; without a reader it ends above.
            let _ = replies.send(Finished { reply, ready: Instant::now() }).await;
        }
    }

    /// Waits for what comes of counting a post.
    fn counted(
        &self,
        counting: Result<CountingPost, proto::Rejection>,
    ) -> impl Future<Output = Result<CountedPost, proto::Rejection>> + Send + use<> {
        let pipeline = Arc::clone(&self.pipeline);
        async move { Ok(pipeline.counted(counting?).await) }
    }

    fn score(&self, job: Job) -> Step<ScoredPost> {
        let (pipeline, flow, options) =
            (Arc::clone(&self.pipeline), Arc::clone(&self.flow), Arc::clone(&self.options));
        Box::pin(async move {
            let Submitted { post, id, backlog } = job?;
            let sequence = post.sequence();
            let scored = pipeline.score(&flow, &options, post, pending()).await;
            // Before the reply wakes the stream, which then reads on if there is room.
            drop(backlog);
            scored.map_err(|refusal| refusal.rejection(id, sequence))
        })
    }
}
