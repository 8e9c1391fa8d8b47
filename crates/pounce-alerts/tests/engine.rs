//! What the engine promises, seen from outside: alerts do not depend on order,
//! repetition, sharding or a restart, and nothing grows past its bound.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use pounce_alerts::alert::{Alert, AlertChange, ChangeKind, Suppression};
use pounce_alerts::key::AlertKind;
use pounce_alerts::{AlertEngine, Observation, Settings, SnapshotError};
use pounce_types::post::{Place, PostId, Timestamp};
use proptest::prelude::*;

use common::{
    MINUTE, START, at, author, crisis, encoded, engine, of_kind, play, post, sorted, topic,
};

#[test]
fn a_change_of_mood_opens_an_alert_with_evidence_and_resolves_when_it_is_over() {
    let changes = play(&mut engine(), &crisis(120, 60, 120), 5);
    let share: Vec<_> = of_kind(&changes, AlertKind::Share)
        .into_iter()
        .filter(|(_, alert)| alert.key.place.is_none())
        .collect();
    let (first, opened) = share[0];
    assert_eq!(first, ChangeKind::Opened);
    let minutes = (opened.opened_at.millis() - START) / MINUTE;
    assert!((121..=132).contains(&minutes), "opened after {minutes} minutes");
    let evidence = &opened.evidence;
    assert_eq!(evidence.window, Duration::from_secs(15 * 60));
    assert_eq!((evidence.posts, evidence.sample_post_ids.len()), (45, 5));
    assert!(evidence.bound > evidence.threshold && evidence.threshold > evidence.baseline);
    assert_eq!(opened.respond_by, opened.opened_at.after(Duration::from_secs(15 * 60)));
    let (last, resolved) = share[share.len() - 1];
    assert_eq!((last, &resolved.id), (ChangeKind::Resolved, &opened.id));
    let minutes = (resolved.resolved_at.expect("resolved").millis() - START) / MINUTE;
    assert!((185..=215).contains(&minutes), "resolved after {minutes} minutes");
    assert!(share.iter().any(|(kind, _)| *kind == ChangeKind::Escalated));
}

#[test]
fn a_firing_topic_holds_back_its_places_and_counts_them() {
    let mut engine = engine();
    play(&mut engine, &crisis(120, 120, 0), 0);
    let alerts = engine.alerts(false);
    let share: Vec<_> = alerts.iter().filter(|alert| alert.kind == AlertKind::Share).collect();
    assert_eq!(share.len(), 1, "{share:?}");
    assert_eq!(share[0].evidence.suppressed, 2);
    assert_eq!(engine.totals().suppressed(AlertKind::Share, Suppression::TopicFiring), 2);
}

#[test]
fn five_hundred_posts_of_one_author_raise_no_share_alert() {
    let mut posts = crisis(240, 0, 0);
    let mut loud: Vec<_> = (0..500)
        .map(|nth| {
            let mut post = post("kite", 10_000 + nth, 200 * MINUTE + nth * 4_000, true);
            post.author = Some(author("loud"));
            post
        })
        .collect();
    posts.append(&mut loud);
    posts.sort_by_key(|post| post.at);
    let mut engine = engine();
    let changes = play(&mut engine, &posts, 300);
    assert_eq!(of_kind(&changes, AlertKind::Share), []);
    assert_eq!(of_kind(&changes, AlertKind::Volume), []);
    assert!(engine.totals().author_repeats > 490);
}

#[test]
fn people_with_an_audience_raise_a_reach_alert_on_a_quiet_topic() {
    let posts: Vec<_> = (0..4)
        .map(|id| Observation { followers: 40_000, ..post("kite", id, id * MINUTE, id > 0) })
        .collect();
    let changes = play(&mut engine(), &posts, 90);
    let reach = of_kind(&changes, AlertKind::Reach);
    let kinds: Vec<_> = reach.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [ChangeKind::Opened, ChangeKind::Resolved]);
    assert_eq!(reach[0].1.evidence.observed, 120_000.0);
    let open = reach[1].1.resolved_at.expect("resolved").millis() - reach[0].1.opened_at.millis();
    assert_eq!(open / MINUTE, 57 + 10, "the first falls silent, then calm for ten minutes");
}

