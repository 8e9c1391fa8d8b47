//! The page itself: files that are part of the binary, and the headers that
//! hold a browser to them.

use axum::Router;
use axum::http::header::{self, HeaderName};
use axum::response::IntoResponse;
use axum::routing::get;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Path, content type, content.
const FILES: [(&str, &str, &str); 13] = [
    ("/", HTML, include_str!("assets/index.html")),
    ("/board/style.css", CSS, include_str!("assets/style.css")),
    ("/board/icon.svg", SVG, include_str!("assets/icon.svg")),
    ("/board/main.js", JS, include_str!("assets/main.js")),
    ("/board/feed.js", JS, include_str!("assets/feed.js")),
    ("/board/tabs.js", JS, include_str!("assets/tabs.js")),
    ("/board/dom.js", JS, include_str!("assets/dom.js")),
    ("/board/filter.js", JS, include_str!("assets/filter.js")),
    ("/board/groups.js", JS, include_str!("assets/groups.js")),
    ("/board/posts.js", JS, include_str!("assets/posts.js")),
    ("/board/alerts.js", JS, include_str!("assets/alerts.js")),
    ("/board/cases.js", JS, include_str!("assets/cases.js")),
    ("/board/panels.js", JS, include_str!("assets/panels.js")),
];

/// Nothing but our own files, whatever a topic's name may hold: no inline
/// script, no HTML made of strings, no other host, no frame around the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

pub(super) const NO_SNIFF: (HeaderName, &str) = (header::X_CONTENT_TYPE_OPTIONS, "nosniff");

/// A route for each file.
pub(super) fn routes() -> Router {
    FILES.into_iter().fold(Router::new(), |router, (path, kind, content)| {
        router.route(path, get(async move || file(kind, content)))
    })
}

fn file(kind: &'static str, content: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        // A new binary may bring a new page.
        (header::CACHE_CONTROL, "no-cache"),
        NO_SNIFF,
    ];
    (headers, content)
}
