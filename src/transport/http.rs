//! The HTTP port: metrics for Prometheus, health for those without gRPC probes, posts as JSON, the
//! dashboard for people.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tonic::transport::server::TcpConnectInfo;

use crate::auth::encrypted::Encrypted;
use crate::dashboard;
use crate::http_api::{self, api::Api};
use crate::lifecycle::health::Health;
use crate::parts::Parts;
use crate::scoring::service::Scoring;

/// The routes of the HTTP port.
pub(crate) fn router(
    metrics: PrometheusHandle,
    parts: Parts,
    scoring: Arc<Scoring>,
    post_url: Option<String>,
    tls: bool,
) -> Router {
    let health = parts.health.clone();
    let api = Api::new(scoring, &parts, tls);
    let recent = parts.recent.clone();
    let dashboard = recent.map(|recent| dashboard::router::routes(parts, recent, post_url));
    let dashboard = dashboard.unwrap_or_default();
    let dashboard = if tls { dashboard.layer(from_fn(no_tokens_in_clear)) } else { dashboard };
    Router::new()
        .route("/metrics", get(render).with_state(metrics))
        .route("/healthz", get(healthz).with_state(health.clone()))
        .route("/readyz", get(readyz).with_state(health))
        .merge(dashboard)
        .merge(http_api::routes(api))
}

/// With a certificate at hand no token may travel in clear; through a forwarded port it comes from
/// the loopback interface.
async fn no_tokens_in_clear(request: Request, next: Next) -> Response {
    let encrypted = request.extensions().get() == Some(&Encrypted(true));
    let peer = request.extensions().get::<TcpConnectInfo>().and_then(|peer| peer.remote_addr);
    let local = peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    if request.headers().contains_key(header::AUTHORIZATION) && !encrypted && !local {
        let body = "{\"error\":\"this server has a certificate: use https on this port\"}";
        return (StatusCode::FORBIDDEN, [(header::CONTENT_TYPE, "application/json")], body)
            .into_response();
    }
    next.run(request).await
}

pub(super) async fn render(State(metrics): State<PrometheusHandle>) -> impl IntoResponse {
    const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, TYPE)], metrics.render())
}

async fn healthz(State(health): State<Health>) -> impl IntoResponse {
    answer(health.alive(), "alive\n", "a worker has been at one batch for over a minute\n")
}

async fn readyz(State(health): State<Health>) -> impl IntoResponse {
    let (status, told) =
        answer(health.ready(), "ready\n", "not ready: warming up, draining, or without workers\n");
    (status, format!("{told}{}", health.detail()))
}

fn answer(good: bool, yes: &'static str, no: &'static str) -> (StatusCode, &'static str) {
    if good { (StatusCode::OK, yes) } else { (StatusCode::SERVICE_UNAVAILABLE, no) }
}
