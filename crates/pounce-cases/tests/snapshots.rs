//! Snapshots are read for ever: each format has a file that is never rewritten.

mod common;

use std::path::Path;

use common::{at, bytes, claim, close, engine, open, post};
use pounce_cases::{CaseEngine, CaseSettings, CaseSnapshotError, Outcome};
use pounce_types::post::Place;

/// Cases in every state, every field set somewhere.
fn sample() -> CaseEngine {
    let mut engine = engine();
    let mut first = post(1, 7, 0);
    first.place = Some(Place::parse(b"Lisbon").expect("a place"));
    let claimed = engine.observe(&first, at(0))[0].case.id;
    claim(&mut engine, claimed, "ann", 1).expect("free");
    let closed = open(&mut engine, 2, 8, 0);
    close(&mut engine, closed, "bob", Outcome::CouldNotReach, 2).expect("free");
    open(&mut engine, 3, 9, 0);
    engine.tick(at(15));
    engine.tick(at(20));
    engine
}

#[test]
fn a_snapshot_of_version_1_is_read_and_written() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/v1.cases");
    let golden = std::fs::read(&file).expect("the golden file");
    let read = CaseEngine::restore(&golden[..], CaseSettings::default()).expect("of version 1");
    assert_eq!(bytes(&read), bytes(&sample()));
    assert_eq!(bytes(&sample()), golden, "older releases read what this one writes");
}

#[test]
fn a_snapshot_that_is_cut_or_changed_is_refused() {
    let whole = bytes(&sample());
    let restore = |bytes: &[u8]| CaseEngine::restore(bytes, CaseSettings::default()).map(|_| ());
    for length in 0..whole.len() {
        let cut = restore(&whole[..length]);
        assert!(matches!(cut, Err(CaseSnapshotError::Damaged(_))), "{length} bytes: {cut:?}");
    }
    for place in 12..whole.len() {
        let mut changed = whole.clone();
        changed[place] ^= 1;
        restore(&changed).expect_err("its checksum does not match");
    }
    let mut newer = whole;
    newer[8] = 9;
    assert_eq!(restore(&newer), Err(CaseSnapshotError::Version { found: 9 }));
}

#[test]
fn fewer_cases_are_kept_where_the_bounds_have_shrunk() {
    let settings = CaseSettings { cases_max: 2, topic_cases_max: 10 };
    let engine = CaseEngine::restore(&bytes(&sample())[..], settings).expect("good");
    assert_eq!((engine.len(), engine.unclosed()), (2, [0, 0, 2]), "the closed one left");
}
