//! What the page shows, as JSON in parts that change at their own pace.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::recent::posts::{Flagged, RecentPosts};
use pounce_alerts::AlertEngine;
use pounce_alerts::alert::Alert;
use pounce_alerts::status::{ShareHistory, TopicStatus, WindowStatus};
use pounce_cases::{Case, CaseEngine, CaseOrder};
use pounce_client::json::{show_alert, show_case};

use crate::alerting::wire;
use crate::auth::caller::Caller;
use crate::auth::tokens::Scope;
use crate::care::wire as care_wire;
use crate::lifecycle::drain::Phase;
use crate::parts::Parts;
use crate::wire::rfc3339;

/// Topics that are shown, those that fire first.
pub(super) const TOPICS_MAX: usize = 50;
/// Firing alerts that are shown, newest first.
pub(super) const FIRING_MAX: usize = 100;
/// Places of a topic that are shown, those that fire first.
const PLACES_MAX: usize = 5;
/// Cases that are shown, the earliest deadline first.
const CASES_MAX: usize = 50;
/// Resolved alerts that are shown, newest first.
const RESOLVED_MAX: usize = 10;

/// The parts, each as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) alerts: Arc<str>,
    pub(super) cases: Arc<str>,
    pub(super) posts: Arc<str>,
    pub(super) service: Arc<str>,
    pub(super) topics: Arc<str>,
}

