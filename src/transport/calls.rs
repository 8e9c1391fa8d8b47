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

use super::framing::{Framing, Piece};
use super::metrics;
use crate::lifecycle::calls::{OpenCall, OpenCalls};
use crate::traces::{self, CallSpan};
use pounce_proto::{METHODS, Method};

/// Health, reflection, and names that do not exist: a caller must not be able
/// to make labels up.
const OTHER: Method = Method { service: "other", method: "other", kind: "unknown" };

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
pub(crate) struct CountCalls {
    open: OpenCalls,
}

impl CountCalls {
    /// Makes every series exist.
    pub(crate) fn new(open: OpenCalls) -> Self {
        for Method { service, method, kind } in METHODS.iter().copied().chain([OTHER]) {
            metrics::grpc_known(service, method, kind, &CODES);
        }
        Self { open }
    }
}

impl<S> Layer<S> for CountCalls {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { open: self.open.clone(), inner }
    }
}

/// A service whose calls are counted.
#[derive(Debug, Clone)]
pub(crate) struct Counted<S> {
    open: OpenCalls,
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
        let call = Call::begin(method_of(request.uri().path()), request.headers(), &self.open);
        let method = call.method;
        if let Some(span) = &call.span {
            request.extensions_mut().insert(span.span_context());
        }
        let request = request.map(|body| {
            Body::new(CountedBody { body, framing: Framing::default(), flow: Flow::In(method) })
        });
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = response.await?;
            let mut call = call;
            call.read_status(response.headers());
            Ok(response.map(|body| {
                Body::new(CountedBody { body, framing: Framing::default(), flow: Flow::Out(call) })
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
    _open: Option<OpenCall>,
}

impl Call {
    fn begin(method: Method, headers: &HeaderMap, open: &OpenCalls) -> Self {
        metrics::grpc_started(method.service, method.method, method.kind);
        // Probes would be most of the traces.
        let traced =
            (method != OTHER).then(|| traces::call(headers, method.service, method.method));
        // Until a status is seen: the caller went away.
        // A drain waits for our own calls: who watches health or reflects may do so without end.
        let open = (method != OTHER).then(|| open.begin());
        Self { method, code: CANCELED, span: traced.flatten(), _open: open }
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
    framing: Framing,
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
                let count = completed_by(&mut this.framing, data);
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

/// Messages that end within `data`.
fn completed_by(framing: &mut Framing, mut data: &[u8]) -> u64 {
    std::iter::from_fn(|| framing.next(&mut data)).map(|piece| u64::from(piece == Piece::End)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_methods_become_labels() {
        let known = method_of("/pounce.v1.ScoringService/ScoreStream");
        assert_eq!((known.method, known.kind), ("ScoreStream", "bidi_stream"));
        assert_eq!(method_of("/pounce.v1.ScoringService/Nonsense"), OTHER);
        assert_eq!(method_of("/"), OTHER);
    }
}
