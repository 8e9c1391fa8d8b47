//! The description of the interface, as OpenAPI 3.1.

use axum::http::header;
use axum::response::IntoResponse;

/// Written by hand; tests validate it and hold the server to it.
const DOCUMENT: &str = include_str!("openapi.json");

/// Serves the document.
pub(super) async fn document() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT)
}
