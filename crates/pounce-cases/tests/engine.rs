//! The engine through its public door: posts, actions and time go in, changes come out.

mod common;

use common::{LEASE, MINUTE, at, bytes, claim, close, engine, open, post, release};
use pounce_cases::case::{CaseState, HistoryKind, Punctuality};
use pounce_cases::{
    ActionKind, CLOSED_KEPT, CaseAction, CaseChange, CaseChangeKind, CaseEngine, CaseError,
    CaseOrder, CaseSettings, FlaggedPost, Outcome,
};
use pounce_types::post::{Place, Topic};
use pounce_types::score::Severity;
use proptest::prelude::*;

fn kinds(changes: &[CaseChange]) -> Vec<CaseChangeKind> {
    changes.iter().map(|change| change.kind).collect()
}

#[test]
fn posts_of_one_author_within_a_day_are_one_case_with_the_worst_severity_and_first_deadline() {
    let mut engine = engine();
    let mild = FlaggedPost { severity: Severity::Low, ..post(1, 7, 10) };
    let id = engine.observe(&mild, at(10))[0].case.id;
    // Published before the first one, and came later.
    let earlier =
        FlaggedPost { place: Some(Place::parse(b"Lisbon").expect("a place")), ..post(2, 7, 4) };
    assert_eq!(kinds(&engine.observe(&earlier, at(11))), [CaseChangeKind::Joined]);
    assert_eq!(engine.observe(&earlier, at(12)), [], "a post that is sent again changes nothing");
    let last = 4 + 24 * 60 - 1;
    assert_eq!(kinds(&engine.observe(&post(3, 7, last), at(last))), [CaseChangeKind::Joined]);
    let case = engine.get(id).expect("a case");
    assert_eq!((case.severity, case.posts), (Severity::High, 3));
    assert_eq!((case.posted_at, case.respond_by), (at(4), at(19)));
    assert_eq!(case.place.as_ref().map(Place::as_str), Some("Lisbon"));
    let day_after = 4 + 24 * 60;
    let changes = engine.observe(&post(4, 7, day_after), at(day_after));
    assert_eq!(kinds(&changes), [CaseChangeKind::Opened]);
    assert_eq!(engine.len(), 2);
}

#[test]
fn authors_and_topics_have_cases_of_their_own_and_so_has_a_post_without_author() {
    let mut engine = engine();
    let other = FlaggedPost { topic: Topic::parse(b"lark").expect("a topic"), ..post(1, 7, 0) };
    let nobody = |id| FlaggedPost { author: None, ..post(id, 0, 0) };
    for post in [post(1, 7, 0), post(2, 8, 0), other, nobody(4), nobody(5)] {
        assert_eq!(kinds(&engine.observe(&post, at(0))), [CaseChangeKind::Opened]);
    }
    assert_eq!(engine.unclosed(), [0, 0, 5]);
}

#[test]
fn a_post_without_author_that_is_sent_again_opens_no_second_case() {
    let mut engine = engine();
    let nobody = |minute| FlaggedPost { author: None, ..post(1, 0, minute) };
    assert_eq!(kinds(&engine.observe(&nobody(0), at(0))), [CaseChangeKind::Opened]);
    assert_eq!(engine.observe(&nobody(0), at(0)), [], "at once");
    assert_eq!(engine.observe(&nobody(1), at(9)), [], "later, with another time");
    assert_eq!(kinds(&engine.tick(at(60))), [CaseChangeKind::Overdue]);
    assert_eq!((engine.len(), engine.unclosed()), (1, [0, 0, 1]));
}

#[test]
fn one_id_with_two_authors_at_one_moment_is_one_case_and_time_goes_on() {
    let settings = CaseSettings { topic_cases_max: 1, ..engine().settings() };
    let mut engine = CaseEngine::new(settings);
    let mut opened = 0;
    for (author, minute) in [(7, 2), (8, 1), (9, 2)] {
        opened += engine.observe(&post(1, author, minute), at(5)).len();
    }
    assert_eq!((opened, engine.len(), engine.unclosed()), (1, 1, [0, 0, 1]));
    assert_eq!(kinds(&engine.tick(at(60))), [CaseChangeKind::Overdue]);
    assert_eq!(kinds(&engine.observe(&post(2, 7, 2000), at(2000)))[..1], [CaseChangeKind::Opened]);
    assert_eq!(engine.len(), 1);
}

