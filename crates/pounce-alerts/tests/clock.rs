//! A wall clock that goes wrong: for as long as it is wrong nothing can be promised, and afterwards
//! everything goes on.

mod common;

use std::time::Duration;

use pounce_alerts::alert::{AlertChange, ChangeKind};
use pounce_alerts::key::AlertKind;
use pounce_alerts::{AlertEngine, Observation, Settings};
use pounce_types::post::Timestamp;
use proptest::prelude::*;

use common::{MINUTE, at, encoded, engine, of_kind, post};

/// When the clock goes wrong, and comes back.
const WRONG: u64 = 300 * MINUTE;

/// Posts as they arrive, `step` milliseconds apart, of a mood and of the time that the clock shows.
fn arrive(
    engine: &mut AlertEngine,
    (first, posts, step): (u64, u64, u64),
    id: u64,
    is_bad: impl Fn(u64) -> bool,
) -> (Vec<AlertChange>, u64) {
    let (mut changes, mut late) = (Vec::new(), 0);
    for n in 0..posts {
        let now = first + n * step;
        let observation = post("kite", id + n, now, is_bad(n));
        changes.extend(engine.tick(at(now)));
        let ticket = engine.admit(&observation.topic, observation.at, at(now));
        let observed = engine.observe_admitted(&observation, &ticket, at(now));
        late += u64::from(observed.late);
        changes.extend(observed.changes);
    }
    (changes, late)
}

fn calm(n: u64) -> bool {
    n.is_multiple_of(9)
}

fn opened(changes: &[AlertChange]) -> Vec<String> {
    let share = of_kind(changes, AlertKind::Share).into_iter();
    let opened = share.filter(|(kind, _)| *kind == ChangeKind::Opened);
    opened.map(|(_, alert)| alert.id.to_string()).collect()
}

fn restored(engine: &AlertEngine) -> AlertEngine {
    AlertEngine::restore(&encoded(engine)[..], Settings::default(), 1000).expect("a snapshot")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The topic is as one that is new, whatever the clock showed meanwhile.
    #[test]
    fn a_clock_that_ran_ahead_and_came_back_leaves_no_post_late_and_hides_no_alert(
        ahead in 20_u64..4_000,
        posts in 0_u64..200,
        is_bad in any::<bool>(),
        restarts in any::<bool>(),
    ) {
        let mut engine = engine();
        arrive(&mut engine, (0, WRONG / 20_000, 20_000), 0, calm);
        let wrong = WRONG + ahead * MINUTE;
        engine.tick(at(wrong));
        arrive(&mut engine, (wrong, posts, 1_000), 1_000, |n| is_bad || calm(n));
        if restarts {
            engine = restored(&engine);
        }
        let mut fresh = common::engine();
        let (found, late) = arrive(&mut engine, (WRONG, 120, 20_000), 10_000, |_| true);
        let (expected, _) = arrive(&mut fresh, (WRONG, 120, 20_000), 10_000, |_| true);
        prop_assert_eq!((late, engine.turned_back()), (0, 1));
        let expected = opened(&expected);
        prop_assert_eq!(expected.len(), 1);
        if engine.alerts(false).iter().any(|alert| expected.contains(&alert.id.to_string())) {
            prop_assert!(opened(&found).contains(&expected[0]));
        } else {
            // One that the wrong hours opened fires on.
            prop_assert_eq!(engine.firing(), [1, 0, 0]);
        }
    }

    /// What the lateness covers is no reason to forget anything.
    #[test]
    fn a_small_step_back_changes_nothing(step_back in 0_u64..540_000) {
        let (mut engine, mut other) = (engine(), common::engine());
        arrive(&mut engine, (0, WRONG / 20_000, 20_000), 0, calm);
        arrive(&mut other, (0, WRONG / 20_000, 20_000), 0, calm);
        let back = WRONG - 20_000 - step_back;
        let (_, late) = arrive(&mut engine, (back, 1, 1), 10_000, calm);
        other.observe(&post("kite", 10_000, back, true), at(WRONG - 20_000));
        prop_assert_eq!((late, engine.turned_back()), (0, 0));
        prop_assert_eq!(opened(&arrive(&mut engine, (WRONG, 200, 20_000), 20_000, |_| true).0),
            opened(&arrive(&mut other, (WRONG, 200, 20_000), 20_000, |_| true).0));
    }
}

#[test]
fn what_the_wrong_clock_opened_ends_no_earlier_than_it_opened() {
    let mut engine = engine();
    arrive(&mut engine, (0, WRONG / 20_000, 20_000), 0, calm);
    let wrong = WRONG + 1_440 * MINUTE;
    let (changes, _) = arrive(&mut engine, (wrong, 200, 20_000), 2_000, |_| true);
    assert_eq!(opened(&changes).len(), 1);
    let (changes, late) = arrive(&mut engine, (WRONG, 300, 20_000), 10_000, calm);
    assert_eq!(late, 0);
    let share = of_kind(&changes, AlertKind::Share);
    let [(ChangeKind::Resolved, alert)] = share[..] else { panic!("it ends: {share:?}") };
    assert!(alert.resolved_at >= Some(alert.opened_at));
    // Nothing of the time that never was holds the next one back.
    let now = WRONG + 300 * 20_000;
    let (changes, _) = arrive(&mut engine, (now, 300, 20_000), 20_000, |_| true);
    assert_eq!(opened(&changes).len(), 1);
}

#[test]
fn what_resolved_by_the_wrong_clock_is_forgotten_a_day_after_that_was_right() {
    let mut engine = engine();
    arrive(&mut engine, (0, WRONG / 20_000, 20_000), 0, calm);
    let wrong = WRONG + 1_440 * MINUTE;
    arrive(&mut engine, (wrong, 200, 20_000), 2_000, |_| true);
    arrive(&mut engine, (wrong + 200 * 20_000, 300, 20_000), 3_000, calm);
    assert_eq!(engine.alerts(false), []);
    for (minutes, kept) in [(0, true), (1_440, true), (1_441, false)] {
        engine.tick(at(WRONG + minutes * MINUTE));
        assert_eq!(!engine.alerts(true).is_empty(), kept, "after {minutes} minutes");
    }
}

#[test]
fn posts_that_arrived_by_the_wrong_clock_are_of_now_once_it_is_right() {
    let mut engine = engine();
    let wrong = at(WRONG + 1_440 * MINUTE);
    let observation = Observation { at: wrong, ..post("kite", 1, 0, true) };
    let ticket = engine.admit(&observation.topic, observation.at, wrong);
    let observed = engine.observe_admitted(&observation, &ticket, at(WRONG));
    assert!(!observed.late);
    engine.tick(at(WRONG).after(Duration::from_secs(180)));
    assert_eq!(engine.watermark(), Some(at(WRONG + 2 * MINUTE)));
    assert!(engine.tick(Timestamp::MIN).is_empty(), "however far it goes back");
}

#[test]
fn a_topic_that_begins_in_the_wrong_hours_goes_on_when_they_are_over() {
    let mut engine = engine();
    let wrong = at(WRONG + 1_440 * MINUTE);
    // The clock of its sender is right.
    assert!(!engine.observe(&post("kite", 1, WRONG, true), wrong).late);
    engine.tick(at(WRONG + MINUTE));
    engine.tick(at(WRONG + 10 * MINUTE));
    let status = engine.topic(&common::topic("kite"), None).expect("a topic");
    assert_eq!(
        status.windows.last().map(|window| window.counts.posts),
        Some(1),
        "its minute has closed"
    );
}
