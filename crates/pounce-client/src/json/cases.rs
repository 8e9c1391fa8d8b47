//! Cases as JSON.

use serde_json::{Value, json};

use super::time::rfc3339;
use pounce_proto::{Case, CaseHistoryEntry};

/// A case as a JSON object.
#[must_use]
pub fn show_case(case: &Case) -> Value {
    let (claim, closing) = (case.claim.as_ref(), case.closing.as_ref());
    json!({
        "id": case.id,
        "state": case.state().name(),
        "severity": case.severity().name(),
        "topic": case.topic,
        "place": case.place,
        "post_ids": case.post_ids,
        "posts": case.posts,
        "posted_at": case.posted_at.and_then(rfc3339),
        "opened_at": case.opened_at.and_then(rfc3339),
        "respond_by": case.respond_by.and_then(rfc3339),
        "overdue": case.overdue,
        "claimed_by": claim.map(|claim| claim.by.as_str()),
        "claimed_at": claim.and_then(|claim| claim.at).and_then(rfc3339),
        "lease_until": claim.and_then(|claim| claim.lease_until).and_then(rfc3339),
        "outcome": closing.map(|closing| closing.outcome().name()),
        "closed_by": closing.map(|closing| closing.by.as_str()),
        "closed_at": closing.and_then(|closing| closing.at).and_then(rfc3339),
        "closed_note": closing.map(|closing| closing.note.as_str()),
        "history": case.history.iter().map(show_history).collect::<Vec<_>>(),
    })
}

fn show_history(entry: &CaseHistoryEntry) -> Value {
    json!({ "kind": entry.kind().name(), "by": entry.by, "at": entry.at.and_then(rfc3339) })
}
