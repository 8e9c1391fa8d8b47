//! Names and help of the metrics of HTTP requests. Call sites say what happened.

use axum::http::StatusCode;
use metrics::{counter, describe_counter};

const PATHS: [&str; 2] = ["/v1/score", "/predict"];
/// Statuses that the handlers answer with.
const STATUSES: [&str; 11] =
    ["200", "400", "401", "403", "408", "413", "415", "429", "500", "503", "504"];

/// Describes every metric and makes every series exist.
pub(crate) fn register() {
    describe_counter!(
        "pounce_http_requests_total",
        "Answered requests of the HTTP interface; of a stream, its beginning"
    );
    for (path, status) in PATHS.into_iter().flat_map(|path| STATUSES.map(|status| (path, status))) {
        requests(path, status.to_owned()).absolute(0);
    }
}

/// A request was answered, or its stream of answers has begun.
pub(super) fn answered(path: &'static str, status: StatusCode) {
    requests(path, status.as_str().to_owned()).increment(1);
}

fn requests(path: &'static str, status: String) -> metrics::Counter {
    counter!("pounce_http_requests_total", "path" => path, "status" => status)
}