#[test]
fn after_an_alert_the_same_opens_no_sooner_than_the_cooldown() {
    let mut posts = crisis(120, 40, 40);
    for mut again in crisis(0, 15, 60) {
        let id = again.at.millis();
        again = Observation { at: again.at.after(Duration::from_secs(200 * 60)), ..again };
        again.post_id = PostId::parse(id.to_string().as_bytes()).expect("an id");
        again.author = None;
        posts.push(again);
    }
    let mut engine = engine();
    let changes = play(&mut engine, &posts, 0);
    let opened: Vec<_> = of_kind(&changes, AlertKind::Share)
        .into_iter()
        .filter(|(kind, alert)| *kind == ChangeKind::Opened && alert.key.place.is_none())
        .collect();
    assert_eq!(opened.len(), 1);
    assert!(engine.totals().suppressed(AlertKind::Share, Suppression::Cooldown) > 0);
}

#[test]
fn a_window_that_begins_at_the_end_of_an_alert_is_as_long_as_what_it_counts() {
    let mut posts = crisis(120, 60, 0);
    posts.iter_mut().for_each(|post| post.place = Some(Place::parse(b"Lisbon").expect("a place")));
    // Silence ends the alert. Then too few posts for every window but the longest.
    posts.extend((0..24).map(|id| Observation {
        place: Some(Place::parse(b"Porto").expect("a place")),
        ..post("kite", 10_000 + id, 215 * MINUTE + id * 192_000, true)
    }));
    let mut engine = engine();
    let changes = play(&mut engine, &posts, 3);
    let share = of_kind(&changes, AlertKind::Share);
    let topic = share.iter().filter(|(_, alert)| alert.key.place.is_none());
    let of = |which| topic.clone().filter(move |(kind, _)| *kind == which);
    let (_, ended) = of(ChangeKind::Resolved).next().expect("it ends");
    let (_, again) = of(ChangeKind::Opened).nth(1).expect("another one");
    let ended = ended.resolved_at.expect("resolved").millis();
    let evidence = &again.evidence;
    assert_eq!(evidence.window, Duration::from_millis(again.opened_at.millis() - ended));
    assert_eq!((evidence.posts, evidence.texts_window), (20, evidence.window));
    let [place] = &evidence.places[..] else { panic!("one place: {:?}", evidence.places) };
    assert_eq!((place.place.as_str(), place.counts.posts), ("Porto", 20));
}

#[test]
fn late_posts_count_for_ten_minutes_and_then_no_more() {
    let mut engine = engine();
    let now = at(60 * MINUTE);
    engine.observe(&post("kite", 1, 60 * MINUTE, false), now);
    let counted = engine.observe(&post("kite", 2, 50 * MINUTE, true), now);
    assert_eq!((counted.late, counted.duplicate), (false, false));
    let late = engine.observe(&post("kite", 3, 48 * MINUTE, true), now);
    assert!(late.late);
    engine.observe(&post("kite", 4, 62 * MINUTE, false), at(62 * MINUTE));
    let status = engine.topic(&topic("kite"), None).expect("a topic");
    let counts = status.windows[0].counts;
    assert_eq!((counts.posts, counts.negatives), (2, 1), "{status:?}");
}

#[test]
fn a_post_of_the_future_is_of_now() {
    let mut engine = engine();
    engine.observe(&post("kite", 1, 1_000_000 * MINUTE, true), at(0));
    engine.observe(&post("kite", 2, MINUTE, true), at(0));
    assert_eq!(engine.totals().clamped, 1);
    engine.tick(at(3 * MINUTE));
    let status = engine.topic(&topic("kite"), None).expect("a topic");
    assert_eq!(status.windows[0].counts.posts, 2);
    assert_eq!(status.watermark, at(2 * MINUTE));
}

#[test]
fn a_fast_clock_closes_no_minute_early() {
    let mut engine = engine();
    engine.observe(&post("kite", 1, 119_000, true), at(0));
    let status = engine.topic(&topic("kite"), None).expect("a topic");
    assert_eq!(status.watermark, at(0).before(Duration::from_secs(60)));
}

#[test]
fn time_goes_on_when_no_post_comes() {
    let mut engine = engine();
    for id in 0..30 {
        engine.observe(&post("kite", id, id * 1000, true), at(id * 1000));
    }
    assert_eq!(engine.tick(at(119_999)), []);
    let changes = engine.tick(at(120_000));
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(changes[0].alert.opened_at, at(60_000));
    let gone: Vec<_> = (3..600).flat_map(|minute| engine.tick(at(minute * MINUTE))).collect();
    let kinds: Vec<_> = gone.iter().map(|change| change.kind).collect();
    assert_eq!(kinds, [ChangeKind::Resolved]);
}

