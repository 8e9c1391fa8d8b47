//! Errors as problem details (RFC 9457): a status of the gRPC side as HTTP has it.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Why a request was not answered as it should be. Never holds post text.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct Problem(Box<Details>);

/// The members of a problem.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Details {
    /// Nothing more than the status tells: the other members say what is wrong.
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    /// What is wrong and which limit it broke, for a person.
    detail: String,
    /// Name of the gRPC status, such as `resource_exhausted`.
    code: &'static str,
    /// Path of the field at fault, such as `author.id`.
    #[serde(skip_serializing_if = "String::is_empty")]
    field: String,
    /// When to try again.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<f64>,
    /// The detail again, where clients of text-embeddings-inference look for it.
    error: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self(Box::new(Details {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            error: detail.clone(),
            detail,
            code,
            field: String::new(),
            retry_after_seconds: None,
        }))
    }

    /// A request that is not as it should be.
    pub(super) fn invalid(field: &str, detail: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::BAD_REQUEST, "invalid_argument", detail);
        field.clone_into(&mut problem.0.field);
        problem
    }
}

impl From<Status> for Problem {
    fn from(status: Status) -> Self {
        let (http, code) = match status.code() {
            Code::InvalidArgument => (StatusCode::BAD_REQUEST, "invalid_argument"),
            Code::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated"),
            Code::PermissionDenied => (StatusCode::FORBIDDEN, "permission_denied"),
            Code::OutOfRange => (StatusCode::PAYLOAD_TOO_LARGE, "out_of_range"),
            Code::ResourceExhausted => (StatusCode::TOO_MANY_REQUESTS, "resource_exhausted"),
            Code::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Code::DeadlineExceeded => (StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        let details = status.get_error_details();
        let violation = details.bad_request().and_then(|bad| bad.field_violations.first());
        let mut problem = Self::new(http, code, status.message());
        problem.0.field = violation.map(|violation| violation.field.clone()).unwrap_or_default();
        let delay = details.retry_info().and_then(|retry| retry.retry_delay);
        problem.0.retry_after_seconds = delay.map(|delay| delay.as_secs_f64());
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.0.retry_after_seconds {
            // The header knows whole seconds only.
            let seconds = Duration::from_secs_f64(seconds.max(0.0).ceil()).as_secs().max(1);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn a_problem_names_field_limit_and_when_to_come_back() {
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation("text", "too long");
        let status = Status::with_error_details(Code::InvalidArgument, "text has 9 bytes", details);
        let problem = Problem::from(status);
        assert_eq!((problem.0.status, &*problem.0.field), (400, "text"));
        assert_eq!(problem.0.detail, "text has 9 bytes");

        let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(1200)));
        let status = Status::with_error_details(Code::ResourceExhausted, "full", details);
        let response = Problem::from(status).into_response();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    }
}
