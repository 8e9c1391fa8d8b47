//! `ModelStreamInfer`: requests of several texts over one stream of posts.
//!
//! The texts of all requests go through the service's stream as single posts, and their replies
//! are gathered by request again. A request that could not be read goes through it as one post
//! that could not be read, so that its answer takes its place.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt};
use tonic::{Extensions, Status};

use super::fault::{check_model, invalid, refused};
use super::request::{Parsed, parse, thresholds};
use super::response::{Output, response};
use crate::scoring::ids::run_id;
use crate::scoring::input::StreamInput;
use crate::scoring::service::{CallTerms, Scoring};
use pounce_proto::inference::infer_parameter::ParameterChoice;
use pounce_proto::inference::{InferParameter, ModelInferRequest, ModelStreamInferResponse};
use pounce_proto::score_stream_request::Request;
use pounce_proto::score_stream_response::Reply;
use pounce_proto::{
    Rejection, RejectionCode, ScoreStreamRequest, ScoredEvent, StreamOptions, Thresholds,
};

/// Parameter by which clients of decoupled models know the last response to a request.
const FINAL: &str = "triton_final_response";

/// A request whose texts are being scored.
struct Open {
    id: String,
    outcome: Result<(Vec<Output>, usize), Status>,
}

impl Open {
    /// Replies of the stream that belong to it.
    fn replies(&self) -> usize {
        self.outcome.as_ref().map_or(1, |(_, texts)| *texts)
    }
}

/// Requests that are not answered, in their order. Each holds at least one place among the posts
/// that a stream may have unanswered, so that there are never more.
type Requests = Arc<Mutex<VecDeque<Open>>>;

/// Answers the requests of a stream in their order.
pub(super) fn responses<S>(
    scoring: &Scoring,
    extensions: &Extensions,
    requests: S,
) -> Result<impl Stream<Item = Result<ModelStreamInferResponse, Status>> + Send + use<S>, Status>
where
    S: Stream<Item = Result<ModelInferRequest, Status>> + Send + Unpin + 'static,
{
    let open = Requests::default();
    let model = scoring.pipeline.scorer.model();
    let model = (model.name.clone(), model.revision.clone());
    let reader = Reader {
        model: model.clone(),
        posts_max: scoring.batch_posts_max,
        run: run_id()?,
        count: 0,
        thresholds: None,
    };
    let posts = Box::pin(posts(reader, Arc::clone(&open), requests));
    let replies = scoring.stream(extensions, None, CallTerms::default(), posts)?;
    Ok(async_stream::stream! {
        let mut replies = Box::pin(replies);
        let mut events = Vec::new();
        let mut drained = false;
        while let Some(reply) = replies.next().await {
            match reply.map(|reply| reply.reply) {
                Ok(Some(Reply::Event(event))) => events.push(Ok(event)),
                // Its options: the thresholds of the first request.
                Ok(Some(Reply::Rejection(rejection))) if rejection.sequence == 0 => {
                    yield Err(invalid("parameters", rejection.reason));
                    return;
                }
                Ok(Some(Reply::Rejection(rejection))) => events.push(Err(rejection)),
                Ok(Some(Reply::Drain(_))) => drained = true,
                Ok(_) => {}
                Err(status) => {
                    yield Err(status);
                    return;
                }
            }
            if let Some(request) = answered(&open, events.len()) {
                let model = (&*model.0, &*model.1);
                yield Ok(answer(model, request, std::mem::take(&mut events)));
            }
        }
        // It may have come in the middle of a request.
        if drained {
            yield Err(Status::unavailable("the server is draining: send what is unanswered again"));
        }
    })
}

fn lock(open: &Requests) -> std::sync::MutexGuard<'_, VecDeque<Open>> {
    // No code that can panic runs under the lock.
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the first request, if it has so many replies.
fn answered(open: &Requests, replies: usize) -> Option<Open> {
    let mut open = lock(open);
    let whole = replies > 0 && open.front().is_some_and(|request| request.replies() == replies);
    if whole { open.pop_front() } else { None }
}

