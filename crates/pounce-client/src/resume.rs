//! One scoring job over as many streams as it takes.
//!
//! Posts wait in slots until they are answered; a new stream is first sent the
//! slots that are left. A post is answered once, in the order of the slots.

use std::collections::VecDeque;
use std::time::Duration;

use futures::{Stream, StreamExt};
use prost::Message;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::backoff::Backoff;
use crate::connection::Line;
use crate::error::{ClientError, is_passing};
use pounce_proto::score_stream_request::Request;
use pounce_proto::score_stream_response::Reply as WireReply;
use pounce_proto::scoring_service_client::ScoringServiceClient;
use pounce_proto::{
    GetModelRequest, GetModelResponse, Post, Rejection, RejectionCode, ScoreStreamRequest,
    ScoreStreamResponse, ScoredEvent, StreamOptions, Thresholds,
};

/// Bytes of a stream's message around its post: the tag and the length.
const MESSAGE_BYTES_BESIDE_POST: usize = 8;
/// Bytes of an id that a rejection repeats: as many as an id may have.
const ID_BYTES_MAX: usize = 256;

/// How a job wants to be served.
#[derive(Debug, Clone)]
pub struct StreamSpec {
    /// Posts sent and not yet answered, at most, at least 1.
    pub posts_in_flight_max: u32,
    /// Thresholds instead of the server's.
    pub thresholds: Option<Thresholds>,
    /// The posts are recorded ones: they are scored, count for no topic and open no alert. Refused
    /// by the job if the service is too old to know that.
    pub history: bool,
    /// Time for which streams may fail, with no reply between, until the job is given up.
    pub patience: Duration,
}

impl Default for StreamSpec {
    fn default() -> Self {
        let patience = Duration::from_secs(60);
        Self { posts_in_flight_max: 256, thresholds: None, history: false, patience }
    }
}

/// The answer to one post. Sequences count over the whole job, from 1.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The post was scored.
    Event(Box<ScoredEvent>),
    /// The post was not scored.
    Rejection(Box<Rejection>),
}

/// A post that has not been answered, or a rejection that waits for its turn.
struct Slot {
    sequence: u64,
    waiting: Result<Post, Rejection>,
}

/// What ended a stream.
enum End {
    /// Everything is answered.
    Done,
    /// The server moves us on.
    Moved,
    /// The stream broke.
    Broken(Status),
}

pub(super) fn score_all<S>(
    service: ScoringServiceClient<Line>,
    mut posts: S,
    spec: StreamSpec,
) -> impl Stream<Item = Result<Reply, ClientError>> + Send
where
    S: Stream<Item = Result<Post, Rejection>> + Send + Unpin + 'static,
{
    async_stream::stream! {
        let mut job = Job::new(&spec);
        let mut backoff = Backoff::new();
        let mut failing: Option<Instant> = None;
        loop {
            while let Some(rejection) = job.local_rejection() {
                yield Ok(rejection);
            }
            if job.slots.is_empty() {
                if job.input_ended {
                    break;
                }
                // Nothing is owed: there is no need of a stream until a post comes.
                failing = None;
                job.take_in(posts.next().await);
                continue;
            }
            let end = match job.open(service.clone()).await {
                Ok(mut session) => loop {
                    while let Some(rejection) = job.local_rejection() {
                        yield Ok(rejection);
                    }
                    match job.step(&mut session, &mut posts).await {
                        Ok(None) => {}
                        Ok(Some(reply)) => {
                            failing = None;
                            backoff.reset();
                            yield Ok(reply);
                        }
                        Err(end) => break end,
                    }
                },
                Err(status) => End::Broken(status),
            };
            let status = match end {
                End::Done => break,
                End::Moved => {
                    failing = None;
                    continue;
                }
                End::Broken(status) => status,
            };
            if !is_passing(&status) {
                yield Err(ClientError::Refused(Box::new(status)));
                break;
            }
            if failing.get_or_insert_with(Instant::now).elapsed() >= spec.patience {
                yield Err(ClientError::GaveUp { patience: spec.patience, last: Box::new(status) });
                break;
            }
            backoff.wait().await;
        }
    }
}

/// One stream to the server.
struct Session {
    /// `None` once the server was told that no more will come.
    requests: Option<mpsc::Sender<ScoreStreamRequest>>,
    replies: Streaming<ScoreStreamResponse>,
    /// The server's sequence of the first slot.
    first: u64,
    /// The server reads no more.
    drained: bool,
}

struct Job {
    options: StreamOptions,
    slots: VecDeque<Slot>,
    slots_max: usize,
    sequence: u64,
    input_ended: bool,
    /// Bytes of a message that the server takes, once it has told: a larger one would end the whole
    /// stream, so its post is rejected here.
    message_bytes_max: Option<usize>,
}