#[test]
fn what_an_author_writes_after_the_case_was_closed_is_another_case() {
    let mut engine = engine();
    let id = open(&mut engine, 1, 7, 0);
    close(&mut engine, id, "ann", Outcome::Answered, 10).expect("open");
    let before = engine.observe(&post(2, 7, 9), at(11));
    assert_eq!((kinds(&before), before[0].case.id), (vec![CaseChangeKind::Joined], id));
    assert_eq!(before[0].case.state(), CaseState::Closed);
    assert_eq!(kinds(&engine.observe(&post(3, 7, 12), at(12))), [CaseChangeKind::Opened]);
}

#[test]
fn of_two_claims_one_wins_and_the_other_is_told_by_whom_until_the_lease_ends() {
    let mut engine = engine();
    let id = open(&mut engine, 1, 7, 0);
    let first = claim(&mut engine, id, "ann", 1).expect("free");
    assert_eq!(first.change, Some(CaseChangeKind::Claimed));
    let taken = CaseError::Claimed { by: "ann".to_owned(), lease_until: at(16) };
    assert_eq!(claim(&mut engine, id, "bob", 2), Err(taken.clone()));
    assert_eq!(release(&mut engine, id, "bob", 2), Err(taken.clone()));
    assert_eq!(close(&mut engine, id, "bob", Outcome::FalseAlarm, 2), Err(taken));
    // Claiming again renews the lease.
    let renewed = claim(&mut engine, id, "ann", 10).expect("hers");
    assert_eq!(renewed.change, Some(CaseChangeKind::Renewed));
    let held = renewed.case.claim.expect("claimed");
    assert_eq!((held.at, held.lease_until), (at(1), at(10).after(LEASE)));
    assert_eq!(kinds(&engine.tick(at(24))), [CaseChangeKind::Overdue]);
    assert_eq!(kinds(&engine.tick(at(25))), [CaseChangeKind::LeaseEnded]);
    claim(&mut engine, id, "bob", 26).expect("free again");
    let case = engine.get(id).expect("a case");
    assert_eq!(case.first_claimed_at, Some(at(1)));
    let history: Vec<_> = case.history.iter().map(|entry| (entry.kind, &*entry.by)).collect();
    assert_eq!(
        history,
        [
            (HistoryKind::Opened, ""),
            (HistoryKind::Claimed, "ann"),
            (HistoryKind::LeaseEnded, "ann"),
            (HistoryKind::Claimed, "bob"),
        ]
    );
}

#[test]
fn a_lease_that_ended_holds_nobody_up_even_before_the_tick() {
    let mut engine = engine();
    let id = open(&mut engine, 1, 7, 0);
    claim(&mut engine, id, "ann", 0).expect("free");
    assert!(claim(&mut engine, id, "bob", 14).is_err());
    let taken = claim(&mut engine, id, "bob", 15).expect("the lease ended");
    assert_eq!(taken.case.claim.map(|claim| claim.by).as_deref(), Some("bob"));
}

#[test]
fn an_action_that_is_sent_again_is_done_once() {
    let mut engine = engine();
    let id = open(&mut engine, 1, 7, 0);
    claim(&mut engine, id, "ann", 1).expect("free");
    release(&mut engine, id, "ann", 2).expect("hers");
    assert_eq!(release(&mut engine, id, "ann", 3).map(|acted| acted.change), Ok(None));
    close(&mut engine, id, "ann", Outcome::Answered, 4).expect("free");
    let before = bytes(&engine);
    let again = close(&mut engine, id, "ann", Outcome::Answered, 5).expect("done before");
    assert_eq!((again.change, again.told()), (None, None));
    let closed = CaseError::Closed { by: "ann".to_owned(), outcome: Outcome::Answered };
    for by in ["ann", "bob"] {
        let other = close(&mut engine, id, by, Outcome::FalseAlarm, 6);
        assert_eq!(other, Err(closed.clone()));
    }
    assert_eq!(claim(&mut engine, id, "ann", 7), Err(closed.clone()));
    assert_eq!(release(&mut engine, id, "ann", 7), Err(closed));
    assert_eq!(bytes(&engine), before);
}

