//! Made-up flagged posts, and who works on their cases.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub, reason = "shared by test files")]

use std::time::Duration;

use pounce_alerts::AuthorHash;
use pounce_cases::{
    Acted, ActionKind, CaseAction, CaseEngine, CaseError, CaseId, CaseSettings, FlaggedPost,
    Outcome,
};
use pounce_types::post::{PostId, Timestamp, Topic};
use pounce_types::score::Severity;

pub const MINUTE: Duration = Duration::from_secs(60);
pub const LEASE: Duration = Duration::from_secs(15 * 60);

/// Minutes after the start of the test.
pub fn at(minutes: u64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + minutes * 60_000)
}

/// A post of severity high by an author, published and seen at a minute.
pub fn post(id: u64, author: u64, minute: u64) -> FlaggedPost {
    FlaggedPost {
        topic: Topic::parse(b"kite").expect("a topic"),
        place: None,
        post_id: PostId::parse(format!("p{id}").as_bytes()).expect("an id"),
        author: Some(AuthorHash::from_bits(author)),
        severity: Severity::High,
        at: at(minute),
        respond_within: 15 * MINUTE,
    }
}

pub fn engine() -> CaseEngine {
    CaseEngine::new(CaseSettings::default())
}

/// Opens a case and returns its id.
pub fn open(engine: &mut CaseEngine, id: u64, author: u64, minute: u64) -> CaseId {
    engine.observe(&post(id, author, minute), at(minute))[0].case.id
}

pub fn claim(
    engine: &mut CaseEngine,
    id: CaseId,
    by: &str,
    minute: u64,
) -> Result<Acted, CaseError> {
    act(engine, id, by, ActionKind::Claim { lease: LEASE }, minute)
}

pub fn release(
    engine: &mut CaseEngine,
    id: CaseId,
    by: &str,
    minute: u64,
) -> Result<Acted, CaseError> {
    act(engine, id, by, ActionKind::Release, minute)
}

pub fn close(
    engine: &mut CaseEngine,
    id: CaseId,
    by: &str,
    outcome: Outcome,
    minute: u64,
) -> Result<Acted, CaseError> {
    act(engine, id, by, ActionKind::Close { outcome, note: String::new() }, minute)
}

fn act(
    engine: &mut CaseEngine,
    id: CaseId,
    by: &str,
    kind: ActionKind,
    minute: u64,
) -> Result<Acted, CaseError> {
    engine.act(&CaseAction { id, by: by.to_owned(), kind }, at(minute))
}

pub fn bytes(engine: &CaseEngine) -> Vec<u8> {
    let mut bytes = Vec::new();
    engine.snapshot().write(&mut bytes).expect("a vector takes everything");
    bytes
}
