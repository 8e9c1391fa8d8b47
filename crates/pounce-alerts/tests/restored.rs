//! An engine and one that was restored from its snapshot go on alike.

mod common;

use std::time::Duration;

use common::{MINUTE, at, encoded, engine, post};
use pounce_alerts::alert::ChangeKind;
use pounce_alerts::{AlertEngine, Observation, Settings};
use pounce_types::post::Place;

fn restored(engine: &AlertEngine) -> AlertEngine {
    AlertEngine::restore(&encoded(engine)[..], Settings::default(), 1000).expect("a snapshot")
}

/// What takes too much memory is forgotten by that sum.
#[test]
fn late_posts_weigh_the_same_in_both() {
    let mut engine = engine();
    let in_place = |id: u64, minute: u64| Observation {
        place: Some(Place::parse(format!("place {}", id % 3).as_bytes()).expect("a place")),
        followers: 5_000,
        ..post("kite", id, minute * MINUTE, true)
    };
    engine.observe(&in_place(1, 52), at(52 * MINUTE));
    engine.observe(&in_place(2, 60), at(60 * MINUTE));
    for id in 3..9 {
        let observed = engine.observe(&in_place(id, 50 + id), at(60 * MINUTE));
        assert!(!observed.late && !observed.duplicate);
        assert_eq!(engine.history_bytes(), restored(&engine).history_bytes(), "post {id}");
    }
}

#[test]
fn topics_that_are_due_in_the_same_second_come_in_the_same_order() {
    let mut live = engine();
    // Posts arrive a little after they were written, so that topics are due a little later.
    let arrive = |engine: &mut AlertEngine, name: &str, id: u64, millis: u64, delay: u64| {
        engine.observe(&post(name, id, millis, true), at(millis + delay));
    };
    for id in 0..30 {
        arrive(&mut live, "kite", id, id * 1_000, 300);
        arrive(&mut live, "lark", id, id * 1_000, 500);
    }
    assert_eq!(live.tick(at(61_000)), []);
    // The delay of the kites rises, and they are due after the larks.
    arrive(&mut live, "kite", 30, 69_500, 700);
    let mut restored = restored(&live);
    let changes = live.tick(at(121_000));
    let opened: Vec<_> =
        changes.iter().map(|change| (change.kind, change.alert.key.topic.as_str())).collect();
    assert_eq!(opened, [(ChangeKind::Opened, "lark"), (ChangeKind::Opened, "kite")]);
    assert_eq!(restored.tick(at(121_000)), changes);
    assert!(encoded(&restored) == encoded(&live));
}

#[test]
fn no_minute_of_an_idle_topic_closes_in_one_of_them_alone() {
    let mut engine = engine();
    // Its sender is five minutes behind, and then no more.
    let behind = 5 * MINUTE;
    engine.observe(&post("kite", 1, 0, false), at(behind));
    for minute in 0..320 {
        let now = at(behind + minute * MINUTE);
        engine.tick(now);
        let mut live = engine.clone();
        let again = Observation { at: now, ..post("kite", 1, 0, false) };
        assert!(live.observe(&again, now).duplicate);
        let mut restored = restored(&live);
        for seconds in [60, 120, 180] {
            let now = now.after(Duration::from_secs(seconds));
            live.tick(now);
            restored.tick(now);
            assert!(encoded(&restored) == encoded(&live), "{minute} min, {seconds} s");
        }
    }
}
