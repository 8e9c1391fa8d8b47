//! gRPC-Web on the HTTP port: calls from pages in a browser, of the origins that are listed.
//!
//! The services and layers of the gRPC port, so that tokens, limits, counts and the drain are the
//! same; this file knows what browsers need besides. They can't stream requests: such methods are
//! refused.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures::future::{Either, Ready, ready};
use tonic::Status;
use tonic::body::Body;
use tonic_web::GrpcWebLayer;
use tower::{Layer, Service, ServiceBuilder};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::grpc::{Services, Stack};
use super::origin::Origin;
use crate::auth::encrypted::Encrypted;
use pounce_proto::METHODS;

/// How long a browser may remember what it may send.
const PREFLIGHT_AGE: Duration = Duration::from_secs(60 * 60);

/// What clients of gRPC-Web send.
const REQUEST_HEADERS: [HeaderName; 7] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    HeaderName::from_static("grpc-timeout"),
    HeaderName::from_static("x-grpc-web"),
    HeaderName::from_static("x-user-agent"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// Where a call ends before its first message, its status is in these.
const REPLY_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
];

/// Who may call, and how.
struct Door {
    origins: Vec<Origin>,
    /// The server has a certificate: tokens are not taken in clear.
    tls: bool,
}

/// The routes of gRPC-Web for pages of `origins`; none without an origin. `tls` tells whether the
/// server has a certificate.
pub(crate) fn router(origins: &[Origin], services: &Services, tls: bool) -> Router {
    if origins.is_empty() {
        return Router::new();
    }
    let Stack { routes, counted, guard, bounded } = services.stack.clone();
    let calls = ServiceBuilder::new()
        .layer(GrpcWebLayer::new())
        .layer(counted)
        .layer(guard)
        .layer(RefuseRequestStreams)
        .layer(bounded.single())
        .service(routes);
    let names: BTreeSet<&str> = METHODS.iter().map(|method| method.service).collect();
    let router = names.into_iter().fold(Router::new(), |router, service| {
        router.route_service(&format!("/{service}/{{method}}"), calls.clone())
    });
    let listed = origins.iter().map(|origin| origin.header().clone());
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::list(listed))
        .allow_methods([Method::POST])
        .allow_headers(REQUEST_HEADERS)
        .expose_headers(REPLY_HEADERS)
        .max_age(PREFLIGHT_AGE);
    let door = Arc::new(Door { origins: origins.to_vec(), tls });
    router.layer(from_fn(check_form)).layer(cors).layer(from_fn_with_state(door, let_in))
}

/// Turns away what may not call, before a token is looked at.
async fn let_in(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    if door.tls && request.extensions().get() != Some(&Encrypted(true)) {
        return refusal(
            StatusCode::FORBIDDEN,
            "this server has a certificate: use https on this port",
        );
    }
    // None: not a page in a browser.
    let origin = request.headers().get(header::ORIGIN);
    if origin.is_some_and(|origin| !door.origins.iter().any(|listed| listed.header() == origin)) {
        return refusal(StatusCode::FORBIDDEN, "the origin is not one of --grpc-web-origins");
    }
    next.run(request).await
}

/// Tells those who speak another protocol which one this is.
async fn check_form(request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        let answer = refusal(StatusCode::METHOD_NOT_ALLOWED, "gRPC-Web calls are made with POST");
        return ([(header::ALLOW, "POST")], answer).into_response();
    }
    let form = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if !form.is_some_and(|form| form.starts_with(b"application/grpc-web")) {
        return refusal(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "this port takes gRPC-Web: content-type must be application/grpc-web+proto or \
             application/grpc-web-text+proto",
        );
    }
    let mut response = next.run(request).await;
    // Proxies must not wait for the end of a stream.
    let unbuffered = HeaderValue::from_static("no");
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), unbuffered);
    response
}

fn refusal(code: StatusCode, says: &'static str) -> Response {
    (code, format!("{says}\n")).into_response()
}

/// Refuses methods whose requests are streams: a browser sends nothing before the request is whole,
/// so that the stream would wait for itself.
#[derive(Clone, Copy)]
struct RefuseRequestStreams;

impl<S> Layer<S> for RefuseRequestStreams {
    type Service = SingleRequests<S>;

    fn layer(&self, inner: S) -> SingleRequests<S> {
        SingleRequests { inner }
    }
}

/// A service whose requests are single messages.
#[derive(Clone)]
struct SingleRequests<S> {
    inner: S,
}

impl<S> Service<http::Request<Body>> for SingleRequests<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<http::Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if !streams_requests(request.uri().path()) {
            return Either::Left(self.inner.call(request));
        }
        let status = Status::unimplemented(
            "gRPC-Web can't stream requests: use Score, ScoreBatch or ModelInfer, or this method over \
             gRPC",
        );
        Either::Right(ready(Ok(status.into_http())))
    }
}

fn streams_requests(path: &str) -> bool {
    let names = path.trim_start_matches('/').split_once('/');
    let method = METHODS.iter().find(|method| names == Some((method.service, method.method)));
    method.is_some_and(|method| matches!(method.kind, "client_stream" | "bidi_stream"))
}