impl Job {
    fn new(spec: &StreamSpec) -> Self {
        let in_flight = spec.posts_in_flight_max.max(1);
        Self {
            options: StreamOptions {
                posts_in_flight_max: in_flight,
                thresholds: spec.thresholds,
                history: spec.history,
                ..StreamOptions::default()
            },
            slots: VecDeque::new(),
            slots_max: usize::try_from(in_flight).unwrap_or(usize::MAX),
            sequence: 0,
            input_ended: false,
            message_bytes_max: None,
        }
    }

    /// Opens a stream and sends what is unanswered.
    async fn open(&mut self, mut service: ScoringServiceClient<Line>) -> Result<Session, Status> {
        let model = service.get_model(GetModelRequest {}).await?.into_inner();
        check_history(&self.options, &model)?;
        let limit = model.limits.map(|limits| limits.post_message_bytes_max);
        self.message_bytes_max = limit.filter(|max| *max > 0).and_then(|max| max.try_into().ok());
        for slot in &mut self.slots {
            if let Some(rejection) = too_large(&slot.waiting, self.message_bytes_max) {
                slot.waiting = Err(rejection);
            }
        }
        // Room for the options and every slot: sending never waits.
        let (requests, receiver) = mpsc::channel(self.slots_max + 1);
        let session = Some(requests);
        send(session.as_ref(), Request::Options(self.options))?;
        for slot in &self.slots {
            if let Ok(post) = &slot.waiting {
                send(session.as_ref(), Request::Post(Box::new(post.clone())))?;
            }
        }
        let replies = service.score_stream(ReceiverStream::new(receiver)).await?.into_inner();
        Ok(Session { requests: session, replies, first: 1, drained: false })
    }

    /// Takes the first slot if it is a rejection of our own.
    fn local_rejection(&mut self) -> Option<Reply> {
        let first = self.slots.pop_front()?;
        match first.waiting {
            Err(mut rejection) => {
                rejection.sequence = first.sequence;
                Some(Reply::Rejection(Box::new(rejection)))
            }
            Ok(_) => {
                self.slots.push_front(first);
                None
            }
        }
    }

    /// Waits for a reply, or takes in another post.
    async fn step<S>(&mut self, session: &mut Session, posts: &mut S) -> Result<Option<Reply>, End>
    where
        S: Stream<Item = Result<Post, Rejection>> + Unpin,
    {
        if self.input_ended {
            session.requests = None;
        }
        let room = self.slots.len() < self.slots_max && !session.drained && !self.input_ended;
        tokio::select! {
            reply = session.replies.message() => match reply {
                Ok(Some(reply)) => self.answered(session, reply),
                Ok(None) if self.slots.is_empty() && self.input_ended => Err(End::Done),
                // A server that moves streams on without an answer is no help.
                Ok(None) if session.drained && session.first > 1 => Err(End::Moved),
                Ok(None) => Err(End::Broken(Status::unavailable("the stream ended early"))),
                Err(status) => Err(End::Broken(status)),
            },
            post = posts.next(), if room => {
                if let Some(post) = self.take_in(post) {
                    // A stream that is gone shows in its replies.
                    let _ = send(session.requests.as_ref(), Request::Post(Box::new(post)));
                }
                Ok(None)
            }
        }
    }

    /// Gives what the input brings a slot; a post is to be sent.
    fn take_in(&mut self, input: Option<Result<Post, Rejection>>) -> Option<Post> {
        let Some(waiting) = input else {
            self.input_ended = true;
            return None;
        };
        self.sequence += 1;
        let rejection = too_large(&waiting, self.message_bytes_max);
        let waiting = rejection.map_or(waiting, Err);
        let post = waiting.as_ref().ok().cloned();
        self.slots.push_back(Slot { sequence: self.sequence, waiting });
        post
    }

    fn answered(
        &mut self,
        session: &mut Session,
        reply: ScoreStreamResponse,
    ) -> Result<Option<Reply>, End> {
        let reply = match reply.reply {
            Some(WireReply::Event(event)) => Reply::Event(Box::new(event)),
            Some(WireReply::Rejection(rejection)) if rejection.sequence == 0 => {
                let status = Status::invalid_argument(rejection.reason);
                return Err(End::Broken(status));
            }
            Some(WireReply::Rejection(rejection))
                if rejection.code() == RejectionCode::Unavailable =>
            {
                return Err(End::Broken(Status::unavailable(rejection.reason)));
            }
            Some(WireReply::Rejection(rejection)) => Reply::Rejection(Box::new(rejection)),
            Some(WireReply::Drain(_)) => {
                session.drained = true;
                session.requests = None;
                return Ok(None);
            }
            Some(WireReply::Summary(_) | WireReply::AlertChange(_)) | None => return Ok(None),
        };
        self.settle(&mut session.first, reply).map(Some)
    }

