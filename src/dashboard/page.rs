//! What the dashboard's handlers share: the parts of the service, and what was shown last.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use serde_json::json;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;
use tonic::Status;

use super::view::{self, View};
use crate::auth::caller::Caller;
use crate::auth::guard::Guard;
use crate::auth::need::Need;
use crate::auth::tokens::Scope;
use crate::parts::Parts;
use crate::recent::posts::RecentPosts;

/// Open streams of events; more are turned away, and their pages poll.
const WATCHERS_MAX: usize = 32;
/// How old what is shown may be: it is made once in this time, however many watch.
pub(super) const VIEW_AGE_MAX: Duration = Duration::from_secs(1);
/// The same of topics, whose minutes close once a minute.
const TOPICS_AGE_MAX: Duration = Duration::from_secs(5);

/// What the handlers share.
pub(super) struct Page {
    pub(super) parts: Parts,
    recent: RecentPosts,
    /// Address of a post, with `{post_id}` in it.
    post_url: Option<String>,
    guard: Guard,
    pub(super) watchers: Arc<Semaphore>,
    /// What was shown last.
    last: Mutex<Option<Made>>,
}

struct Made {
    at: Instant,
    topics_at: Instant,
    view: Arc<View>,
}

impl Page {
    pub(super) fn new(parts: Parts, recent: RecentPosts, post_url: Option<String>) -> Self {
        Self {
            guard: Guard::new(parts.tokens.clone()),
            parts,
            recent,
            post_url,
            watchers: Arc::new(Semaphore::new(WATCHERS_MAX)),
            last: Mutex::new(None),
        }
    }

    /// Shows nothing again that was shown before: something has changed.
    pub(super) async fn forget_last(&self) {
        self.last.lock().await.take();
    }

    /// What is to be shown now, made anew if it is too old.
    pub(super) async fn view(&self) -> Arc<View> {
        let mut last = self.last.lock().await;
        let now = Instant::now();
        if let Some(made) = last.as_ref().filter(|made| now - made.at < VIEW_AGE_MAX) {
            return Arc::clone(&made.view);
        }
        let kept = last.take().filter(|made| now - made.topics_at < TOPICS_AGE_MAX);
        let topics_at = kept.as_ref().map_or(now, |made| made.topics_at);
        let (monitor, cases) = (&self.parts.monitor, &self.parts.cases);
        let view = Arc::new(View {
            alerts: monitor.read(|engine| view::alerts(engine, &self.recent)),
            cases: cases.read(|engine| view::cases(cases.spec().is_on(), engine, &self.recent)),
            posts: view::posts(&self.recent),
            service: view::service(&self.parts, &self.recent),
            topics: kept
                .map_or_else(|| monitor.read(view::topics), |made| Arc::clone(&made.view.topics)),
        });
        *last = Some(Made { at: now, topics_at, view: Arc::clone(&view) });
        view
    }

    /// What the caller may do, and where posts are, as JSON.
    pub(super) fn you(&self, caller: &Caller) -> String {
        // Without tokens nobody is known, and who acts must say who they are.
        let may = |scope| self.parts.tokens.is_some() && caller.may(scope);
        json!({
            "may_acknowledge": may(Scope::AlertsWrite),
            "may_act": may(Scope::CasesWrite),
            "name": caller.token_name(),
            "post_url": self.post_url,
        })
        .to_string()
    }

    pub(super) fn let_in(&self, scope: Scope, headers: &HeaderMap) -> Result<Caller, Status> {
        self.guard.admit("the dashboard", Need::Scope(scope), headers)
    }
}
