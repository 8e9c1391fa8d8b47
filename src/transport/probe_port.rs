//! The HTTP port of a process that serves nothing else: metrics and health.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;

use super::http::render;
use super::http_server;
use super::incoming::http_connections;
use crate::lifecycle::drain::{self, Phase};

/// Connections at a time: a scraper and some probes.
const CONNECTIONS_MAX: usize = 32;

/// Serves `/metrics`, `/healthz` and `/readyz` while `work` goes on, and gives what it ends with.
/// `metrics` is folded every `upkeep_interval`; `ready` tells whether the process can do its work, and if not, why.
pub async fn serve_while<T>(
    listener: TcpListener,
    metrics: PrometheusHandle,
    upkeep_interval: Duration,
    ready: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    work: impl Future<Output = T>,
) -> T {
    let ready = Arc::new(ready);
    let readyz = move || {
        let ready = Arc::clone(&ready);
        async move { answer(ready()) }
    };
    let router = Router::new()
        .route("/metrics", get(render).with_state(metrics.clone()))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(readyz));
    let (end, drain) = drain::channel();
    let connections = http_connections(listener, None, CONNECTIONS_MAX);
    let work = async {
        let ended = tokio::select! {
            ended = work => ended,
            never = upkeep(&metrics, upkeep_interval) => match never {},
        };
        end.advance(Phase::Stopping);
        ended
    };
    tokio::join!(http_server::serve(connections, router, drain), work).1
}

async fn upkeep(metrics: &PrometheusHandle, every: Duration) -> Infallible {
    let mut ticks = tokio::time::interval(every);
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
    }
}

fn answer(ready: Result<(), String>) -> (StatusCode, String) {
    match ready {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(reasons) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready\n{reasons}")),
    }
}