#[test]
fn the_first_to_acknowledge_stays() {
    let mut engine = engine();
    play(&mut engine, &crisis(120, 60, 0), 0);
    let id = engine.alerts(false)[0].id.clone();
    let noticed = START + 179 * MINUTE + 40_000;
    let now = Timestamp::from_millis(noticed + 5_000);
    let first = engine.acknowledge(id.as_str(), "ana", "calling the store", now).expect("known");
    assert_eq!(first.waited, Some(Duration::from_secs(5)));
    let second = engine.acknowledge(id.as_str(), "ben", "me too", now).expect("known");
    assert_eq!(second.waited, None);
    assert_eq!(second.alert.acknowledgement, first.alert.acknowledgement);
    assert!(engine.acknowledge("nonsense", "ana", "", now).is_err());
    for minute in 180..300 {
        engine.tick(at(minute * MINUTE));
    }
    let kept = engine.alerts(true);
    let over = kept.iter().find(|alert| alert.id == id).expect("kept for a day");
    assert_eq!(over.acknowledgement, first.alert.acknowledgement);
}

#[test]
fn a_crisis_of_days_becomes_the_new_normal() {
    let day = 24 * 60;
    let mut posts = crisis(day, 3 * day, 0);
    posts.retain(|post| post.place.is_none());
    let changes = play(&mut engine(), &posts, 0);
    let share = of_kind(&changes, AlertKind::Share);
    let (kind, last) = share[share.len() - 1];
    assert_eq!(kind, ChangeKind::Resolved);
    let hours =
        (last.resolved_at.expect("resolved").millis() - last.opened_at.millis()) / 3_600_000;
    assert!((24..60).contains(&hours), "{hours} h");
}

#[test]
fn a_topic_that_always_complains_opens_no_alert_from_a_cold_start_and_is_learnt() {
    let mut posts = crisis(0, 24 * 60, 0);
    posts.retain(|post| post.place.is_none());
    let mut engine = engine();
    let changes = play(&mut engine, &posts, 0);
    assert_eq!(of_kind(&changes, AlertKind::Share), []);
    assert!(engine.topic(&topic("kite"), None).expect("a topic").baseline > 0.6);
}

/// Streams of an afternoon: bursts of posts of few topics, places and authors,
/// some of them repeated with another time.
fn streams() -> impl Strategy<Value = Vec<Observation>> {
    let burst = (0_u64..200, 1_u64..60, 0_u8..2, 0_u8..10);
    let posts = (0_u64..60_000, 0_u8..3, 0_u64..40, any::<bool>(), 0_u8..10);
    prop::collection::vec((burst, prop::collection::vec(posts, 5..60)), 1..8).prop_map(|bursts| {
        let mut stream = Vec::new();
        for (nth, ((minute, length, name, mood), posts)) in bursts.into_iter().enumerate() {
            for (index, (millis, place, author, known, odds)) in posts.into_iter().enumerate() {
                let id = (nth * 1000 + index) as u64;
                let millis = minute * MINUTE + millis * length % (length * MINUTE);
                let name = ["kite", "lark"][usize::from(name)];
                let mut post = post(name, id, millis, odds < mood);
                if odds == 0 {
                    post.post_id = PostId::parse(b"again").expect("an id");
                }
                post.place = [None, Some(b"Lisbon".as_slice()), Some(b"Porto")][usize::from(place)]
                    .map(|name| Place::parse(name).expect("a place"));
                post.author = known.then(|| self::author(&format!("author-{author}")));
                post.followers = author * 3_000;
                stream.push(post);
            }
        }
        stream.sort_by_key(|post| post.at);
        stream
    })
}

