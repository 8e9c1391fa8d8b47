//! The posts of one stream that are not answered yet.
//!
//! One task a stream scores and counts them, so that counting waits for scores and not for
//! whoever reads the replies. With replies in sequence it also counts in sequence. The task
//! ends, and its posts leave the queue, when the stream is dropped.

use std::pin::Pin;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{FuturesOrdered, FuturesUnordered};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::scoring::backlog::Accepted;
use crate::scoring::pipeline::{AcceptedPost, CallOptions, CountedPost, Pipeline, ScoredPost};
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
    pub(super) post: AcceptedPost,
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
        let scores = match order {
            proto::ReplyOrder::Ready => Scores::AsReady(FuturesUnordered::new()),
            proto::ReplyOrder::Unspecified | proto::ReplyOrder::Sequence => {
                Scores::InSequence(FuturesOrdered::new())
            }
        };
        let task = Task { pipeline, flow, options: Arc::new(options) };
        tokio::spawn(task.run(receiver, sender, scores));
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

type Score = Pin<Box<dyn Future<Output = Result<ScoredPost, proto::Rejection>> + Send>>;

enum Scores {
    InSequence(FuturesOrdered<Score>),
    AsReady(FuturesUnordered<Score>),
}

impl Scores {
    fn push(&mut self, score: Score) {
        match self {
            Self::InSequence(scores) => scores.push_back(score),
            Self::AsReady(scores) => scores.push(score),
        }
    }

    /// The next score; none while nothing is being scored.
    async fn next(&mut self) -> Option<Result<ScoredPost, proto::Rejection>> {
        match self {
            Self::InSequence(scores) => scores.next().await,
            Self::AsReady(scores) => scores.next().await,
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
        mut scores: Scores,
    ) {
        let mut open = true;
        loop {
            tokio::select! {
                biased;
                () = replies.closed() => break,
                Some(scored) = scores.next() => {
                    let reply = scored.map(|scored| self.pipeline.count(scored));
                    let finished = Finished { reply, ready: Instant::now() };
                    // There is room for every unanswered post; without a reader it ends above.
                    let _ = replies.send(finished).await;
                }
                job = jobs.recv(), if open => match job {
                    Some(job) => scores.push(self.score(job)),
                    None => open = false,
                },
                else => break,
            }
        }
    }

    fn score(&self, job: Job) -> Score {
        let (pipeline, flow, options) =
            (Arc::clone(&self.pipeline), Arc::clone(&self.flow), Arc::clone(&self.options));
        Box::pin(async move {
            let Submitted { post, id, backlog } = job?;
            let sequence = post.sequence();
            let scored = pipeline.score(&flow, &options, post).await;
            // Before the reply wakes the stream, which then reads on if there is room.
            drop(backlog);
            scored.map_err(|refusal| refusal.rejection(id, sequence))
        })
    }
}