#[test]
fn the_deadline_is_judged_once_by_the_response() {
    let mut engine = engine();
    let cases: Vec<_> = (0..5).map(|n| open(&mut engine, n, n, 0)).collect();
    close(&mut engine, cases[0], "ann", Outcome::Answered, 15).expect("open");
    close(&mut engine, cases[1], "ann", Outcome::CouldNotReach, 3).expect("open");
    close(&mut engine, cases[2], "ann", Outcome::FalseAlarm, 3).expect("open");
    assert_eq!(engine.tick(at(15)), [], "until the deadline there is time");
    let passed = engine.tick(at(15).after(MINUTE / 60));
    assert_eq!(kinds(&passed), [CaseChangeKind::Overdue, CaseChangeKind::Overdue]);
    assert_eq!((engine.overdue(), engine.overdue_of(&passed[0].case.topic)), (2, 2));
    close(&mut engine, cases[3], "ann", Outcome::Answered, 20).expect("open");
    close(&mut engine, cases[4], "ann", Outcome::NoAnswerNeeded, 20).expect("open");
    let judged = cases.iter().map(|id| engine.get(*id).and_then(|case| case.punctuality));
    let (in_time, late) = (Some(Punctuality::InTime), Some(Punctuality::Late));
    assert_eq!(judged.collect::<Vec<_>>(), [in_time, in_time, None, late, late]);
    assert_eq!(engine.overdue(), 0);
}

#[test]
fn a_post_that_comes_after_its_deadline_is_no_fault_of_those_who_answer() {
    let mut engine = engine();
    engine.observe(&post(1, 7, 0), at(60));
    let passed = engine.tick(at(60));
    assert_eq!(kinds(&passed), [CaseChangeKind::Overdue]);
    assert_eq!(passed[0].case.punctuality, Some(Punctuality::OpenedLate));
    assert!(passed[0].case.is_overdue());
    let ahead = engine.observe(&post(2, 8, 100), at(61));
    assert_eq!(ahead[0].case.respond_by, at(76), "nobody posts in the future");
}

#[test]
fn a_case_keeps_its_first_and_latest_posts_and_history() {
    let mut engine = engine();
    let id = open(&mut engine, 0, 7, 0);
    for n in 1..100 {
        engine.observe(&post(n, 7, n), at(n));
        claim(&mut engine, id, "ann", n).expect("free");
        release(&mut engine, id, "ann", n).expect("hers");
    }
    let case = engine.get(id).expect("a case");
    let ids: Vec<_> = case.post_ids.iter().map(|id| id.as_str()).collect();
    assert_eq!((case.posts, ids.len(), ids[0], ids[9]), (100, 10, "p0", "p99"));
    assert_eq!((case.history.len(), case.history[0].kind), (20, HistoryKind::Opened));
}