/// Sorts posts by when they arrive if each is held up by as much as it says.
fn held_up(posts: &[Observation], by: &[u64]) -> Vec<Observation> {
    let mut arrivals: Vec<_> = posts
        .iter()
        .zip(by.iter().cycle())
        .map(|(post, by)| (post.at.millis() + by, post.clone()))
        .collect();
    arrivals.sort_by_key(|(arrival, _)| *arrival);
    arrivals.into_iter().map(|(_, post)| post).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 128,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_order_within_the_lag_gives_identical_alerts(
        posts in streams(),
        by in prop::collection::vec(0_u64..=60_000, 1..50),
    ) {
        let (mut in_order, mut in_disorder) = (engine(), engine());
        let expected = play(&mut in_order, &posts, 300);
        let found = play(&mut in_disorder, &held_up(&posts, &by), 300);
        prop_assert_eq!(sorted(found), sorted(expected));
        prop_assert_eq!(in_disorder.alerts(true), in_order.alerts(true));
        prop_assert_eq!(in_disorder.topics(9), in_order.topics(9));
    }

    #[test]
    fn any_order_of_scoring_gives_the_alerts_of_the_order_of_arrival(
        posts in streams(),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 1..200),
        in_flight_max in 1_usize..300,
    ) {
        let (mut in_order, mut in_flight) = (engine(), engine());
        let expected = play(&mut in_order, &posts, 300);
        let newest = posts.iter().map(|post| post.at).max().unwrap_or_default();
        let (mut open, mut changes, mut pick) = (Vec::new(), Vec::new(), picks.iter().cycle());
        let mut arriving = posts.iter();
        loop {
            let next = arriving.next();
            if let Some(post) = next {
                open.push((post, in_flight.admit(&post.topic, post.at, newest)));
                if open.len() < in_flight_max {
                    continue;
                }
            }
            if open.is_empty() {
                break;
            }
            let (post, ticket) = open.swap_remove(pick.next().expect("endless").index(open.len()));
            let observed = in_flight.observe_admitted(post, &ticket, newest);
            prop_assert!(!observed.late);
            changes.extend(observed.changes);
        }
        for minute in 1..=300 {
            changes.extend(in_flight.tick(newest.after(Duration::from_secs(60 * minute))));
        }
        prop_assert_eq!(sorted(changes), sorted(expected));
        prop_assert_eq!(in_flight.alerts(true), in_order.alerts(true));
    }

    #[test]
    fn the_same_stream_twice_gives_identical_alerts(posts in streams(), pace in 1_u64..120) {
        let mut once = engine();
        let expected = play(&mut once, &posts, 300);
        let mut twice = engine();
        let mut changes = Vec::new();
        // Live: the clock goes with the posts, `pace` seconds at a time.
        let mut clock = posts[0].at;
        for post in &posts {
            while clock < post.at {
                clock = clock.after(Duration::from_secs(pace)).min(post.at);
                changes.extend(twice.tick(clock));
            }
            changes.extend(twice.observe(post, clock).changes);
        }
        let opened = |changes: &[AlertChange]| -> Vec<Alert> {
            sorted(changes.to_vec()).into_iter()
                .filter(|change| change.kind == ChangeKind::Opened)
                .map(|change| change.alert)
                .collect()
        };
        for post in &posts {
            let again = twice.observe(post, posts[posts.len() - 1].at);
            prop_assert!(again.duplicate || again.late);
            changes.extend(again.changes);
        }
        let now = posts[posts.len() - 1].at;
        for minute in 1..=300 {
            changes.extend(twice.tick(now.after(Duration::from_secs(60 * minute))));
        }
        prop_assert_eq!(opened(&changes), opened(&expected));
        prop_assert_eq!(twice.alerts(true), once.alerts(true));
    }

    #[test]
    fn shards_merged_give_identical_alerts(
        posts in streams(),
        split in prop::collection::vec(0_usize..3, 1..30),
    ) {
        let mut whole = engine();
        let expected = play(&mut whole, &posts, 300);
        let mut merged = engine();
        let mut changes = Vec::new();
        let now = posts[posts.len() - 1].at;
        for (nth, part) in posts.chunk_by(|a, b| {
            a.at.millis() / 30_000 == b.at.millis() / 30_000
        }).enumerate() {
            let mut shards = [engine(), engine(), engine()];
            for (post, to) in part.iter().zip(split.iter().cycle().skip(nth)) {
                shards[*to].observe(post, now);
            }
            for shard in shards {
                changes.extend(merged.merge(shard, now));
            }
        }
        changes.extend(play(&mut merged, &[], 0));
        for minute in 1..=300 {
            changes.extend(merged.tick(now.after(Duration::from_secs(60 * minute))));
        }
        prop_assert_eq!(sorted(changes), sorted(expected));
        prop_assert_eq!(merged.alerts(true), whole.alerts(true));
    }

    #[test]
    fn killed_and_restored_gives_identical_alerts(posts in streams(), kill in 0.0_f64..1.0) {
        let mut whole = engine();
        let expected = play(&mut whole, &posts, 300);
        let now = posts[posts.len() - 1].at;
        let mut before = engine();
        let mut changes = Vec::new();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss,
            clippy::cast_precision_loss, reason = "an index of a short list")]
        let middle = (posts.len() as f64 * kill) as usize;
        for post in &posts[..middle] {
            changes.extend(before.observe(post, now).changes);
        }
        let bytes = encoded(&before);
        // What came after the snapshot is lost with the process, and sent again.
        for post in &posts[middle..(middle + 10).min(posts.len())] {
            before.observe(post, now);
        }
        let mut after = AlertEngine::restore(bytes.as_slice(), Settings::default(), 1000).expect("a snapshot");
        prop_assert_eq!(encoded(&after).len(), bytes.len());
        for post in &posts {
            changes.extend(after.observe(post, now).changes);
        }
        for minute in 1..=300 {
            changes.extend(after.tick(now.after(Duration::from_secs(60 * minute))));
        }
        prop_assert_eq!(sorted(changes), sorted(expected));
        prop_assert_eq!(after.alerts(true), whole.alerts(true));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// With more topics and places than there is room for, of which some have a past that fades.
    #[test]
    fn restored_midway_it_is_equal_to_the_one_that_ran_on(
        steps in prop::collection::vec(
            (
                0_u64..9,
                prop::option::of(0_u64..3),
                1_u64..40,
                // Four hours and a day: places idle and wake.
                prop_oneof![8 => 0_u64..400, 1 => 14_000_u64..16_000, 1 => 80_000_u64..90_000],
                any::<bool>(),
            ),
            1..120,
        ),
        kill in any::<prop::sample::Index>(),
    ) {
        let settings = Settings::parse("[share]\nposts_min = 8\n").expect("good settings");
        let mut whole = AlertEngine::new(settings.clone(), 7);
        let mut restored = None;
        let (mut id, mut now) = (0, START);
        for (nth, (topic, place, count, seconds, negative)) in steps.iter().enumerate() {
            if nth == kill.index(steps.len()) {
                let bytes = encoded(&whole);
                restored = Some(
                    AlertEngine::restore(bytes.as_slice(), settings.clone(), 7).expect("a snapshot"),
                );
            }
            now += seconds * 1000;
            for _ in 0..*count {
                id += 1;
                // Every third is late: its minute has closed.
                let late = if id % 3 == 0 { 150_000 } else { 0 };
                let millis = (now - START).saturating_sub(late);
                let mut post = post(&format!("topic {topic}"), id, millis, *negative);
                post.place = place.map(|place| {
                    Place::parse(format!("place {place}").as_bytes()).expect("a place")
                });
                for engine in std::iter::once(&mut whole).chain(&mut restored) {
                    engine.observe(&post, at(now - START));
                }
            }
            for engine in std::iter::once(&mut whole).chain(&mut restored) {
                engine.tick(at(now - START));
            }
            if let Some(restored) = &restored {
                prop_assert_eq!(restored.history_bytes(), whole.history_bytes());
            }
        }
        let restored = restored.expect("killed on the way");
        prop_assert!(encoded(&restored) == encoded(&whole));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_input_panics_or_grows_past_the_bounds(
        posts in prop::collection::vec(
            (any::<u64>(), 0_u64..50, prop::option::of(0_u64..20), any::<u64>(), any::<bool>(),
             prop_oneof![Just(0_u64), Just(u64::MAX), any::<u64>(), START..START + 86_400_000]),
            1..300),
        clocks in prop::collection::vec(
            prop_oneof![Just(0_u64), Just(u64::MAX), START..START + 86_400_000], 1..9),
    ) {
        let settings = Settings::parse(
            "[limits]\npost_ids_max = 20\nauthor_votes_max = 20\ntext_votes_max = 20\nopen_posts_max = 20\n\
             resolved_alerts_max = 2\n[reach]\nauthors_max = 5\n",
        ).expect("good settings");
        let mut engine = AlertEngine::new(settings.clone(), 10);
        for (nth, (id, name, place, followers, negative, millis)) in posts.iter().enumerate() {
            let now = Timestamp::from_millis(clocks[nth % clocks.len()]);
            let mut post = post(&format!("topic-{name}"), *id, 0, *negative);
            post.at = Timestamp::from_millis(*millis);
            post.followers = *followers;
            post.place = place.map(|place| {
                Place::parse(format!("place-{place}").as_bytes()).expect("a place")
            });
            engine.observe(&post, now);
            engine.tick(now);
            prop_assert!(engine.keys() <= 10);
            let [open, ids, votes, texts] = engine.held();
            prop_assert!(open <= 21 && ids <= 20 && votes <= 20 && texts <= 20, "{:?}", engine.held());
        }
        let again = AlertEngine::restore(encoded(&engine).as_slice(), settings, 3).expect("a snapshot");
        prop_assert!(again.keys() <= 3);
    }

    #[test]
    fn no_bytes_panic_the_reader_of_snapshots(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        cut in 0_usize..5000,
    ) {
        prop_assert!(AlertEngine::restore(bytes.as_slice(), Settings::default(), 10).is_err());
        let mut engine = engine();
        play(&mut engine, &crisis(30, 10, 0), 0);
        let mut good = encoded(&engine);
        let cut = cut % good.len();
        good[cut] ^= 1;
        prop_assert!(AlertEngine::restore(good.as_slice(), Settings::default(), 10).is_err());
        good[cut] ^= 1;
        good.truncate(cut);
        prop_assert!(AlertEngine::restore(good.as_slice(), Settings::default(), 10).is_err());
    }
}