impl View {
    /// The parts with the names they travel under, and what each asks of a token.
    pub(super) fn parts(&self) -> [(&'static str, Scope, &Arc<str>); 5] {
        [
            ("alerts", Scope::AlertsRead, &self.alerts),
            ("cases", Scope::CasesRead, &self.cases),
            ("posts", Scope::AlertsRead, &self.posts),
            ("service", Scope::AlertsRead, &self.service),
            ("topics", Scope::AlertsRead, &self.topics),
        ]
    }

    /// The parts that a caller may see, as one JSON object.
    pub(super) fn whole(&self, caller: &Caller) -> String {
        let parts = self.parts().into_iter().filter(|(_, scope, _)| caller.may(*scope));
        let parts: Vec<_> = parts.map(|(name, _, part)| format!("\"{name}\":{part}")).collect();
        format!("{{{}}}", parts.join(","))
    }
}

fn text(part: &impl Serialize) -> Arc<str> {
    // Keys are strings and numbers finite or null: this can't fail.
    serde_json::to_string(part).unwrap_or_else(|_| "null".to_owned()).into()
}

/// What fires, and what did lately.
pub(super) fn alerts(engine: &AlertEngine, recent: &RecentPosts) -> Arc<str> {
    let shown = |resolved: bool, max| -> Vec<Value> {
        let passes = |alert: &Alert| alert.resolved_at.is_some() == resolved;
        let alerts = engine.alerts_page(resolved, passes, None, max).items;
        alerts.iter().map(|shown| alert(shown, recent)).collect()
    };
    let (firing, resolved) = (shown(false, FIRING_MAX), shown(true, RESOLVED_MAX));
    let firing_total: u64 = engine.firing().iter().sum();
    text(&json!({ "firing_total": firing_total, "firing": firing, "resolved": resolved }))
}

/// The cases that are not closed; with the texts of their posts as far as these are remembered.
pub(super) fn cases(on: bool, engine: &CaseEngine, recent: &RecentPosts) -> Arc<str> {
    if !on {
        return text(&json!({ "on": false }));
    }
    let open = |case: &Case| case.closing.is_none();
    let page = engine.page(CaseOrder::Deadline, open, None, CASES_MAX);
    let shown = page.cases.iter().map(|case| {
        let mut shown = show_case(&care_wire::show_case(case));
        if let Some(texts) = recent.texts(&case.topic, &case.post_ids) {
            shown["texts"] = json!(texts);
        }
        shown
    });
    text(&json!({
        "on": true,
        "cases": shown.collect::<Vec<_>>(),
        "total": engine.unclosed().iter().sum::<usize>(),
        "overdue": engine.overdue(),
    }))
}

/// The topics that fire, then those with most discontent.
pub(super) fn topics(engine: &AlertEngine) -> Arc<str> {
    let topics: Vec<Value> =
        engine.topics(TOPICS_MAX).iter().map(|status| topic(status, engine)).collect();
    text(&json!({ "keys_total": engine.keys(), "topics": topics }))
}

/// The latest flagged posts.
pub(super) fn posts(recent: &RecentPosts) -> Arc<str> {
    let flagged: Vec<Value> = recent.flagged().iter().map(post).collect();
    text(&json!({ "flagged": flagged }))
}

/// How the service fares.
pub(super) fn service(parts: &Parts, recent: &RecentPosts) -> Arc<str> {
    let Parts { scorer, health, drain, .. } = parts;
    let rates = recent.rates();
    let state = match drain.phase() {
        Phase::Serving if health.ready() => "ready",
        Phase::Serving => "starting",
        Phase::Notice | Phase::Draining | Phase::Stopping => "draining",
    };
    let took = rates.took.map(|took| took.map(millis));
    let [p50, p95, p99] = took.map_or([None; 3], |took| took.map(Some));
    text(&json!({
        "state": state,
        "version": env!("CARGO_PKG_VERSION"),
        "model": { "name": scorer.model().name, "revision": scorer.model().revision },
        "workers": { "alive": scorer.workers_alive(), "max": scorer.limits().workers },
        "queue": { "posts": scorer.posts_open(), "max": scorer.limits().queue_posts_max },
        "scored_per_second": rates.scored_per_second,
        "scored": rates.scored,
        "rejected_last_minute": rates.rejected,
        "post_milliseconds": { "p50": p50, "p95": p95, "p99": p99 },
    }))
}

fn alert(alert: &Alert, recent: &RecentPosts) -> Value {
    let mut shown = show_alert(&wire::show_alert(alert));
    let texts = recent.texts(&alert.key.topic, &alert.evidence.sample_post_ids);
    if let Some(texts) = texts {
        shown["evidence"]["sample_texts"] = json!(texts);
    }
    shown
}

fn topic(status: &TopicStatus, engine: &AlertEngine) -> Value {
    let history: Option<ShareHistory> = engine.history(&status.key.topic);
    let places = engine.places_page(&status.key.topic, None, PLACES_MAX);
    let places = places.map(|page| (page.next.is_some(), page.items));
    let (more_places, places) = places.unwrap_or_default();
    let windows = status.windows.iter().map(window);
    json!({
        "topic": status.key.topic,
        "places": places.iter().map(place).collect::<Vec<_>>(),
        "more_places": more_places,
        "warming": status.warming,
        "baseline": rounded(status.baseline),
        "threshold": rounded(status.threshold),
        "windows": windows.collect::<Vec<_>>(),
        "watermark": rfc3339(status.watermark),
        "alert_ids": status.alert_ids.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
        "history": history.as_ref().map(|history| json!({
            "window_minutes": history.window.as_secs() / 60,
            "step_minutes": history.step.as_secs() / 60,
            "posts": history.points.iter().map(|point| point.counts.posts).collect::<Vec<_>>(),
            "negatives":
                history.points.iter().map(|point| point.counts.negatives).collect::<Vec<_>>(),
            "bound":
                history.points.iter().map(|point| rounded(point.bound)).collect::<Vec<_>>(),
        })),
    })
}

fn place(status: &TopicStatus) -> Value {
    json!({
        "place": status.key.place,
        "threshold": rounded(status.threshold),
        "windows": status.windows.iter().map(window).collect::<Vec<_>>(),
        "watermark": rfc3339(status.watermark),
        "alert_ids": status.alert_ids.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
    })
}

fn window(window: &WindowStatus) -> Value {
    json!({
        "minutes": window.window.as_secs() / 60,
        "posts": window.counts.posts,
        "negatives": window.counts.negatives,
        "bound": rounded(window.bound),
    })
}

fn post(post: &Flagged) -> Value {
    let mut shown = json!({
        "id": post.id,
        "topic": post.topic,
        "place": post.place,
        "followers": post.followers,
        "flag": if post.severity.is_some() { "discontent" } else { "advocate" },
        "severity": post.severity,
        "probability": rounded(post.probability.into()),
        "at": rfc3339(post.at),
        "respond_by": post.respond_by.map(rfc3339),
    });
    if let Some(text) = &post.text {
        shown["text"] = json!(text);
    }
    shown
}

/// Four digits after the point are more than anybody sees.
fn rounded(number: f64) -> f64 {
    (number * 1e4).round() / 1e4
}

fn millis(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e4).round() / 10.0
}