#[test]
fn closed_cases_leave_first_then_the_oldest_of_the_lowest_severity_and_claimed_ones_last() {
    let settings = CaseSettings { cases_max: 4, topic_cases_max: 100 };
    let mut engine = CaseEngine::new(settings);
    let of = |id, severity| FlaggedPost { severity, ..post(id, id, 0) };
    let add = |engine: &mut CaseEngine, id, severity| {
        let changes = engine.observe(&of(id, severity), at(0));
        let gone = changes.iter().filter(|change| change.kind == CaseChangeKind::Evicted);
        let gone = gone.map(|change| change.case.post_ids[0].to_string()).collect::<Vec<_>>();
        (changes[0].case.id, gone)
    };
    let (claimed, _) = add(&mut engine, 1, Severity::Low);
    claim(&mut engine, claimed, "ann", 0).expect("free");
    let (closed, _) = add(&mut engine, 2, Severity::High);
    close(&mut engine, closed, "ann", Outcome::Answered, 0).expect("free");
    add(&mut engine, 3, Severity::High);
    add(&mut engine, 4, Severity::Low);
    assert_eq!(add(&mut engine, 5, Severity::Low).1, [""; 0], "a closed case leaves unheard");
    assert_eq!(engine.get(closed), None);
    assert_eq!(add(&mut engine, 6, Severity::Medium).1, ["p4"]);
    assert_eq!(add(&mut engine, 7, Severity::Medium).1, ["p5"]);
    assert_eq!(add(&mut engine, 8, Severity::Medium).1, ["p6"]);
    assert_eq!((engine.evicted(), engine.len()), (3, 4));
    assert!(engine.get(claimed).is_some());
}

#[test]
fn one_topic_can_not_crowd_out_the_others() {
    let mut engine = CaseEngine::new(CaseSettings { cases_max: 100, topic_cases_max: 5 });
    let quiet = FlaggedPost { topic: Topic::parse(b"lark").expect("a topic"), ..post(0, 0, 0) };
    let quiet = engine.observe(&quiet, at(0))[0].case.id;
    for n in 1..50 {
        open(&mut engine, n, n, 0);
    }
    assert_eq!((engine.len(), engine.evicted()), (6, 44));
    assert!(engine.get(quiet).is_some());
}

#[test]
fn what_closed_a_week_ago_is_forgotten() {
    let mut engine = engine();
    let id = open(&mut engine, 1, 7, 0);
    close(&mut engine, id, "ann", Outcome::Answered, 1).expect("open");
    engine.tick(at(1).after(CLOSED_KEPT));
    assert!(engine.get(id).is_some());
    engine.tick(at(2).after(CLOSED_KEPT));
    assert!(engine.is_empty());
    assert_eq!(engine.evicted(), 0, "nobody waited for it");
}

#[test]
fn pages_go_on_after_a_case_whatever_comes_and_goes() {
    let mut engine = engine();
    let severities = [Severity::Low, Severity::High, Severity::Medium];
    let ids: Vec<_> = (0..9)
        .map(|n| {
            let severity = severities[usize::try_from(n % 3).expect("small")];
            engine.observe(&FlaggedPost { severity, ..post(n, n, 20 - n) }, at(20))[0].case.id
        })
        .collect();
    close(&mut engine, ids[8], "ann", Outcome::Answered, 30).expect("open");
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = engine.page(CaseOrder::Deadline, |_| true, after.as_ref(), 2);
        listed.extend(page.cases.iter().map(|case| case.id));
        after = page.next;
        if after.is_none() {
            break;
        }
        open(&mut engine, 100 + listed.len() as u64, 100 + listed.len() as u64, 0);
    }
    let ours: Vec<_> = listed.into_iter().filter(|id| ids.contains(id)).collect();
    let expected: Vec<_> = ids[..8].iter().rev().chain([&ids[8]]).copied().collect();
    assert_eq!(ours, expected, "the earliest deadline first, the closed case last");
    let worst = engine.page(CaseOrder::Severity, |case| case.posted_at > at(0), None, 100).cases;
    let shown: Vec<_> = worst[..8].iter().map(|case| case.severity).collect();
    assert!(shown.is_sorted_by(|a, b| a >= b), "{shown:?}");
    assert_eq!(worst.len(), 9);
}

