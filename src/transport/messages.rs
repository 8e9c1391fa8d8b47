//! Bounds what unfinished request messages may hold, and for how long.
//!
//! A tower layer around request bodies. tonic collects a message until it is whole, on every
//! stream of every connection at a time, and knows one size limit a service. This layer has one a
//! method, bounds the bytes of unfinished messages over the whole server, fairly between callers,
//! gives each message a time to arrive in, and counts the posts of a batch before they are decoded.
//!
//! Knows gRPC's framing and which method takes batches; nothing else of what messages mean.

mod fields;

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use self::fields::FieldCount;
use super::framing::{Framing, Piece};
use super::metrics::{self, MessageRefusal};
use crate::arrival::{ARRIVAL_MAX, Arrival, Late};
use crate::auth::caller_key::CallerKey;
use crate::auth::unfinished::{More, Share, UnfinishedBytes};

/// Bytes that each unfinished message may hold without a share of the room for all: the window of a
/// stream, so that messages of an ordinary post need none, whatever others do.
const UNFINISHED_BYTES_FREE: usize = super::windows::STREAM_WINDOW as usize;
/// Tensors of a message of the Open Inference Protocol that are read: `text`, `id`, `topic`, `place`.
const TENSORS_KNOWN: usize = 4;
/// Tensors that it may have: some more, so that the answer can name an unknown one.
const TENSORS_MAX: usize = 16;
/// Parameters of such a message, and of its tensors together: more than are known.
const PARAMETERS_MAX: usize = 64;

/// How often a field may come.
#[derive(Clone, Copy)]
enum FieldMax {
    /// As often as a batch may have posts.
    Posts,
    /// As often as that, for each of so many tensors.
    PostsOfTensors(usize),
    Fixed(usize),
}

/// A method whose messages hold many posts.
struct BatchMethod {
    path: &'static str,
    /// Fields that are counted before they are decoded, by path and name; how often each may come.
    counted: &'static [(&'static [u64], &'static str, FieldMax)],
}

const TENSORS: &[(&[u64], &str, FieldMax)] = &[
    (&[4], "parameters", FieldMax::Fixed(PARAMETERS_MAX)),
    (&[5], "inputs", FieldMax::Fixed(TENSORS_MAX)),
    (&[5, 4], "inputs.parameters", FieldMax::Fixed(PARAMETERS_MAX)),
    (&[5, 5, 8], "inputs.contents.bytes_contents", FieldMax::PostsOfTensors(TENSORS_KNOWN)),
    (&[6], "outputs", FieldMax::Fixed(TENSORS_MAX)),
    (&[6, 2], "outputs.parameters", FieldMax::Fixed(PARAMETERS_MAX)),
    (&[7], "raw_input_contents", FieldMax::Fixed(TENSORS_MAX)),
];
const BATCH_METHODS: [BatchMethod; 3] = [
    BatchMethod {
        path: "/pounce.v1.ScoringService/ScoreBatch",
        counted: &[(&[1], "posts", FieldMax::Posts)],
    },
    BatchMethod { path: "/inference.GRPCInferenceService/ModelInfer", counted: TENSORS },
    BatchMethod { path: "/inference.GRPCInferenceService/ModelStreamInfer", counted: TENSORS },
];

/// Limits of request messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageLimits {
    /// Bytes of a message of a method that takes batches.
    pub(crate) batch_bytes_max: usize,
    /// Posts in it.
    pub(crate) batch_posts_max: usize,
    /// Bytes of a message of any other method.
    pub(crate) post_bytes_max: usize,
}

/// Puts the limits on every request.
#[derive(Debug, Clone)]
pub(crate) struct BoundMessages {
    limits: MessageLimits,
    room: UnfinishedBytes,
    /// Whether a request is one message, which is due at once, and its end right after it.
    single: bool,
}

impl BoundMessages {
    pub(crate) fn new(limits: MessageLimits) -> Self {
        Self { limits, room: UnfinishedBytes::new(limits.batch_bytes_max), single: false }
    }

    /// The same limits and the same room for requests of one message: they have as long to arrive
    /// and to end as a message has.
    pub(super) fn single(&self) -> Self {
        Self { single: true, ..self.clone() }
    }

    fn body(&self, path: &str, caller: &CallerKey, body: Body) -> BoundedBody {
        let batch = BATCH_METHODS.iter().find(|method| method.path == path);
        let bytes_max = match batch {
            Some(_) => self.limits.batch_bytes_max,
            None => self.limits.post_bytes_max,
        };
        let counted = batch.map_or(&[][..], |method| method.counted).iter();
        let posts_max = self.limits.batch_posts_max;
        let counted = counted.map(|&(path, name, max)| Counted {
            field: FieldCount::new(path),
            name,
            max: match max {
                FieldMax::Posts => posts_max,
                FieldMax::PostsOfTensors(tensors) => tensors.saturating_mul(posts_max),
                FieldMax::Fixed(max) => max,
            },
        });
        BoundedBody {
            body,
            bytes_max,
            counted: counted.collect(),
            framing: Framing::default(),
            unfinished: 0,
            share: self.room.share(caller),
            single: self.single,
            waiting: None,
            arrival: Arrival::default(),
            begun: false,
            over: false,
        }
    }
}

