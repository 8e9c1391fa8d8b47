//! Sends posts when they are due and measures from then until the reply.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressDrawTarget};
use pounce_client::Line;
use pounce_proto::scoring_service_client::ScoringServiceClient;
use pounce_proto::{
    PostResult, ScoreBatchRequest, ScoreRequest, ScoreStreamRequest, StreamOptions, post_result,
    score_stream_request, score_stream_response,
};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::Status;

use super::posts::Texts;

/// Latencies are kept from a microsecond to an hour, to three digits.
const HIGHEST_MICROS: u64 = 3_600_000_000;
/// Calls of one caller that may be open when the service lags behind a rate.
const CALLS_MAX: usize = 1024;
/// Bytes of a reply: a batch of events is the largest.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// How posts travel.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// Over streams, each with so many unanswered posts at most.
    Stream {
        /// Unanswered posts.
        in_flight: u32,
    },
    /// One call a post.
    Unary,
    /// So many posts a call.
    Batch {
        /// Posts of a call.
        posts: u32,
    },
}

/// When the posts of each sender are due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    start: Instant,
    end: Instant,
    /// Between two posts of one sender; none: as soon as they can be sent.
    interval: Option<Duration>,
    senders: u32,
}

impl Schedule {
    pub(super) fn new(rate: Option<f64>, lasts: Duration, senders: u32) -> Self {
        let start = Instant::now();
        let interval = rate.map(|rate| Duration::from_secs_f64(f64::from(senders) / rate));
        Self { start, end: start + lasts, interval, senders }
    }

    /// Waits until the n-th post of a sender is due and gives that time; `None` after the end.
    async fn due(&self, sender: u32, n: u32) -> Option<Instant> {
        let due = match self.interval {
            None => Instant::now(),
            // Senders are spread over the interval, so that they don't all send at once.
            Some(interval) => self.start + interval * n + interval * sender / self.senders,
        };
        if due >= self.end {
            return None;
        }
        if self.interval.is_some() {
            // Only here: a timer takes a millisecond even for a time that has passed.
            tokio::time::sleep_until(due).await;
        }
        Some(due)
    }
}

/// What came of a load.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Microseconds from due to reply, of posts that were scored.
    pub(super) latencies: Histogram<u64>,
    pub(super) scored: u64,
    /// Answered without a score, for example since the queue was full.
    pub(super) rejected: u64,
    /// Sent and never answered.
    pub(super) failed: u64,
    /// Why the first of these failed.
    pub(super) failure: Option<String>,
    /// From the first post's time to the last reply.
    pub(super) took: Duration,
}

impl Outcome {
    fn new() -> Self {
        let latencies = Histogram::new_with_bounds(1, HIGHEST_MICROS, 3)
            .expect("the bounds are in order and three digits are allowed");
        let (scored, rejected, failed) = (0, 0, 0);
        Self { latencies, scored, rejected, failed, failure: None, took: Duration::ZERO }
    }

    fn answered(&mut self, due: Instant, scored: bool) {
        if scored {
            self.scored += 1;
            let micros = u64::try_from(due.elapsed().as_micros()).unwrap_or(HIGHEST_MICROS);
            self.latencies.saturating_record(micros);
        } else {
            self.rejected += 1;
        }
    }

    fn failed(&mut self, posts: u64, status: &Status) {
        self.failed += posts;
        self.failure.get_or_insert_with(|| format!("{:?}: {}", status.code(), status.message()));
    }

    fn add(&mut self, other: Self) {
        // Both have the same bounds.
        let _ = self.latencies.add(&other.latencies);
        self.scored += other.scored;
        self.rejected += other.rejected;
        self.failed += other.failed;
        self.failure = self.failure.take().or(other.failure);
    }
}