#[test]
fn foreign_old_and_damaged_snapshots_are_told_apart() {
    let restore = |bytes: &[u8]| AlertEngine::restore(bytes, Settings::default(), 10).err();
    let mut bytes = encoded(&engine());
    assert_eq!(restore(&bytes), None);
    assert_eq!(restore(b"something else altogether"), Some(SnapshotError::Foreign));
    assert_eq!(restore(b""), Some(SnapshotError::Foreign));
    assert!(matches!(restore(&bytes[..10]), Some(SnapshotError::Damaged(_))));
    bytes[8] = 99;
    assert_eq!(restore(&bytes), Some(SnapshotError::Version { found: 99 }));
}

#[test]
fn a_post_in_flight_holds_the_watermark_back_until_it_is_released_or_too_old() {
    let closed =
        |engine: &AlertEngine| engine.topic(&topic("kite"), None).map(|status| status.watermark);
    for give_back in [true, false] {
        let mut engine = engine();
        let ticket = engine.admit(&topic("kite"), at(0), at(0));
        engine.observe(&post("kite", 1, 5 * MINUTE, true), at(5 * MINUTE));
        engine.tick(at(9 * MINUTE));
        assert_eq!(closed(&engine), Some(at(0)), "it waits for the post of the first minute");
        let mut now = 11;
        if give_back {
            engine.release(&ticket);
            now = 9;
        }
        engine.tick(at(now * MINUTE));
        assert_eq!(closed(&engine), Some(at((now - 1) * MINUTE)));
    }
}

