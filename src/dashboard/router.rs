//! The dashboard's HTTP routes: its state, its events, acknowledging and closing alerts, and acting
//! on cases.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Json, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;
use tonic::{Code, Status};

use super::page::Page;
use super::{assets, live};
use crate::alerting::service;
use crate::auth::caller::Caller;
use crate::auth::tokens::Scope;
use crate::care::action::{Actor, CaseCommand};
use crate::lifecycle::drain::Phase;
use crate::parts::Parts;
use crate::recent::posts::RecentPosts;
use pounce_alerts::CloseAction;
use pounce_types::closing::Outcome;

/// Bytes of a request.
const REQUEST_BYTES_MAX: usize = 8 << 10;

/// The routes of the page. `post_url` is the address of a post, with `{post_id}` in it.
pub(crate) fn routes(parts: Parts, recent: RecentPosts, post_url: Option<String>) -> Router {
    let page = Page::new(parts, recent, post_url);
    Router::new()
        .route("/board/state", get(state))
        .route("/board/events", get(events))
        .route("/board/acknowledgements", post(take))
        .route("/board/closings", post(close))
        .route("/board/cases", post(act))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(Arc::new(page))
        .merge(assets::routes())
}

async fn state(State(page): State<Arc<Page>>, headers: HeaderMap) -> Result<Response, Refused> {
    let caller = page.let_in(Scope::AlertsRead, &headers)?;
    let (you, whole) = (page.you(&caller), page.view().await.whole(&caller));
    let body = format!("{{\"you\":{you},{}", &whole[1..]);
    let kind = (header::CONTENT_TYPE, "application/json");
    Ok(([kind, NO_STORE, assets::NO_SNIFF], body).into_response())
}

const NO_STORE: (header::HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

async fn events(
    State(page): State<Arc<Page>>,
    request_headers: HeaderMap,
) -> Result<Response, Refused> {
    let caller = page.let_in(Scope::AlertsRead, &request_headers)?;
    if page.parts.drain.phase() >= Phase::Draining {
        return Err(Status::unavailable("the server drains").into());
    }
    let place = Arc::clone(&page.watchers).try_acquire_owned();
    let place = place.map_err(|_| Status::unavailable("too many pages watch already"))?;
    // Proxies must not wait for the end of the stream.
    let unbuffered = (header::HeaderName::from_static("x-accel-buffering"), "no");
    let headers = [NO_STORE, assets::NO_SNIFF, unbuffered];
    // Where the scope is taken away that cases need, so is the stream that shows them.
    let of_cases = match caller.may(Scope::CasesRead) {
        true => page.let_in(Scope::CasesRead, &request_headers)?,
        false => caller.clone(),
    };
    Ok((headers, live::events(page, [caller, of_cases], place)).into_response())
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
    let expected = "id, by and, if you like, note";
    let (_, taking) = asked(&page, Scope::AlertsWrite, &headers, taking, expected)?;
    let Taking { id, by, note } = taking;
    service::acknowledge(&page.parts.counter, &id, &by, &note).await?;
    page.forget_last().await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Somebody closes an alert.
#[derive(Deserialize)]
struct Closing {
    id: String,
    outcome: OutcomeName,
}

async fn close(
    State(page): State<Arc<Page>>,
    headers: HeaderMap,
    closing: Result<Json<Closing>, JsonRejection>,
) -> Result<Response, Refused> {
    let expected = "id and outcome: answered, no_answer_needed, false_alarm or could_not_reach";
    let (caller, closing) = asked(&page, Scope::AlertsWrite, &headers, closing, expected)?;
    let Closing { id, outcome: OutcomeName(outcome) } = closing;
    let (by, note) = (String::new(), String::new());
    let action = CloseAction { id, by, outcome, note };
    service::close(&page.parts.counter, &caller, action).await?;
    page.forget_last().await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Somebody does something with a case.
#[derive(Deserialize)]
struct Acting {
    id: String,
    action: ActionName,
    /// With `close`.
    outcome: Option<OutcomeName>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ActionName {
    Claim,
    Release,
    Close,
}

/// An outcome by its name.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct OutcomeName(Outcome);

impl TryFrom<String> for OutcomeName {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Outcome::named(&name).map(Self).ok_or("no such outcome")
    }
}

async fn act(
    State(page): State<Arc<Page>>,
    headers: HeaderMap,
    acting: Result<Json<Acting>, JsonRejection>,
) -> Result<Response, Refused> {
    let expected = "id, action (claim, release or close) and, with close, outcome: answered, \
                    no_answer_needed, false_alarm or could_not_reach";
    let (caller, acting) = asked(&page, Scope::CasesWrite, &headers, acting, expected)?;
    let Acting { id, action, outcome } = acting;
    let command = match (action, outcome) {
        (ActionName::Claim, None) => CaseCommand::Claim,
        (ActionName::Release, None) => CaseCommand::Release,
        (ActionName::Close, Some(OutcomeName(outcome))) => {
            CaseCommand::Close { outcome, note: String::new() }
        }
        _ => {
            let says = "outcome is required with the action close, and with no other";
            return Err(Status::invalid_argument(says).into());
        }
    };
    let (cases, counter) = (page.parts.cases.clone(), page.parts.counter.clone());
    Actor { cases, counter }.act(&caller, &id, String::new(), command).await?;
    page.forget_last().await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Lets in who may change something, and reads what they want: JSON with the `expected` fields.
fn asked<T>(
    page: &Page,
    scope: Scope,
    headers: &HeaderMap,
    body: Result<Json<T>, JsonRejection>,
    expected: &str,
) -> Result<(Caller, T), Refused> {
    let caller = page.let_in(scope, headers)?;
    if page.parts.tokens.is_none() {
        return Err(Status::permission_denied("read-only: the server has no tokens").into());
    }
    let Json(wanted) = body.map_err(|rejection| Refused {
        code: rejection.status(),
        message: format!("the body must be JSON with {expected}"),
    })?;
    Ok((caller, wanted))
}

/// Why something is not done.
struct Refused {
    code: StatusCode,
    message: String,
}

/// A status of the gRPC side, as HTTP has it.
impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        let code = match status.code() {
            Code::InvalidArgument => StatusCode::BAD_REQUEST,
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::NotFound | Code::Unimplemented => StatusCode::NOT_FOUND,
            Code::FailedPrecondition => StatusCode::CONFLICT,
            Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self { code, message: status.message().to_owned() }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": self.message }));
        let answer = (self.code, [NO_STORE, assets::NO_SNIFF], body).into_response();
        if self.code == StatusCode::UNAUTHORIZED {
            return ([(header::WWW_AUTHENTICATE, "Bearer")], answer).into_response();
        }
        answer
    }
}
