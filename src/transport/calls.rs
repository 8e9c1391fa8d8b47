//! Counts gRPC calls and messages of every service, as grpc-ecosystem's metrics
//! do, and traces those of ours.
//!
//! A tower layer: sees paths, frames and trailers; nothing of what they mean.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body as HttpBody, Frame};
use tonic::body::Body;
use tower::{Layer, Service};

use super::metrics;
use crate::traces::{self, CallSpan};

/// A method that is counted by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Method {
    service: &'static str,
    method: &'static str,
    kind: &'static str,
}

const fn method(service: &'static str, method: &'static str, kind: &'static str) -> Method {
    Method { service, method, kind }
}

const METHODS: [Method; 9] = [
    method("pounce.v1.ScoringService", "Score", "unary"),
    method("pounce.v1.ScoringService", "ScoreBatch", "unary"),
    method("pounce.v1.ScoringService", "ScoreStream", "bidi_stream"),
    method("pounce.v1.ScoringService", "GetModel", "unary"),
    method("pounce.v1.AlertService", "WatchAlerts", "server_stream"),
    method("pounce.v1.AlertService", "ListAlerts", "unary"),
    method("pounce.v1.AlertService", "AcknowledgeAlert", "unary"),
    method("pounce.v1.AlertService", "GetTopic", "unary"),
    method("pounce.v1.AlertService", "ListTopics", "unary"),
];

/// Health, reflection, and names that do not exist: a caller must not be able
/// to make labels up.
const OTHER: Method = method("other", "other", "unknown");

/// Names of gRPC's status codes, by number.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];
const CANCELED: u8 = 1;
const UNKNOWN: u8 = 2;

/// Counts and traces what passes through.
#[derive(Debug, Clone)]
pub(crate) struct CountCalls;

impl CountCalls {
    /// Makes every series exist.
    pub(crate) fn new() -> Self {
        for Method { service, method, kind } in METHODS.into_iter().chain([OTHER]) {
            metrics::grpc_known(service, method, kind, &CODES);
        }
        Self
    }
}

impl<S> Layer<S> for CountCalls {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner }
    }
}

/// A service whose calls are counted.
#[derive(Debug, Clone)]
pub(crate) struct Counted<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let call = Call::begin(method_of(request.uri().path()), request.headers());
        let method = call.method;
        if let Some(span) = &call.span {
            request.extensions_mut().insert(span.span_context());
        }
        let request = request.map(|body| {
            Body::new(CountedBody { body, messages: Messages::default(), flow: Flow::In(method) })
        });
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = response.await?;
            let mut call = call;
            call.read_status(response.headers());
            Ok(response.map(|body| {
                Body::new(CountedBody {
                    body,
                    messages: Messages::default(),
                    flow: Flow::Out(call),
                })
            }))
        })
    }
}

fn method_of(path: &str) -> Method {
    let mut parts = path.trim_start_matches('/').split('/');
    let names = (parts.next(), parts.next());
    let known = METHODS.iter().find(|m| names == (Some(m.service), Some(m.method)));
    known.copied().unwrap_or(OTHER)
}

/// A call that has begun; counted as handled when it goes out of scope.
struct Call {
    method: Method,
    /// Number of a status code.
    code: u8,
    span: Option<CallSpan>,
}

impl Call {
    fn begin(method: Method, headers: &HeaderMap) -> Self {
        metrics::grpc_started(method.service, method.method, method.kind);
        // Probes would be most of the traces.
        let traced =
            (method != OTHER).then(|| traces::call(headers, method.service, method.method));
        // Until a status is seen: the caller went away.
        Self { method, code: CANCELED, span: traced.flatten() }
    }

    fn read_status(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get("grpc-status") {
            let number = status.to_str().ok().and_then(|text| text.parse().ok());
            self.code = number.filter(|n| usize::from(*n) < CODES.len()).unwrap_or(UNKNOWN);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Method { service, method, kind } = self.method;
        let code = CODES[usize::from(self.code)];
        metrics::grpc_handled(service, method, kind, code);
        if let Some(span) = self.span.take() {
            span.ended(self.code, code);
        }
    }
}

enum Flow {
    In(Method),
    Out(Call),
}

/// A body whose gRPC messages are counted as they pass.
struct CountedBody {
    body: Body,
    messages: Messages,
    flow: Flow,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            if let Some(data) = frame.data_ref() {
                let count = this.messages.completed_by(data);
                match &this.flow {
                    Flow::In(m) => metrics::grpc_received(m.service, m.method, count),
                    Flow::Out(c) => metrics::grpc_sent(c.method.service, c.method.method, count),
                }
            }
            if let (Flow::Out(call), Some(trailers)) = (&mut this.flow, frame.trailers_ref()) {
                call.read_status(trailers);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// Follows gRPC's framing: a flag byte, four bytes of length, the message.
#[derive(Debug, Default)]
struct Messages {
    header: Vec<u8>,
    left: usize,
}

impl Messages {
    /// Messages that end within `data`.
    fn completed_by(&mut self, mut data: &[u8]) -> u64 {
        let mut completed = 0;
        while !data.is_empty() {
            if self.left == 0 {
                let taken = data.len().min(5 - self.header.len());
                self.header.extend_from_slice(&data[..taken]);
                data = &data[taken..];
                let [_, a, b, c, d] = self.header[..] else { continue };
                self.header.clear();
                self.left = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            }
            let taken = data.len().min(self.left);
            self.left -= taken;
            data = &data[taken..];
            completed += u64::from(self.left == 0);
        }
        completed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_however_they_are_cut_into_frames() {
        let message = |length: u8| {
            let mut bytes = vec![0, 0, 0, 0, length];
            bytes.resize(bytes.len() + usize::from(length), 7);
            bytes
        };
        let bytes = [message(3), message(0), message(200), message(1)].concat();
        for size in 1..=bytes.len() {
            let mut messages = Messages::default();
            let count: u64 = bytes.chunks(size).map(|data| messages.completed_by(data)).sum();
            assert_eq!(count, 4, "in pieces of {size}");
        }
    }

    #[test]
    fn only_known_methods_become_labels() {
        let known = method_of("/pounce.v1.ScoringService/ScoreStream");
        assert_eq!((known.method, known.kind), ("ScoreStream", "bidi_stream"));
        assert_eq!(method_of("/pounce.v1.ScoringService/Nonsense"), OTHER);
        assert_eq!(method_of("/"), OTHER);
    }
}