    /// Gives a reply the job's sequence and frees its slot: the first one,
    /// since replies come in order.
    fn settle(&mut self, first: &mut u64, mut reply: Reply) -> Result<Reply, End> {
        let sequence = match &mut reply {
            Reply::Event(event) => &mut event.sequence,
            Reply::Rejection(rejection) => &mut rejection.sequence,
        };
        let slot = if *sequence == *first { self.slots.pop_front() } else { None };
        let Some(slot) = slot else {
            let fault = format!("reply {sequence} came where {first} was due");
            return Err(End::Broken(Status::data_loss(fault)));
        };
        *first += 1;
        *sequence = slot.sequence;
        Ok(reply)
    }
}

/// A service that is too old ignores the option.
fn check_history(options: &StreamOptions, model: &GetModelResponse) -> Result<(), Status> {
    if options.history && !model.history {
        return Err(Status::unimplemented(
            "the service is too old for recorded posts: it would count them as live ones",
        ));
    }
    Ok(())
}

/// Why a post can't be sent in a message of `max` bytes, if it can't.
fn too_large(post: &Result<Post, Rejection>, max: Option<usize>) -> Option<Rejection> {
    let (post, max) = (post.as_ref().ok()?, max?);
    let bytes = post.encoded_len() + MESSAGE_BYTES_BESIDE_POST;
    (bytes > max).then(|| Rejection {
        post_id: String::from_utf8_lossy(&post.id[..post.id.len().min(ID_BYTES_MAX)]).into_owned(),
        code: RejectionCode::TooLong.into(),
        field: "post".to_owned(),
        reason: format!("the post has {bytes} bytes, more than the limit of {max} of a message"),
        ..Rejection::default()
    })
}

fn send(
    requests: Option<&mpsc::Sender<ScoreStreamRequest>>,
    request: Request,
) -> Result<(), Status> {
    let request = ScoreStreamRequest { request: Some(request) };
    let sent = requests.is_some_and(|requests| requests.try_send(request).is_ok());
    if sent { Ok(()) } else { Err(Status::unavailable("the stream is gone")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_that_no_message_can_hold_is_rejected_here_and_costs_nobody_else() {
        let mut job = Job::new(&StreamSpec::default());
        job.message_bytes_max = Some(100);
        let large = Post { id: "large".into(), text: "x".repeat(200).into(), ..Post::default() };
        assert_eq!(job.take_in(Some(Ok(large))), None, "it is not sent");
        assert!(job.take_in(Some(Ok(Post::default()))).is_some());
        let Some(Reply::Rejection(rejection)) = job.local_rejection() else { panic!("rejected") };
        assert_eq!((rejection.code(), &*rejection.post_id), (RejectionCode::TooLong, "large"));
        assert!(rejection.reason.contains("limit of 100"), "{}", rejection.reason);
        assert_eq!((rejection.sequence, job.slots.len()), (1, 1));
    }

    #[test]
    fn recorded_posts_are_sent_to_no_service_that_would_count_them_as_live_ones() {
        let job = Job::new(&StreamSpec { history: true, ..StreamSpec::default() });
        let old = check_history(&job.options, &GetModelResponse::default());
        assert_eq!(old.expect_err("refused").code(), tonic::Code::Unimplemented);
        let new = GetModelResponse { history: true, ..GetModelResponse::default() };
        assert!(check_history(&job.options, &new).is_ok());
        assert!(check_history(&StreamOptions::default(), &GetModelResponse::default()).is_ok());
    }

    #[test]
    fn a_reply_out_of_turn_settles_nothing() {
        let mut job = Job::new(&StreamSpec::default());
        job.take_in(Some(Ok(Post::default())));
        let mut first = 3;
        let reply =
            |sequence| Reply::Event(Box::new(ScoredEvent { sequence, ..ScoredEvent::default() }));
        let Err(End::Broken(status)) = job.settle(&mut first, reply(7)) else {
            panic!("it was taken");
        };
        assert_eq!(status.code(), tonic::Code::DataLoss);
        assert_eq!((job.slots.len(), first), (1, 3), "the post is still owed");
        assert_eq!(job.settle(&mut first, reply(3)).ok(), Some(reply(1)));
        assert_eq!((job.slots.len(), first), (0, 4));
        assert!(job.settle(&mut first, reply(4)).is_err(), "nothing is owed");
    }
}
