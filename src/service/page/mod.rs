//! A live board in the browser, for people without Grafana: what fires and why,
//! the topics, the latest flagged posts, and how the service fares.
//!
//! One static page, its style and its scripts, all part of the binary; data by
//! JSON and by server-sent events. Where tokens are asked for, data needs
//! `alerts:read` and acknowledging `alerts:write`; where not, the page is
//! read-only.

mod assets;
mod live;
mod pulse;
pub mod recent;
mod view;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Json, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;
use tonic::{Code, Status};

use self::recent::Recent;
use self::view::View;
use super::Shared;
use super::alerts::acknowledge;
use super::caller::Caller;
use super::drain::Phase;
use super::guard::{Guard, Need};
use super::tokens::Scope;

/// Open streams of events; more are turned away, and their pages ask by and by.
const WATCHERS_MAX: usize = 32;
/// How old what is shown may be: it is made once in this time, however many watch.
const VIEW_AGE_MAX: Duration = Duration::from_secs(1);
/// The same of topics, whose minutes close once a minute.
const TOPICS_AGE_MAX: Duration = Duration::from_secs(5);
/// Bytes of a request.
const REQUEST_BYTES_MAX: usize = 8 << 10;

/// What the handlers share.
struct Page {
    shared: Shared,
    recent: Recent,
    guard: Guard,
    watchers: Arc<Semaphore>,
    /// What was shown last.
    last: Mutex<Option<Made>>,
}

struct Made {
    at: Instant,
    topics_at: Instant,
    view: Arc<View>,
}

/// The routes of the page.
pub(super) fn routes(shared: Shared, recent: Recent) -> Router {
    let page = Page {
        guard: Guard::new(shared.tokens.clone()),
        shared,
        recent,
        watchers: Arc::new(Semaphore::new(WATCHERS_MAX)),
        last: Mutex::new(None),
    };
    Router::new()
        .route("/board/state", get(state))
        .route("/board/events", get(events))
        .route("/board/acknowledgements", post(take))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(Arc::new(page))
        .merge(assets::routes())
}

impl Page {
    /// What is to be shown now, made anew if it is too old.
    async fn view(&self) -> Arc<View> {
        let mut last = self.last.lock().await;
        let now = Instant::now();
        if let Some(made) = last.as_ref().filter(|made| now - made.at < VIEW_AGE_MAX) {
            return Arc::clone(&made.view);
        }
        let kept = last.take().filter(|made| now - made.topics_at < TOPICS_AGE_MAX);
        let topics_at = kept.as_ref().map_or(now, |made| made.topics_at);
        let crowds = &self.shared.crowds;
        let view = Arc::new(View {
            alerts: crowds.read(view::alerts),
            posts: view::posts(&self.recent),
            service: view::service(&self.shared, &self.recent),
            topics: kept
                .map_or_else(|| crowds.read(view::topics), |made| Arc::clone(&made.view.topics)),
        });
        *last = Some(Made { at: now, topics_at, view: Arc::clone(&view) });
        view
    }

    /// What the caller may do, as JSON.
    fn you(&self, caller: &Caller) -> String {
        // Without tokens nobody is known, and an acknowledgement must say who.
        let may = self.shared.tokens.is_some() && caller.may(Scope::AlertsWrite);
        json!({ "may_acknowledge": may }).to_string()
    }

    fn let_in(&self, scope: Scope, headers: &HeaderMap) -> Result<Caller, Refused> {
        Ok(self.guard.admit("the board", Need::Scope(scope), headers)?)
    }
}

async fn state(State(page): State<Arc<Page>>, headers: HeaderMap) -> Result<Response, Refused> {
    let caller = page.let_in(Scope::AlertsRead, &headers)?;
    let (you, whole) = (page.you(&caller), page.view().await.whole());
    let body = format!("{{\"you\":{you},{}", &whole[1..]);
    let kind = (header::CONTENT_TYPE, "application/json");
    Ok(([kind, NO_STORE, assets::NO_SNIFF], body).into_response())
}

const NO_STORE: (header::HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

async fn events(State(page): State<Arc<Page>>, headers: HeaderMap) -> Result<Response, Refused> {
    let caller = page.let_in(Scope::AlertsRead, &headers)?;
    if page.shared.drain.phase() >= Phase::Draining {
        return Err(Status::unavailable("the server drains").into());
    }
    let place = Arc::clone(&page.watchers).try_acquire_owned();
    let place = place.map_err(|_| Status::unavailable("too many pages watch already"))?;
    // Proxies must not wait for the end of the stream.
    let unbuffered = (header::HeaderName::from_static("x-accel-buffering"), "no");
    let headers = [NO_STORE, assets::NO_SNIFF, unbuffered];
    Ok((headers, live::events(page, caller, place)).into_response())
}

/// Somebody takes an alert.
#[derive(Deserialize)]
struct Taking {
    id: String,
    by: String,
    #[serde(default)]
    note: String,
}

async fn take(
    State(page): State<Arc<Page>>,
    headers: HeaderMap,
    taking: Result<Json<Taking>, JsonRejection>,
) -> Result<Response, Refused> {
    page.let_in(Scope::AlertsWrite, &headers)?;
    if page.shared.tokens.is_none() {
        return Err(Status::permission_denied("read-only: the server has no tokens").into());
    }
    let Json(Taking { id, by, note }) = match taking {
        Ok(taking) => taking,
        Err(rejection) => return Ok(failure(rejection.status(), "not the JSON that was expected")),
    };
    acknowledge(&page.shared.crowds, &id, &by, &note)?;
    page.last.lock().await.take();
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A status of the gRPC side, as HTTP has it.
struct Refused(Status);

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self(status)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let code = match self.0.code() {
            Code::InvalidArgument => StatusCode::BAD_REQUEST,
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::NotFound => StatusCode::NOT_FOUND,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        let answer = failure(code, self.0.message());
        if code == StatusCode::UNAUTHORIZED {
            return ([(header::WWW_AUTHENTICATE, "Bearer")], answer).into_response();
        }
        answer
    }
}

fn failure(code: StatusCode, message: &str) -> Response {
    let body = Json(json!({ "error": message }));
    (code, [NO_STORE, assets::NO_SNIFF], body).into_response()
}