#[test]
fn a_writer_that_catches_up_an_old_backlog_holds_no_minute_back() {
    let mut engine = engine();
    engine.observe(&post("kite", 1, 60 * MINUTE, true), at(60 * MINUTE));
    let watermark = |oldest: u64, engine: &mut AlertEngine| {
        for minute in 61..80 {
            let now = at(minute * MINUTE);
            engine.hold(&topic("kite"), 7, Some(at(oldest * MINUTE)), now);
            engine.tick(now);
        }
        engine.topic(&topic("kite"), None).map(|status| status.watermark)
    };
    assert_eq!(watermark(55, &mut engine.clone()), Some(at(59 * MINUTE)), "it may come in time");
    assert_eq!(watermark(0, &mut engine), Some(at(78 * MINUTE)), "it is late whatever waits");
}

#[test]
fn fewer_topics_after_a_restart_forget_no_alert_that_is_over() {
    let mut posts = crisis(120, 60, 120);
    for name in ["lark", "wren"] {
        posts.extend(crisis(120, 60, 0).into_iter().map(|post| Observation {
            topic: topic(name),
            at: post.at.after(Duration::from_secs(120 * 60)),
            ..post
        }));
    }
    posts.sort_by_key(|post| post.at);
    let mut engine = engine();
    play(&mut engine, &posts, 2);
    let over = |engine: &AlertEngine| -> BTreeSet<_> {
        let every = engine.alerts(true).into_iter();
        every.filter(|alert| alert.resolved_at.is_some()).map(|alert| alert.id).collect()
    };
    let before = over(&engine);
    assert!(!before.is_empty());
    let bytes = encoded(&engine);
    let restored = AlertEngine::restore(&bytes[..], Settings::default(), 1).expect("a snapshot");
    assert!(restored.keys() <= 1);
    assert!(over(&restored).is_superset(&before));
}