/// Something that happens.
#[derive(Debug, Clone)]
enum Step {
    Post { author: u64, severity: Severity, age: u64 },
    Act { nth: usize, by: u8, kind: ActionKind },
    Pass { minutes: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let severity = prop::sample::select(Severity::ALL.to_vec());
    let outcome = prop::sample::select(Outcome::ALL.to_vec());
    let close = outcome.prop_map(|outcome| ActionKind::Close { outcome, note: "done".to_owned() });
    let kind = prop_oneof![
        3 => Just(ActionKind::Claim { lease: LEASE }),
        1 => Just(ActionKind::Release),
        2 => close,
    ];
    let step = prop_oneof![
        4 => (0..12_u64, severity, 0..90_u64)
            .prop_map(|(author, severity, age)| Step::Post { author, severity, age }),
        4 => (0..100_usize, 0..3_u8, kind).prop_map(|(nth, by, kind)| Step::Act { nth, by, kind }),
        1 => (0..40_u64).prop_map(|minutes| Step::Pass { minutes }),
    ];
    prop::collection::vec(step, 1..120)
}

/// Plays steps; checks after each that nobody holds what another one claimed.
fn play(engine: &mut CaseEngine, minute: &mut u64, steps: &[Step], number: &mut u64) {
    let known = |engine: &CaseEngine| engine.page(CaseOrder::Deadline, |_| true, None, 1000).cases;
    for step in steps {
        match step {
            Step::Post { author, severity, age } => {
                *number += 1;
                let posted = minute.saturating_sub(*age);
                let post = FlaggedPost { severity: *severity, ..post(*number, *author, posted) };
                engine.observe(&post, at(*minute));
            }
            Step::Act { nth, by, kind } => {
                let cases = known(engine);
                let Some(case) = cases.get(nth % cases.len().max(1)) else { continue };
                let action = CaseAction { id: case.id, by: format!("{by}"), kind: kind.clone() };
                let holder = case.claim.as_ref().filter(|claim| claim.lease_until > at(*minute));
                let foreign = holder.is_some_and(|claim| claim.by != action.by);
                let acted = engine.act(&action, at(*minute));
                assert!(!(foreign && acted.is_ok()), "{acted:?} took {case:?}");
                if let (Ok(acted), ActionKind::Claim { .. }) = (&acted, kind) {
                    let claim = acted.case.claim.as_ref().expect("claimed");
                    assert_eq!(claim.by, action.by);
                }
                let repeated = engine.act(&action, at(*minute));
                assert_eq!(repeated.is_ok(), acted.is_ok(), "a retry ends as the first try did");
            }
            Step::Pass { minutes } => *minute += minutes,
        }
        engine.tick(at(*minute));
    }
}

proptest! {
    #[test]
    fn bounds_hold_and_counts_agree_whatever_happens(steps in steps()) {
        let settings = CaseSettings { cases_max: 9, topic_cases_max: 7 };
        let mut engine = CaseEngine::new(settings);
        play(&mut engine, &mut 100, &steps, &mut 0);
        prop_assert!(engine.len() <= 7);
        let cases = engine.page(CaseOrder::Severity, |_| true, None, 1000).cases;
        prop_assert_eq!(cases.len(), engine.len());
        let unclosed = Severity::ALL.map(|severity| {
            let open = cases.iter().filter(|case| case.closing.is_none());
            open.filter(|case| case.severity == severity).count()
        });
        prop_assert_eq!(engine.unclosed(), unclosed);
        let overdue = cases.iter().filter(|case| case.is_overdue()).count();
        prop_assert_eq!(engine.overdue(), overdue);
        for case in &cases {
            prop_assert!(case.claim.is_none() || case.closing.is_none());
        }
    }

    #[test]
    fn an_engine_that_was_restored_goes_on_as_the_first_one(
        before in steps(), after in steps()
    ) {
        let settings = CaseSettings { cases_max: 9, topic_cases_max: 7 };
        let mut first = CaseEngine::new(settings);
        let (mut minute, mut number) = (100, 0);
        play(&mut first, &mut minute, &before, &mut number);
        let mut second = CaseEngine::restore(&bytes(&first)[..], settings).expect("its own");
        prop_assert_eq!(bytes(&second), bytes(&first));
        let (mut minute_2, mut number_2) = (minute, number);
        play(&mut first, &mut minute, &after, &mut number);
        play(&mut second, &mut minute_2, &after, &mut number_2);
        prop_assert_eq!(bytes(&second), bytes(&first));
    }
}