/// Runs all senders to their end.
pub(super) async fn run(
    line: &Line,
    shape: Shape,
    schedule: &Schedule,
    texts: Texts,
) -> Result<Outcome, tokio::task::JoinError> {
    let progress = ProgressBar::new_spinner();
    progress.set_draw_target(ProgressDrawTarget::stderr());
    let senders = (0..schedule.senders).map(|number| {
        let service = ScoringServiceClient::new(line.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let sender = Sender {
            number,
            service,
            schedule: *schedule,
            texts: texts.clone(),
            progress: progress.clone(),
        };
        tokio::spawn(async move {
            match shape {
                Shape::Stream { in_flight } => sender.stream(in_flight).await,
                Shape::Unary => sender.calls(1, true).await,
                Shape::Batch { posts } => sender.calls(posts, false).await,
            }
        })
    });
    let mut total = Outcome::new();
    for sender in senders.collect::<Vec<_>>() {
        total.add(sender.await?);
    }
    total.took = schedule.start.elapsed();
    progress.finish_and_clear();
    Ok(total)
}

/// One stream, or one caller.
struct Sender {
    number: u32,
    service: ScoringServiceClient<Line>,
    schedule: Schedule,
    texts: Texts,
    progress: ProgressBar,
}

impl Sender {
    /// The n-th post's number among those of all senders.
    fn number_of(&self, n: u32) -> u64 {
        u64::from(n) * u64::from(self.schedule.senders) + u64::from(self.number)
    }

    async fn stream(mut self, in_flight: u32) -> Outcome {
        let mut outcome = Outcome::new();
        // Due times of the posts that are not answered, in the order of their replies.
        let due = Arc::new(Mutex::new(VecDeque::new()));
        let options = StreamOptions { posts_in_flight_max: in_flight, ..StreamOptions::default() };
        let (schedule, texts, number) = (self.schedule, self.texts.clone(), self.number);
        let senders = u64::from(schedule.senders);
        let sent = Arc::clone(&due);
        // The transport would take far more posts than the service has accepted.
        let credit = Arc::new(Semaphore::new(in_flight as usize));
        let room = Arc::clone(&credit);
        let requests = async_stream::stream! {
            use score_stream_request::Request;
            yield ScoreStreamRequest { request: Some(Request::Options(options)) };
            for n in 0.. {
                let Ok(permit) = room.acquire().await else { break };
                permit.forget();
                let Some(at) = schedule.due(number, n).await else { break };
                let post = texts.post(u64::from(n) * senders + u64::from(number));
                sent.lock().unwrap_or_else(PoisonError::into_inner).push_back(at);
                yield ScoreStreamRequest { request: Some(Request::Post(Box::new(post))) };
            }
        };
        let next_due = || due.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let ended = match self.service.score_stream(requests).await {
            Err(status) => Err(status),
            Ok(replies) => {
                let mut replies = replies.into_inner();
                loop {
                    use score_stream_response::Reply;
                    match replies.next().await {
                        None => break Ok(()),
                        Some(Err(status)) => break Err(status),
                        Some(Ok(message)) => {
                            let scored = match message.reply {
                                Some(Reply::Event(_)) => true,
                                Some(Reply::Rejection(_)) => false,
                                _ => continue,
                            };
                            if let Some(due) = next_due() {
                                outcome.answered(due, scored);
                            }
                            credit.add_permits(1);
                            self.progress.inc(1);
                        }
                    }
                }
            }
        };
        let open = due.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
        match ended {
            Err(status) => outcome.failed(open, &status),
            Ok(()) if open > 0 => {
                outcome.failed(open, &Status::unavailable("the stream ended early"));
            }
            Ok(()) => {}
        }
        outcome
    }

    /// Calls of `posts` posts each: open at a time as many as it takes to keep to the schedule,
    /// or one by one without a rate.
    async fn calls(self, posts: u32, unary: bool) -> Outcome {
        let mut outcome = Outcome::new();
        let mut open = FuturesUnordered::new();
        let calls_max = if self.schedule.interval.is_some() { CALLS_MAX } else { 1 };
        let mut n = 0;
        let mut sending = true;
        while sending || !open.is_empty() {
            tokio::select! {
                biased;
                Some(answers) = open.next(), if !open.is_empty() => {
                    self.take(&mut outcome, answers);
                }
                due = self.schedule.due(self.number, n + posts - 1),
                    if sending && open.len() < calls_max => match due {
                    None => sending = false,
                    Some(due) => {
                        let numbers = (n..n + posts).map(|n| self.number_of(n));
                        let batch: Vec<_> = numbers.map(|n| self.texts.post(n)).collect();
                        n += posts;
                        open.push(call(self.service.clone(), batch, unary, due));
                    }
                },
            }
        }
        outcome
    }

    fn take(&self, outcome: &mut Outcome, answers: Answers) {
        match answers.scored {
            Ok(scored) => {
                for scored in scored {
                    outcome.answered(answers.due, scored);
                }
            }
            Err(status) if status.code() == tonic::Code::ResourceExhausted => {
                outcome.rejected += answers.posts;
            }
            Err(status) => outcome.failed(answers.posts, &status),
        }
        self.progress.inc(answers.posts);
    }
}

/// What a call of several posts came to.
struct Answers {
    due: Instant,
    posts: u64,
    /// For each post whether it was scored.
    scored: Result<Vec<bool>, Status>,
}

async fn call(
    mut service: ScoringServiceClient<Line>,
    mut batch: Vec<pounce_proto::Post>,
    unary: bool,
    due: Instant,
) -> Answers {
    let posts = batch.len() as u64;
    let scored = if unary {
        let request = ScoreRequest { post: batch.pop(), ..Default::default() };
        service.score(request).await.map(|_| vec![true])
    } else {
        let request = ScoreBatchRequest { posts: batch, ..Default::default() };
        let is_event =
            |result: &PostResult| matches!(result.result, Some(post_result::Result::Event(_)));
        let response = service.score_batch(request).await;
        response.map(|response| response.into_inner().results.iter().map(is_event).collect())
    };
    Answers { due, posts, scored }
}
