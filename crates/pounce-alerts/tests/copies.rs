//! Copies of a text have one vote; short texts, which people choose alike, all count. Evidence
//! tells how many texts stand behind an alert, and where they come from.

mod common;

use std::time::Duration;

use pounce_alerts::alert::{Alert, AlertChange, ChangeKind};
use pounce_alerts::key::AlertKind;
use pounce_alerts::{AlertEngine, Observation, Settings};
use pounce_types::post::Place;

use common::{KEY, MINUTE, at, crisis, engine, of_kind, play, post, topic};

/// A day of a calm topic, a post a minute.
fn calm() -> Vec<Observation> {
    (0..1440).map(|id| post("kite", id, id * MINUTE, id % 9 == 0)).collect()
}

/// `count` posts with one text by as many authors, one every `apart` seconds from `from` on.
fn copies(text: &str, from: u64, count: u64, apart: u64, negative: bool) -> Vec<Observation> {
    (0..count)
        .map(|nth| {
            let copied = if nth == 0 { text.to_owned() } else { format!("RT @a{nth}: {text}") };
            let id = 100_000 + from * 1000 + nth * 2 + u64::from(negative);
            let near_text = KEY.near_text(&copied);
            Observation {
                near_text,
                ..post("kite", id, from * MINUTE + nth * apart * 1000, negative)
            }
        })
        .collect()
}

fn opened(changes: &[AlertChange], kind: AlertKind) -> Vec<&Alert> {
    let changes = of_kind(changes, kind).into_iter();
    changes.filter(|(change, _)| *change == ChangeKind::Opened).map(|(_, alert)| alert).collect()
}

fn play_sorted(engine: &mut AlertEngine, mut posts: Vec<Observation>) -> Vec<AlertChange> {
    posts.sort_by_key(|post| post.at);
    play(engine, &posts, 20)
}

const LONG: &str = "the app ate my ticket again and nobody answers";

#[test]
fn eight_copies_open_nothing_and_eight_complaints_do() {
    let quiet = |posts: Vec<Observation>| {
        let mut all = calm();
        all.extend(posts);
        play_sorted(&mut engine(), all)
    };
    let found = quiet(copies(LONG, 1430, 8, 30, true));
    assert_eq!(opened(&found, AlertKind::Share), Vec::<&Alert>::new());
    let different = (0..8).flat_map(|nth| {
        copies(&format!("{LONG} for the {nth}th time"), 1430 + nth / 2, 1, 0, true)
    });
    let mut different: Vec<_> = different.collect();
    for (nth, post) in different.iter_mut().enumerate() {
        *post = Observation {
            near_text: post.near_text,
            ..common::post("kite", 200_000 + nth as u64, 1430 * MINUTE + nth as u64 * 30_000, true)
        };
    }
    assert_eq!(opened(&quiet(different), AlertKind::Share).len(), 1);
}

#[test]
fn forty_short_complaints_alike_open_an_alert() {
    let mut posts = calm();
    posts.extend(copies("internet down", 1430, 40, 10, true));
    let found = play_sorted(&mut engine(), posts);
    let share = opened(&found, AlertKind::Share);
    assert_eq!(share.len(), 1);
    let volume = opened(&found, AlertKind::Volume);
    assert_eq!(volume.len(), 1);
}

#[test]
fn fifty_copied_praises_hide_nothing() {
    let complaints = |posts: &mut Vec<Observation>| {
        for nth in 0..25_u64 {
            let text = format!("{LONG} and this is the {nth}th time");
            let near_text = KEY.near_text(&text);
            let complaint = post("kite", 300_000 + nth, 1430 * MINUTE + nth * 20_000, true);
            posts.push(Observation { near_text, ..complaint });
        }
    };
    let mut alone = calm();
    complaints(&mut alone);
    let mut drowned = alone.clone();
    drowned.extend(copies(
        "what a lovely day to fly with these wonderful people",
        1430,
        50,
        8,
        false,
    ));
    let opened_at = |posts| {
        let changes = play_sorted(&mut engine(), posts);
        opened(&changes, AlertKind::Share).first().map(|alert| alert.opened_at)
    };
    assert!(opened_at(alone.clone()).is_some());
    assert_eq!(opened_at(drowned), opened_at(alone));
}

