//! Alerts that people close: what that changes, what it leaves, and what is kept of it.
//!
//! The golden file holds outcomes of the alerts of `v3.snapshot`. As with snapshots, a change of the
//! format gets a new version and a new file; files are never written anew.

mod common;

use std::path::Path;
use std::time::Duration;

use common::{MINUTE, at, crisis, engine, play};
use pounce_alerts::alert::{Alert, ChangeKind};
use pounce_alerts::{
    AlertEngine, CloseAction, CloseError, Closings, Settings, SnapshotError, UnknownAlert,
};
use pounce_types::closing::Outcome;

fn closing(alert: &Alert, by: &str, outcome: Outcome) -> CloseAction {
    let (id, by, note) = (alert.id.as_str().to_owned(), by.to_owned(), "a joke".to_owned());
    CloseAction { id, by, outcome, note }
}

/// An engine in which something fires.
fn in_a_crisis() -> (AlertEngine, Alert) {
    let mut engine = engine();
    play(&mut engine, &crisis(120, 30, 0), 2);
    let alert = engine.alerts(false).into_iter().next().expect("something fires");
    (engine, alert)
}

#[test]
fn an_alert_is_closed_once_and_whoever_closes_it_has_taken_it() {
    let (mut engine, alert) = in_a_crisis();
    let waiting = engine.unacknowledged(at(0)).alerts;
    let now = at(200 * MINUTE);
    let action = closing(&alert, "ann", Outcome::FalseAlarm);
    let closed = engine.close(&action, now).expect("it fires");
    let kept = closed.alert.closing.clone().expect("closed");
    assert_eq!((kept.outcome, &*kept.by, &*kept.note), (Outcome::FalseAlarm, "ann", "a joke"));
    assert_eq!(kept.at, now);
    let taken = closed.alert.acknowledgement.clone().expect("taken");
    assert_eq!((&*taken.by, &*taken.note, taken.at), ("ann", "", now));
    assert!(closed.waited.is_some_and(|waited| waited > Duration::from_secs(60)));
    assert_eq!(closed.told().map(|change| change.kind), Some(ChangeKind::Closed));
    assert_eq!(engine.unacknowledged(now).alerts, waiting - 1);

    let again = engine.close(&action, at(201 * MINUTE)).expect("done before");
    assert_eq!((again.told(), again.waited, &again.alert), (None, None, &closed.alert));
    for (by, outcome) in [("ann", Outcome::Answered), ("bob", Outcome::FalseAlarm)] {
        let refused = engine.close(&closing(&alert, by, outcome), now).expect_err("closed before");
        let told = CloseError::Closed { by: "ann".to_owned(), outcome: Outcome::FalseAlarm };
        assert_eq!(refused, told);
        assert_eq!(refused.to_string(), "the alert was closed by ann as false_alarm");
    }
    let unknown = CloseAction { id: "none".to_owned(), ..action };
    assert_eq!(engine.close(&unknown, now), Err(CloseError::Unknown(UnknownAlert)));
}

#[test]
fn who_took_an_alert_first_stays_when_another_closes_it() {
    let (mut engine, alert) = in_a_crisis();
    engine.acknowledge(alert.id.as_str(), "ann", "calling", at(0)).expect("it fires");
    let closed = engine.close(&closing(&alert, "bob", Outcome::Answered), at(MINUTE));
    let closed = closed.expect("it fires");
    assert_eq!((closed.waited, closed.changed), (None, true));
    assert_eq!(closed.alert.acknowledgement.map(|taken| taken.by).as_deref(), Some("ann"));
}

#[test]
fn a_closed_alert_resolves_as_if_nobody_had_closed_it() {
    let mut posts = crisis(120, 30, 180);
    let later = posts.split_off(posts.len() - 180 * 3);
    let (mut closed, mut open) = (engine(), engine());
    play(&mut closed, &posts, 0);
    play(&mut open, &posts, 0);
    for alert in closed.alerts(false) {
        closed.close(&closing(&alert, "ann", Outcome::Answered), at(151 * MINUTE)).expect("fires");
    }
    let (mut changes, expected) = (play(&mut closed, &later, 5), play(&mut open, &later, 5));
    assert!(changes.iter().any(|change| change.kind == ChangeKind::Resolved), "{changes:?}");
    for change in changes.iter_mut().filter(|change| change.alert.closing.is_some()) {
        (change.alert.closing, change.alert.acknowledgement) = (None, None);
    }
    assert_eq!(changes, expected);
    let resolved = closed.alerts(true);
    assert!(resolved.iter().any(|alert| alert.resolved_at.is_some() && alert.closing.is_some()));
    // One that resolved can be closed as well.
    let over = open.alerts(true).into_iter().find(|alert| alert.resolved_at.is_some());
    let over = over.expect("it ended");
    let late = open.close(&closing(&over, "eve", Outcome::CouldNotReach), at(400 * MINUTE));
    assert!(late.expect("known for a day").changed);
}

fn written(closings: &Closings) -> Vec<u8> {
    let mut bytes = Vec::new();
    closings.write(&mut bytes).expect("a vector takes everything");
    bytes
}

fn data(name: &str) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/snapshots").join(name);
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn snapshot() -> AlertEngine {
    AlertEngine::restore(&data("v3.snapshot")[..], Settings::default(), 100).expect("a snapshot")
}

/// The snapshot's three alerts: one fires and was taken, one fires, and one resolved.
fn closed() -> AlertEngine {
    let mut engine = snapshot();
    let outcomes = [Outcome::Answered, Outcome::FalseAlarm, Outcome::CouldNotReach];
    let now = engine.watermark().expect("it counted").after(Duration::from_secs(3600));
    for (alert, outcome) in engine.alerts(true).iter().zip(outcomes) {
        engine.close(&closing(alert, "bob", outcome), now).expect("it is known");
    }
    engine
}

#[test]
fn outcomes_of_version_1_are_read_and_written() {
    let golden = data("outcomes-v1.snapshot");
    assert!(written(&closed().closings()) == golden, "what is written is what is read");
    let mut engine = snapshot();
    engine.restore_closings(Closings::read(&golden[..]).expect("outcomes"));
    assert_eq!(engine.alerts(true), closed().alerts(true));
    let taken: Vec<_> =
        engine.alerts(true).into_iter().map(|alert| alert.acknowledgement).collect();
    let by: Vec<_> = taken.iter().flatten().map(|taken| &*taken.by).collect();
    assert_eq!(by, ["ann", "bob", "bob"]);
    // A process that knows other alerts leaves them out.
    let mut other = common::engine();
    other.restore_closings(Closings::read(&golden[..]).expect("outcomes"));
    assert!(other.closings().is_empty());
}

#[test]
fn outcomes_that_can_not_be_read_say_why() {
    let golden = data("outcomes-v1.snapshot");
    let changed = |place: usize, to: u8| {
        let mut bytes = golden.clone();
        bytes[place] = to;
        Closings::read(&bytes[..])
    };
    assert_eq!(changed(8, 2), Err(SnapshotError::ClosingsVersion { found: 2 }));
    let foreign = SnapshotError::Damaged("it holds no outcomes of alerts");
    assert_eq!(changed(0, b'x'), Err(foreign.clone()));
    assert_eq!(Closings::read(&golden[..7]), Err(foreign));
    let last = golden.len() - 20;
    let damaged = changed(last, golden[last] ^ 1);
    assert!(matches!(damaged, Err(SnapshotError::Damaged(_))), "{damaged:?}");
    let short = Closings::read(&golden[..golden.len() - 1]);
    assert_eq!(short, Err(SnapshotError::Damaged("it ends early")));
}