#[test]
fn a_post_is_late_by_those_that_arrived_before_it_whichever_is_scored_first() {
    let mut engine = engine();
    let (newer, older) = (post("kite", 1, 60 * MINUTE, true), post("kite", 2, 0, true));
    let now = at(60 * MINUTE);
    let tickets = [&newer, &older].map(|post| engine.admit(&post.topic, post.at, now));
    assert!(engine.observe_admitted(&older, &tickets[1], now).late);
    assert!(!engine.observe_admitted(&newer, &tickets[0], now).late);
}

#[test]
fn a_million_topics_leave_the_newest_and_a_count() {
    let mut engine = AlertEngine::new(Settings::default(), 100);
    for id in 0..1_000_000_u64 {
        engine.observe(&post(&format!("topic-{id}"), id, 0, true), at(0));
    }
    assert_eq!(engine.keys(), 100);
    assert_eq!(engine.totals().keys_forgotten, 999_900);
    assert!(engine.topic(&topic("topic-999999"), None).is_some());
    assert!(engine.topic(&topic("topic-999899"), None).is_none());
}

#[test]
fn a_topic_seen_again_outlives_one_that_was_not() {
    let mut engine = AlertEngine::new(Settings::default(), 3);
    for (id, name) in ["a", "b", "c", "a", "d"].into_iter().enumerate() {
        engine.observe(&post(name, id as u64, 0, true), at(0));
    }
    let kept: Vec<_> = ["a", "b", "c", "d"]
        .into_iter()
        .filter(|name| engine.topic(&topic(name), None).is_some())
        .collect();
    assert_eq!(kept, ["a", "c", "d"]);
}

#[test]
fn a_flood_of_made_up_topics_ends_no_alert_and_forgets_no_baseline() {
    let mut posts = crisis(120, 60, 0);
    // A calm topic with a baseline of its own, and a new one that is busy.
    posts.extend((0..600).map(|id| post("calm", id, id * 18_000, false)));
    posts.extend((0..30).map(|id| post("busy", id, 170 * MINUTE + id * 1000, false)));
    posts.sort_by_key(|post| post.at);
    let settings = "[share]\nbaseline_gap_minutes = 15\n";
    let mut engine = AlertEngine::new(Settings::parse(settings).expect("good settings"), 100);
    play(&mut engine, &posts, 3);
    let firing = engine.alerts(false);
    assert!(!firing.is_empty());
    for id in 0..100_000 {
        let made_up = post(&format!("made up {id}"), id, 185 * MINUTE, true);
        let changes = engine.observe(&made_up, made_up.at).changes;
        assert_eq!(changes, []);
    }
    assert_eq!(engine.alerts(false), firing);
    for name in ["kite", "calm", "busy"] {
        assert!(engine.topic(&topic(name), None).is_some(), "{name}");
    }
    assert_eq!(engine.keys(), 100);
}

#[test]
fn newcomers_find_room_among_topics_with_a_past() {
    let mut engine = AlertEngine::new(Settings::default(), 20);
    for id in 0..40 {
        let name = format!("topic-{id}");
        for nth in 0..25 {
            let post = post(&name, nth, id * 10 * MINUTE + nth * 1000, false);
            engine.observe(&post, post.at);
        }
        engine.tick(at((id * 10 + 3) * MINUTE));
    }
    let now = at(401 * MINUTE);
    for name in ["new", "newer"] {
        engine.observe(&post(name, 1, 401 * MINUTE, false), now);
    }
    for name in ["new", "newer", "topic-39", "topic-30"] {
        assert!(engine.topic(&topic(name), None).is_some(), "{name}");
    }
    assert!(engine.topic(&topic("topic-1"), None).is_none());
    assert_eq!(engine.keys(), 20);
}