#[test]
fn a_text_has_a_vote_a_decision_and_a_period() {
    let mut engine = engine();
    let mut posts = copies(LONG, 0, 3, 1, true);
    posts.extend(copies(LONG, 1, 3, 1, false));
    posts.extend(copies(LONG, 15, 3, 1, true));
    play(&mut engine, &posts, 3);
    let status = engine.topic(&topic("kite"), None).expect("it is counted");
    let counts = status.windows[1].counts;
    assert_eq!((counts.posts, counts.negatives), (3, 2), "two discontent, one not");
    assert_eq!(engine.totals().text_repeats, 6);
}

#[test]
fn evidence_tells_texts_and_places() {
    let mut posts = calm();
    for nth in 0..40_u64 {
        let place: &[u8] = if nth % 4 == 3 { b"Porto" } else { b"Lisbon" };
        let mut complaint = post("kite", 300_000 + nth, 1430 * MINUTE + nth * 10_000, true);
        complaint.place = Some(Place::parse(place).expect("a place"));
        let text =
            if nth % 2 == 0 { format!("{LONG} for the {nth}th time") } else { LONG.to_owned() };
        complaint.near_text = KEY.near_text(&text);
        posts.push(complaint);
    }
    let mut engine = engine();
    let changes = play_sorted(&mut engine, posts);
    let share = opened(&changes, AlertKind::Share);
    let whole = share.iter().find(|alert| alert.key.place.is_none()).expect("the topic fires");
    let evidence = &whole.evidence;
    assert!(evidence.distinct_texts < evidence.commonest_text_posts + evidence.negatives);
    assert!(evidence.commonest_text_posts >= 5, "{evidence:?}");
    assert_eq!(evidence.texts_window, evidence.window);
    let places: Vec<_> = evidence.places.iter().map(|counts| counts.place.as_str()).collect();
    assert_eq!(places, ["Lisbon", "Porto"]);
    assert!(evidence.places[0].counts.negatives >= 3 * evidence.places[1].counts.negatives);
    assert!(
        share
            .iter()
            .filter(|alert| alert.key.place.is_some())
            .all(|alert| { alert.evidence.places.is_empty() })
    );
}

#[test]
fn the_horizon_of_a_memory_says_what_it_still_covers() {
    let settings = Settings::parse("[limits]\ntext_votes_max = 10\n").expect("good settings");
    let mut engine = AlertEngine::new(settings, 10);
    let now = at(22 * MINUTE);
    assert_eq!(engine.horizons(now).text_votes, Duration::from_secs(900));
    for nth in 0..20 {
        let text = KEY.near_text(&format!("{LONG} for the {nth}th time"));
        let post = Observation { near_text: text, ..post("kite", nth, nth * MINUTE, true) };
        engine.observe(&post, post.at);
    }
    engine.tick(now);
    let horizon = engine.horizons(now).text_votes;
    assert_eq!(horizon, Duration::from_secs(10 * 60), "those counted since minute 12");
    assert_eq!(engine.horizons(now).post_ids, Duration::from_secs(86_400));
    assert!(engine.totals().text_votes_forgotten > 0);
}

#[test]
fn a_crisis_of_different_texts_is_as_one_without_texts() {
    let bare = crisis(120, 60, 0);
    let told: Vec<_> = bare
        .iter()
        .enumerate()
        .map(|(nth, post)| Observation {
            near_text: KEY.near_text(&format!("{LONG} for the {nth}th time")),
            ..post.clone()
        })
        .collect();
    let opened_at = |posts: &[Observation]| {
        let changes = play(&mut engine(), posts, 5);
        opened(&changes, AlertKind::Share).iter().map(|alert| alert.opened_at).collect::<Vec<_>>()
    };
    assert_eq!(opened_at(&told), opened_at(&bare));
}
