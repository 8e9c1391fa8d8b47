//! One `ScoreStream` call as one stream expression: dropping it drops its work.
//!
//! Each message read becomes a reply; at most
//! `posts_in_flight_max` are unanswered, and the next message is read only
//! while there is room. The transport polls this stream when it can send, so a
//! reader that stalls stops the reading, and a reply counts as unanswered until
//! the transport took it. Scoring and counting do not wait for the reader.

use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tonic::Status;

use super::metrics;
use crate::alerting::wire::show_change;
use crate::change_feed::{Changes, News};
use crate::lifecycle::drain::{Drain, Phase};
use crate::scoring::backlog::{Backlog, StreamBacklog};
use crate::scoring::in_flight::{Finished, InFlight, Job, Submitted};
use crate::scoring::input::StreamInput;
use crate::scoring::pipeline::{CallOptions, Pipeline};
use crate::scoring::wire::{self, Refusal};
use opentelemetry::trace::SpanContext;
use pounce_alerts::alert::AlertChange;
use pounce_alerts::flags::Thresholds;
use pounce_inference::scorer::{Flow, WhenFull};
use pounce_proto::score_stream_request::Request;
use pounce_proto::score_stream_response::Reply;
use pounce_proto::{
    self as proto, ReplyOrder, ScoreStreamRequest, ScoreStreamResponse, StreamOptions,
    StreamSummary,
};
use pounce_replication::NumberedChange;
use pounce_types::post::Fault;

/// What the server grants every stream.
#[derive(Clone)]
pub(crate) struct StreamLimits {
    pub(crate) posts_in_flight_max: usize,
    /// Age at which the stream is asked to move to another server.
    pub(crate) age_max: Option<Duration>,
    pub(crate) deadline: Option<Instant>,
    /// Thresholds of a stream that can't send options, and whether its posts are recorded ones.
    pub(crate) thresholds: Thresholds,
    pub(crate) history: bool,
    /// The call's span, if it is sampled.
    pub(crate) span: Option<SpanContext>,
    pub(crate) drain: Drain,
    /// What streams may accept together.
    pub(crate) backlog: Backlog,
}

/// Answers the messages of one stream; see the module's words for how.
pub(crate) fn replies<S>(
    pipeline: Arc<Pipeline>,
    flow: Flow,
    mut terms: StreamLimits,
    mut requests: S,
) -> impl Stream<Item = Result<ScoreStreamResponse, Status>> + Send
where
    S: Stream<Item = Result<StreamInput, Status>> + Send + Unpin,
{
    let rotation = terms.age_max.map(|age| Instant::now() + age);
    let mut session = Session::new(pipeline, flow, &terms);
    async_stream::stream! {
        let _open = OpenStream::new();
        let mut reading = true;
        let mut broken = None;
        loop {
            match session.step(&mut requests, reading, &mut terms.drain, rotation).await {
                Step::Reply(reply) => yield Ok(session.hand_over(reply)),
                Step::Alert(change) => yield Ok(message(Reply::AlertChange(show_change(&change)))),
                Step::Request(Ok(request)) => session.accept(request),
                Step::Request(Err(status)) => {
                    broken = Some(status);
                    reading = false;
                }
                Step::InputEnded => reading = false,
                Step::Drain => {
                    reading = false;
                    yield Ok(message(Reply::Drain(proto::Drain {
                        accepted_through: session.summary.received,
                    })));
                }
                Step::Stop => {
                    broken = Some(Status::unavailable("the server has stopped"));
                    break;
                }
                Step::Failed => {
                    broken = Some(Status::internal("the stream failed"));
                    break;
                }
                Step::Answered => break,
            }
        }
        match broken {
            Some(status) => yield Err(status),
            None if terms.deadline.is_some_and(|at| at <= Instant::now()) => {
                yield Err(Status::deadline_exceeded("the deadline of the stream passed"));
            }
            None => yield Ok(message(Reply::Summary(session.summary))),
        }
    }
}

fn message(reply: Reply) -> ScoreStreamResponse {
    ScoreStreamResponse { reply: Some(reply) }
}

#[allow(clippy::large_enum_variant, reason = "a step lives for one turn of the loop")]
enum Step {
    Reply(Finished),
    Alert(Arc<NumberedChange>),
    Request(Result<StreamInput, Status>),
    InputEnded,
    Drain,
    Stop,
    Failed,
    Answered,
}

struct Session {
    pipeline: Arc<Pipeline>,
    flow: Arc<Flow>,
    post_terms: CallOptions,
    backlog: StreamBacklog,
    posts_in_flight_max: usize,
    server_in_flight_max: usize,
    reply_order: ReplyOrder,
    /// Started by the first message that gets a reply.
    in_flight: Option<InFlight>,
    /// Set if the stream asked for the changes of topic alerts.
    alerts: Option<Changes<AlertChange>>,
    begun: bool,
    summary: StreamSummary,
}

impl Session {
    fn new(pipeline: Arc<Pipeline>, flow: Flow, terms: &StreamLimits) -> Self {
        Self {
            flow: Arc::new(flow),
            post_terms: CallOptions {
                thresholds: terms.thresholds,
                deadline: terms.deadline,
                when_full: WhenFull::Wait,
                history: terms.history,
                span: terms.span.clone(),
            },
            backlog: terms.backlog.stream(),
            posts_in_flight_max: terms.posts_in_flight_max,
            server_in_flight_max: terms.posts_in_flight_max,
            reply_order: ReplyOrder::Sequence,
            in_flight: None,
            alerts: None,
            begun: false,
            summary: StreamSummary::default(),
            pipeline,
        }
    }

