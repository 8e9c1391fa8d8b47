//! The path of one text: admitted, prepared, queued, answered.
//!
//! Nothing is done with a text before there is room for it. Long texts are prepared on
//! threads of their own, so that they hold up no thread that serves sockets.

use std::sync::Arc;
use std::time::Duration;

use pounce_types::post::PostText;
use tokio::time::Instant;

use crate::fair_queue::JobId;
use crate::flow_key::FlowKey;
use crate::gate::{Gate, Permit, TurnedAway};
use crate::limits::ScorerLimits;
use crate::metrics::{self, DropReason};
use crate::model::Model;
use crate::scheduler::{Answer, Cached, Scheduler, Ticket};
use crate::scored::{ScoreError, ScoreOptions, Scored, Timings, WhenFull};
use crate::text::{Prepared, Rest, TextStage, Unreadable};
use crate::text_pool::TextPool;

/// Longest text that is prepared where it came in, in bytes: nearly every post, and a
/// fraction of a millisecond. See `benches/text.rs`.
const INLINE_BYTES_MAX: usize = 512;

/// What all flows share.
pub(crate) struct Pipeline {
    pub(crate) model: Arc<Model>,
    pub(crate) limits: ScorerLimits,
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) text: Arc<TextStage>,
    pub(crate) text_pool: Arc<TextPool>,
}

impl Pipeline {
    /// Scores a text. Dropping the future takes the text out of the queue.
    /// # Errors
    /// [`ScoreError`]; each costs this text alone.
    pub(crate) async fn score(
        &self,
        flow: FlowKey,
        text: &PostText,
        options: &ScoreOptions<'_>,
    ) -> Result<Scored, ScoreError> {
        let mut guard = DropGuard(Some(DropReason::Cancelled));
        let scored = self.run(flow, text, options).await;
        guard.0 = scored.as_ref().err().and_then(DropGuard::reason);
        scored
    }

    async fn run(
        &self,
        flow: FlowKey,
        text: &PostText,
        options: &ScoreOptions<'_>,
    ) -> Result<Scored, ScoreError> {
        let entered = Instant::now();
        let permit = self.admit(flow, text.as_str().len(), options).await?;
        let admitted = Instant::now();
        let (prepared, _permit) = self.prepare(flow, text, options, permit).await?;
        let Prepared { key, foreign, rest } = prepared;
        let tokenized = Instant::now();
        let mut timings = Timings {
            tokenize: tokenized - admitted,
            queue: admitted - entered,
            infer: Duration::ZERO,
        };
        let tokens = match rest {
            Rest::Cached(cached) => return Ok(self.scored_before(&cached, foreign, timings)),
            Rest::Run(tokens) => tokens,
        };
        let (tokens_used, tokens_total) = (tokens.ids.len(), tokens.total);
        let span = options.span.clone();
        let ticket = self.scheduler.enqueue(key, tokens.ids, tokens_total, flow, span);
        let duplicate_text = ticket.shared;
        let forward = self.wait(ticket, options.deadline).await?.ok_or(ScoreError::Failed)?;
        timings.queue += Instant::from_std(forward.started).saturating_duration_since(tokenized);
        timings.infer = forward.infer;
        metrics::post_inferred(&timings);
        Ok(Scored {
            probabilities: forward.probabilities,
            sentiment: self.model.labels.sentiment(&forward.probabilities),
            tokens_used,
            tokens_total,
            duplicate_text,
            foreign_language: foreign,
            timings,
            batch: forward.span,
        })
    }

    /// Room for one post of `bytes`; to be held until the answer is there.
    async fn admit(
        &self,
        flow: FlowKey,
        bytes: usize,
        options: &ScoreOptions<'_>,
    ) -> Result<Permit, ScoreError> {
        let entering = async {
            match options.when_full {
                WhenFull::Refuse => self.gate.enter_or_leave(flow, bytes).await,
                WhenFull::Wait => self.gate.enter(flow, bytes).await,
            }
        };
        let entered = within(options.deadline, entering).await.ok_or(ScoreError::Deadline)?;
        entered.map_err(|reason| match reason {
            TurnedAway::Closed => ScoreError::Closed,
            TurnedAway::Full => ScoreError::Full {
                queue_posts_max: self.limits.queue_posts_max,
                retry_delay: self.retry_delay(),
            },
        })
    }

    /// Prepares a text, a long one on a thread of its own.
    async fn prepare(
        &self,
        flow: FlowKey,
        text: &PostText,
        options: &ScoreOptions<'_>,
        permit: Permit,
    ) -> Result<(Prepared, Permit), ScoreError> {
        let bytes = text.as_str().len();
        let prepared = if bytes <= INLINE_BYTES_MAX {
            (self.text.prepare(text.as_str(), options.language), permit)
        } else {
            let (stage, text) = (Arc::clone(&self.text), text.clone());
            let language = options.language.cloned();
            // The permit goes with the work: a text that is given up counts until it is skipped.
            let work = move || (stage.prepare(text.as_str(), language.as_ref()), permit);
            let done = within(options.deadline, self.text_pool.run(flow, bytes, work)).await;
            done.ok_or(ScoreError::Deadline)?.ok_or(ScoreError::Failed)?
        };
        let (prepared, permit) = prepared;
        prepared.map(|prepared| (prepared, permit)).map_err(|Unreadable| ScoreError::Failed)
    }

    fn scored_before(&self, cached: &Cached, foreign_language: bool, timings: Timings) -> Scored {
        Scored {
            probabilities: cached.probabilities,
            sentiment: self.model.labels.sentiment(&cached.probabilities),
            tokens_used: cached.tokens_used,
            tokens_total: cached.tokens_total,
            duplicate_text: true,
            foreign_language,
            timings,
            batch: None,
        }
    }

    async fn wait(&self, ticket: Ticket, deadline: Option<Instant>) -> Result<Answer, ScoreError> {
        let mut interest = Interest {
            scheduler: &self.scheduler,
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
        let posts = u32::try_from(self.limits.queue_posts_max).unwrap_or(u32::MAX);
        let delay = self.scheduler.pace_per_post().saturating_mul(posts);
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
