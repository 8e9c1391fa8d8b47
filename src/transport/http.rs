//! The HTTP port: metrics for Prometheus, health for those without gRPC probes,
//! the dashboard for people.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::dashboard;
use crate::lifecycle::health::Health;
use crate::parts::Parts;

/// The routes of the HTTP port.
pub fn router(metrics: PrometheusHandle, parts: Parts) -> Router {
    let health = parts.health.clone();
    let dashboard = parts.recent.clone().map(|recent| dashboard::router::routes(parts, recent));
    Router::new()
        .route("/metrics", get(render).with_state(metrics))
        .route("/healthz", get(healthz).with_state(health.clone()))
        .route("/readyz", get(readyz).with_state(health))
        .merge(dashboard.unwrap_or_default())
}

async fn render(State(metrics): State<PrometheusHandle>) -> impl IntoResponse {
    const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, TYPE)], metrics.render())
}

async fn healthz(State(health): State<Health>) -> impl IntoResponse {
    answer(health.alive(), "alive\n", "a worker has been at one batch for over a minute\n")
}

async fn readyz(State(health): State<Health>) -> impl IntoResponse {
    answer(health.ready(), "ready\n", "not ready: warming up, draining, or without workers\n")
}

fn answer(good: bool, yes: &'static str, no: &'static str) -> (StatusCode, &'static str) {
    if good { (StatusCode::OK, yes) } else { (StatusCode::SERVICE_UNAVAILABLE, no) }
}