impl<S> Layer<S> for BoundMessages {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Bounded<S> {
        Bounded { layer: self.clone(), inner }
    }
}

/// A service whose request messages are bounded.
#[derive(Debug, Clone)]
pub(crate) struct Bounded<S> {
    layer: BoundMessages,
    inner: S,
}

impl<S> Service<Request<Body>> for Bounded<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        let (head, body) = request.into_parts();
        let caller = CallerKey::of(&head.extensions);
        let body = Body::new(self.layer.body(head.uri.path(), &caller, body));
        self.inner.call(Request::from_parts(head, body))
    }
}

type Acquire = Pin<Box<dyn Future<Output = More> + Send>>;

/// A field that is counted.
struct Counted {
    field: FieldCount,
    name: &'static str,
    max: usize,
}

/// A request body under the limits.
struct BoundedBody {
    body: Body,
    bytes_max: usize,
    counted: Vec<Counted>,
    framing: Framing,
    /// Bytes that came of the message that is not whole yet.
    unfinished: usize,
    /// What it holds of the room for all.
    share: Share,
    single: bool,
    /// A frame that came and waits for a share of the room.
    waiting: Option<(Bytes, Acquire)>,
    arrival: Arrival,
    /// A message began in the frame that came last.
    begun: bool,
    /// The body has ended, with a refusal or without.
    over: bool,
}

impl HttpBody for BoundedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        let mut arrival = std::mem::take(&mut this.arrival);
        let polled = arrival.poll(context, |context| {
            let polled = this.poll_bounded(context);
            (polled, this.single || this.framing.is_inside())
        });
        if std::mem::take(&mut this.begun) {
            arrival.begin();
        }
        this.arrival = arrival;
        let polled = ready!(polled).unwrap_or_else(|Late| Some(Err(this.late())));
        this.over = !matches!(polled, Some(Ok(_)));
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.over || (self.waiting.is_none() && self.body.is_end_stream())
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

impl BoundedBody {
    fn poll_bounded(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.waiting.is_none() {
            // Whoever asks for more has decoded all messages that were whole.
            self.share.shrink(self.share_due());
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            let data = match frame.into_data() {
                Ok(data) => data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            };
            if let Err(refusal) = self.take_in(&data) {
                return Poll::Ready(Some(Err(refusal)));
            }
            let Some(missing) = self.share.missing(self.share_due()) else {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            };
            self.waiting = Some((data, Box::pin(missing)));
        }
        let Some((data, acquire)) = &mut self.waiting else { return Poll::Pending };
        self.share.add(ready!(acquire.as_mut().poll(context)));
        let data = std::mem::take(data);
        self.waiting = None;
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    /// Follows the messages through a frame.
    fn take_in(&mut self, mut data: &[u8]) -> Result<(), Status> {
        while let Some(piece) = self.framing.next(&mut data) {
            match piece {
                Piece::Begin(length) => {
                    self.unfinished = 0;
                    self.begun = true;
                    for counted in &mut self.counted {
                        counted.field.begin();
                    }
                    if length > self.bytes_max {
                        metrics::message_refused(MessageRefusal::TooLarge);
                        return Err(Status::out_of_range(format!(
                            "the message has {length} bytes, more than the limit of {} of this \
                             method",
                            self.bytes_max
                        )));
                    }
                }
                Piece::Payload(payload) => {
                    self.unfinished += payload.len();
                    for Counted { field, name, max } in &mut self.counted {
                        if field.count(payload) > *max {
                            metrics::message_refused(MessageRefusal::TooManyPosts);
                            return Err(Status::invalid_argument(format!(
                                "{name} has more elements than the limit of {max}"
                            )));
                        }
                    }
                }
                Piece::End => self.unfinished = 0,
            }
        }
        Ok(())
    }

    /// The refusal of a message that took too long.
    fn late(&mut self) -> Status {
        if self.waiting.take().is_some() {
            metrics::message_refused(MessageRefusal::NoRoom);
            return Status::resource_exhausted(
                "too many large messages are arriving at the server; try again later",
            );
        }
        metrics::message_refused(MessageRefusal::Slow);
        let seconds = ARRIVAL_MAX.as_secs();
        Status::deadline_exceeded(format!("a message took longer than {seconds} s to arrive"))
    }

    /// Bytes of the room that the unfinished message has to hold.
    fn share_due(&self) -> usize {
        self.unfinished.saturating_sub(UNFINISHED_BYTES_FREE)
    }
}

#[cfg(test)]
mod tests;
