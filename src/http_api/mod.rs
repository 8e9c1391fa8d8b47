//! Posts over HTTP: JSON in, JSON out.
//!
//! One more way to the calls of `scoring`, with the same tokens, limits, rates and drain. Knows
//! HTTP, JSON and the messages; nothing of how a post is scored.

pub(crate) mod api;
mod body;
mod lines;
pub(crate) mod metrics;
mod openapi;
mod predict;
mod problem;
mod score;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};

use self::api::Api;

/// The routes of the interface.
pub(crate) fn routes(api: Api) -> Router {
    let api = Arc::new(api);
    let counted = from_fn_with_state(Arc::clone(&api), count);
    Router::new()
        .route("/v1/score", post(score::score))
        .route("/predict", post(predict::predict))
        // Where clients of text-embeddings-inference look if they are given no path.
        .route("/", post(predict::predict).fallback(async || StatusCode::NOT_FOUND))
        .route_layer(counted)
        .with_state(api)
        .route("/openapi.json", get(openapi::document))
}

/// Counts requests, and lets a drain wait for their answers.
async fn count(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let path = if request.uri().path() == "/v1/score" { "/v1/score" } else { "/predict" };
    let open = api.calls.begin();
    let response = next.run(request).await;
    metrics::answered(path, response.status());
    response.map(|body| body::holding(body, open))
}