fn answer(
    model: (&str, &str),
    request: Open,
    events: Vec<Result<ScoredEvent, Rejection>>,
) -> ModelStreamInferResponse {
    let outcome = request.outcome.and_then(|(wanted, _)| {
        // Positions are those of the stream: a client knows those of its request.
        let numbered = (1..).zip(events).map(|(sequence, event)| {
            event.map_err(|rejection| refused(&Rejection { sequence, ..rejection }))
        });
        Ok((wanted, numbered.collect::<Result<Vec<_>, _>>()?))
    });
    let (mut answer, error) = match outcome {
        Ok((wanted, events)) => (response(model, request.id, &wanted, &events), String::new()),
        Err(status) => (response(model, request.id, &[], &[]), status.message().to_owned()),
    };
    let last = InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(true)) };
    answer.parameters.insert(FINAL.to_owned(), last);
    ModelStreamInferResponse { error_message: error, infer_response: Some(answer) }
}

/// The posts of all requests, each request announced in `open` before its first post.
fn posts<S>(
    mut reader: Reader,
    open: Requests,
    mut requests: S,
) -> impl Stream<Item = Result<StreamInput, Status>> + Send
where
    S: Stream<Item = Result<ModelInferRequest, Status>> + Send + Unpin + 'static,
{
    async_stream::stream! {
        while let Some(request) = requests.next().await {
            let request = match request {
                Ok(request) => request,
                Err(status) => {
                    yield Err(status);
                    return;
                }
            };
            let id = request.id.clone();
            let (thresholds, parsed) = reader.read(request);
            if thresholds.is_some() {
                let options = StreamOptions { thresholds, ..StreamOptions::default() };
                yield Ok(StreamInput::Request(ScoreStreamRequest {
                    request: Some(Request::Options(options)),
                }));
            }
            match parsed {
                Ok(parsed) => {
                    let outcome = Ok((parsed.wanted, parsed.posts.len()));
                    lock(&open).push_back(Open { id, outcome });
                    for post in parsed.posts {
                        let request = Some(Request::Post(Box::new(post)));
                        yield Ok(StreamInput::Request(ScoreStreamRequest { request }));
                    }
                }
                Err(status) => {
                    lock(&open).push_back(Open { id, outcome: Err(status) });
                    let code = RejectionCode::Malformed.into();
                    yield Ok(StreamInput::Unreadable(Rejection { code, ..Rejection::default() }));
                }
            }
        }
    }
}

/// Reads the requests of one stream.
struct Reader {
    /// Name and revision.
    model: (String, String),
    posts_max: usize,
    run: String,
    /// Requests read.
    count: u64,
    /// Those of the first request hold for the stream, even if the rest of it can't be read.
    thresholds: Option<Thresholds>,
}

impl Reader {
    /// Thresholds to begin the stream with, if this is its first request, and the request.
    fn read(&mut self, request: ModelInferRequest) -> (Option<Thresholds>, Result<Parsed, Status>) {
        self.count += 1;
        let mut begin_with = None;
        if self.count == 1 {
            // Those that can't be read are a fault of this request, told by `parse`.
            begin_with = thresholds(&request.parameters).unwrap_or_default();
            self.thresholds = begin_with;
        }
        (begin_with, self.parsed(request))
    }

    fn parsed(&self, request: ModelInferRequest) -> Result<Parsed, Status> {
        let (name, revision) = &self.model;
        check_model((name, revision), &request.model_name, &request.model_version)?;
        let run = format!("{}-{}", self.run, self.count);
        let parsed = parse(request, self.posts_max, &run)?;
        if parsed.thresholds != self.thresholds {
            return Err(invalid(
                "parameters",
                "thresholds must be those of the stream's first request",
            ));
        }
        Ok(parsed)
    }
}