#[test]
fn alerts_of_a_forgotten_topic_end() {
    let mut engine = AlertEngine::new(Settings::default(), 1);
    let mut posts = crisis(60, 60, 0);
    posts.retain(|post| post.place.is_none());
    posts.iter_mut().for_each(|post| post.at = post.at.before(Duration::ZERO));
    let opened = play(&mut engine, &posts, 0);
    assert!(!opened.is_empty());
    let observed = engine.observe(&post("lark", 1, 120 * MINUTE, false), at(120 * MINUTE));
    assert!(observed.changes.iter().all(|change| change.kind == ChangeKind::Resolved));
    assert!(!observed.changes.is_empty());
    assert_eq!(engine.alerts(false), []);
    assert_eq!(engine.firing(), [0; 3]);
}

#[test]
fn events_carry_the_alerts_that_fire() {
    let mut engine = engine();
    let posts = crisis(120, 60, 0);
    play(&mut engine, &posts, 0);
    let firing: Vec<_> = engine.alerts(false).into_iter().map(|alert| alert.id).collect();
    let next = post("kite", 999_999, 180 * MINUTE, false);
    engine.observe(&next, next.at);
    let mut told = engine.alert_ids(&next.topic, next.place.as_ref());
    told.sort();
    assert!(!told.is_empty() && told.iter().all(|id| firing.contains(id)));
    let other = post("lark", 1, 180 * MINUTE, false);
    engine.observe(&other, other.at);
    assert_eq!(engine.alert_ids(&other.topic, other.place.as_ref()), []);
}

#[test]
fn names_that_differ_in_case_or_white_space_alone_are_one_key() {
    let spellings = ["Crisp  Straße", "crisp strasse", " CRISP STRASSE "];
    let mut posts = crisis(120, 60, 0);
    for (nth, post) in posts.iter_mut().enumerate() {
        post.topic = topic(spellings[nth % 3]);
        post.place = post.place.take().map(|place| {
            let shouted = place.as_str().to_uppercase();
            if nth % 2 == 0 { place } else { Place::parse(shouted.as_bytes()).expect("a place") }
        });
    }
    let mut engine = engine();
    let changes = play(&mut engine, &posts, 0);
    assert_eq!(engine.keys(), 3, "one topic and two places");
    let shown: Vec<_> = changes.iter().map(|change| change.alert.key.topic.as_str()).collect();
    assert!(shown.iter().all(|name| *name == spellings[0]), "as it was written first: {shown:?}");
    let mut same = common::engine();
    let expected: Vec<_> = play(&mut same, &crisis(120, 60, 0), 0)
        .into_iter()
        .map(|change| (change.kind, change.alert.kind, change.alert.opened_at))
        .collect();
    let found: Vec<_> = changes
        .into_iter()
        .map(|change| (change.kind, change.alert.kind, change.alert.opened_at))
        .collect();
    assert_eq!(found, expected);
    let twice = posts[0].clone();
    let again = Observation { topic: topic("CRISP STRASSE"), ..twice };
    assert!(engine.observe(&again, again.at).duplicate, "nor do ids count again");
}

#[test]
fn topics_are_listed_by_discontent_those_that_fire_first() {
    let mut engine = engine();
    let mut posts = crisis(120, 30, 0);
    for nth in 0..100 {
        posts.push(post("lark", 50_000 + nth, nth * MINUTE, nth % 5 == 0));
    }
    posts.sort_by_key(|post| post.at);
    play(&mut engine, &posts, 3);
    let names: Vec<_> =
        engine.topics(10).iter().map(|status| status.key.topic.to_string()).collect();
    assert_eq!(names, ["kite", "lark"]);
    assert_eq!(engine.topics(1).len(), 1);
}

#[test]
fn the_settings_in_the_docs_are_the_defaults() {
    let docs = include_str!("../../../docs/alerts.md");
    let (_, rest) = docs.split_once("```toml\n").expect("a block of settings");
    let (text, _) = rest.split_once("```").expect("its end");
    let shown = Settings::parse(text).expect("good settings");
    let defaults = Settings::default();
    assert_eq!((&shown.counting, &shown.limits), (&defaults.counting, &defaults.limits));
    assert_eq!(shown.rules(&topic("kite")), defaults.rules(&topic("kite")));
    let mut own = (*defaults.rules(&topic("acme air"))).clone();
    own.share.posts_min = 50;
    assert_eq!(*shown.rules(&topic("acme air")), own);
}