    /// Waits for whatever comes next; replies before requests, so that room is
    /// made before more is taken in. Safe to drop.
    async fn step<S>(
        &mut self,
        requests: &mut S,
        reading: bool,
        drain: &mut Drain,
        rotation: Option<Instant>,
    ) -> Step
    where
        S: Stream<Item = Result<StreamInput, Status>> + Unpin,
    {
        let unanswered = self.in_flight.as_ref().map_or(0, InFlight::unanswered);
        if !reading && unanswered == 0 {
            return Step::Answered;
        }
        let room = unanswered < self.posts_in_flight_max;
        let next_phase = if reading { Phase::Draining } else { Phase::Stopping };
        tokio::select! {
            biased;
            change = next_change(&mut self.alerts) => Step::Alert(change),
            reply = next_reply(&mut self.in_flight) => match reply {
                Some(reply) => Step::Reply(reply),
                None => Step::Failed,
            },
            () = drain.reached(next_phase) => if reading { Step::Drain } else { Step::Stop },
            () = at(rotation), if reading => Step::Drain,
            request = self.backlog.next(requests), if reading && room => match request {
                Some(request) => Step::Request(request),
                None => Step::InputEnded,
            },
        }
    }

    fn accept(&mut self, input: StreamInput) {
        match input {
            StreamInput::Request(request) => self.accept_request(request),
            StreamInput::Unreadable(rejection) => {
                self.summary.received += 1;
                metrics::post_rejected(rejection.code());
                let sequence = self.summary.received;
                self.push(Err(proto::Rejection { sequence, ..rejection }));
            }
        }
    }

    fn accept_request(&mut self, request: ScoreStreamRequest) {
        let begun = std::mem::replace(&mut self.begun, true);
        match request.request {
            Some(Request::Post(post)) => self.accept_post(&post),
            Some(Request::Options(options)) if !begun => {
                if let Err(refusal) = self.set_options(&options) {
                    self.refuse(refusal);
                }
            }
            Some(Request::Options(_)) => {
                let first = "options must be the first message of a stream";
                self.refuse(Fault::OutOfRange { range: first }.of("options").into());
            }
            None => self.refuse(Fault::Unknown { value: 0 }.of("request").into()),
        }
    }

    /// Parses at once: a post that waits must not hold on to its message, which may be far
    /// larger (fields that are not known, a buffer shared with other messages).
    fn accept_post(&mut self, wire: &proto::Post) {
        self.summary.received += 1;
        let sequence = self.summary.received;
        let id = wire::echoed_id(&wire.id);
        let post = wire::post(wire, self.pipeline.text_bytes_max);
        let text_bytes = post.as_ref().map_or(0, |post| post.text.as_str().len());
        let accepted = self.pipeline.accept(&self.post_terms, post, sequence);
        self.push(match accepted {
            Ok(post) => Ok(Submitted { post, id, backlog: self.backlog.accept(text_bytes) }),
            Err(refusal) => Err(refusal.rejection(id, sequence)),
        });
    }

    fn push(&mut self, job: Job) {
        let in_flight = self.in_flight.get_or_insert_with(|| {
            InFlight::start(
                Arc::clone(&self.pipeline),
                Arc::clone(&self.flow),
                self.post_terms.clone(),
                self.reply_order,
                self.server_in_flight_max,
            )
        });
        in_flight.push(job);
    }

    fn set_options(&mut self, options: &StreamOptions) -> Result<(), Refusal> {
        let order = ReplyOrder::try_from(options.reply_order)
            .map_err(|_| Fault::Unknown { value: options.reply_order }.of("options.reply_order"))?;
        self.post_terms.thresholds =
            wire::thresholds(options.thresholds.as_ref(), &self.pipeline.thresholds)?;
        self.post_terms.history = options.history;
        self.reply_order = order;
        if options.alerts {
            self.alerts = Some(self.pipeline.monitor.watch(|_| ()).1);
        }
        if let wanted @ 1.. = options.posts_in_flight_max {
            let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
            self.posts_in_flight_max = wanted.min(self.server_in_flight_max);
        }
        Ok(())
    }

    /// Tells of a message that is no post; the stream goes on as it was.
    fn refuse(&mut self, refusal: Refusal) {
        metrics::post_rejected(refusal.code());
        self.push(Err(refusal.rejection(String::new(), 0)));
    }

    fn hand_over(&mut self, finished: Finished) -> ScoreStreamResponse {
        metrics::reply_sent(finished.ready.elapsed());
        match finished.reply {
            Ok(counted) => {
                let event = self.pipeline.event(&counted);
                self.summary.scored += 1;
                let discontent = i32::from(proto::Flag::Discontent);
                self.summary.flagged += u64::from(event.flags.contains(&discontent));
                message(Reply::Event(event))
            }
            Err(rejection) => {
                self.summary.rejected += u64::from(rejection.sequence > 0);
                message(Reply::Rejection(rejection))
            }
        }
    }
}

/// The next change of an alert; waits without end where none were asked for. A
/// stream that reads too slowly misses some: a watch tells how many.
async fn next_change(alerts: &mut Option<Changes<AlertChange>>) -> Arc<NumberedChange> {
    if let Some(alerts) = alerts {
        loop {
            match alerts.recv().await {
                Ok(News::Changed(change)) => return change,
                Ok(News::Replaced) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break,
            }
        }
    }
    std::future::pending().await
}

/// The next reply, none if the task has ended; waits without end while nothing is in flight.
async fn next_reply(in_flight: &mut Option<InFlight>) -> Option<Finished> {
    match in_flight {
        Some(in_flight) if in_flight.unanswered() > 0 => in_flight.next().await,
        _ => std::future::pending().await,
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Counts a stream for as long as it lives.
struct OpenStream;

impl OpenStream {
    fn new() -> Self {
        metrics::stream_open(true);
        Self
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        metrics::stream_open(false);
    }
}
