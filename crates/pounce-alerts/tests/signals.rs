//! What is counted rests on one signal: a switch to another model, or threshold, opens no alert by
//! itself, and posts of a language or signal that is not the engine's count for nothing.

mod common;

use pounce_alerts::key::AlertKind;
use pounce_alerts::{AlertEngine, HashKey, Observation, Settings, Signal, TextHash};
use pounce_types::score::{DiscontentSource, Severity};

use common::{MINUTE, at, crisis, encoded, engine, of_kind, play, post, topic};

fn signal(revision: &str) -> Signal {
    Signal {
        model: "made-up".to_owned(),
        revision: revision.to_owned(),
        source: DiscontentSource::Negative,
        threshold: 0.6,
    }
}

/// Two posts a minute of a topic, of which every `nth` is discontent.
fn steady(from: u64, minutes: u64, nth: u64, signal: &Signal) -> Vec<Observation> {
    let ids = from * 2..(from + minutes) * 2;
    ids.map(|id| Observation {
        signal: signal.id(),
        ..post("kite", id, id * MINUTE / 2, id.is_multiple_of(nth))
    })
    .collect()
}

fn counted(engine: &AlertEngine) -> u64 {
    engine.topic(&topic("kite"), None).expect("it is counted").windows[3].counts.posts
}

#[test]
fn a_switch_of_signal_opens_no_alert_by_itself() {
    // The new model hears three times as much discontent in the same posts.
    let (old, new) = (signal("1"), signal("2"));
    let (before, after) = (steady(0, 2 * 1440, 9, &old), steady(2 * 1440, 2 * 1440, 3, &new));
    let mut switched = engine();
    switched.use_signal(old.clone());
    assert_eq!(play(&mut switched, &before, 0), []);
    let bytes = encoded(&switched);
    let mut restored =
        AlertEngine::restore(bytes.as_slice(), Settings::default(), 10).expect("a snapshot");
    assert_eq!(restored.signal(), Some(&old));
    for engine in [&mut switched, &mut restored] {
        assert!(engine.use_signal(new.clone()));
        assert_eq!(counted(engine), 0);
        assert_eq!(engine.held()[0], 0, "posts of open minutes were of the old signal");
        assert_eq!(play(engine, &after, 0), []);
        let baseline = engine.topic(&topic("kite"), None).expect("it is counted").baseline;
        assert!((0.3..0.35).contains(&baseline), "{baseline}");
    }
    // Compared with what the old signal counted, it is an alert.
    let mut mixed = engine();
    let mut posts = before;
    posts.extend(after.into_iter().map(|post| Observation { signal: old.id(), ..post }));
    assert!(!of_kind(&play(&mut mixed, &posts, 0), AlertKind::Share).is_empty());
}

#[test]
fn half_a_fleet_on_each_signal_counts_the_half_that_the_engine_is_set_to() {
    let (old, new) = (signal("1"), signal("2"));
    let mut engine = engine();
    engine.use_signal(old.clone());
    let mut posts = steady(0, 1440, 9, &old);
    posts.extend(steady(1440, 240, 2, &new));
    posts.extend(steady(1440, 240, 9, &old).into_iter().map(|mut post| {
        post.post_id = common::post("kite", 100_000 + post.at.millis(), 0, false).post_id;
        post.author = None;
        post
    }));
    posts.sort_by_key(|post| post.at);
    assert_eq!(play(&mut engine, &posts, 0), []);
    assert_eq!(engine.totals().other_signal, 480);
    assert_eq!(counted(&engine), 480);
}

#[test]
fn a_switch_of_signal_keeps_alerts_and_post_ids() {
    let mut engine = engine();
    let posts = crisis(120, 60, 0);
    play(&mut engine, &posts, 2);
    let firing = engine.alerts(false);
    assert!(!firing.is_empty());
    let taken = engine.acknowledge(firing[0].id.as_str(), "ann", "", at(183 * MINUTE));
    assert!(engine.use_signal(signal("2")));
    assert_eq!(engine.alerts(false).len(), firing.len());
    assert_eq!(
        engine.alerts(false)[0].acknowledgement,
        taken.expect("it fires").alert.acknowledgement
    );
    let again = Observation { signal: signal("2").id(), ..posts[posts.len() - 1].clone() };
    assert!(engine.observe(&again, again.at).duplicate);
}

#[test]
fn a_volume_alert_ends_when_what_it_rests_on_was_set_aside_and_nothing_comes() {
    let mut engine = engine();
    let calm = (0..26 * 6).map(|n| post("kite", n, n * 10 * MINUTE, true));
    let burst = (0..120).map(|n| post("kite", 1000 + n, 26 * 60 * MINUTE + n * 10_000, true));
    play(&mut engine, &calm.chain(burst).collect::<Vec<_>>(), 2);
    let volume = |engine: &AlertEngine| {
        engine.alerts(false).into_iter().filter(|alert| alert.kind == AlertKind::Volume).count()
    };
    assert_eq!(volume(&engine), 1);
    assert!(engine.use_signal(signal("2")));
    for minute in 0..6 * 60 {
        engine.tick(at((26 * 60 + 25 + minute) * MINUTE));
    }
    assert_eq!(volume(&engine), 0);
}

#[test]
fn the_same_signal_sets_nothing_aside() {
    let mut engine = engine();
    assert!(!engine.use_signal(signal("1")), "there was nothing");
    play(&mut engine, &steady(0, 60, 9, &signal("1")), 2);
    let before = counted(&engine);
    assert!(!engine.use_signal(signal("1")));
    assert_eq!(counted(&engine), before);
    let stricter = Signal { threshold: 0.7, ..signal("1") };
    assert!(engine.use_signal(stricter));
}

#[test]
fn a_foreign_post_counts_for_nothing() {
    let mut engine = engine();
    let foreign = Observation { foreign: true, ..post("kite", 1, 0, true) };
    let observed = engine.observe(&foreign, foreign.at);
    assert!(!observed.late && !observed.duplicate && observed.changes.is_empty());
    assert_eq!(engine.keys(), 0);
    // The same id in a language that the model knows is no duplicate.
    assert!(!engine.observe(&post("kite", 1, 0, true), at(0)).duplicate);
}

#[test]
fn the_key_of_the_hashes_outlives_a_restart() {
    let key = HashKey::from_bytes([7; 16]);
    let mut engine = engine();
    assert_eq!(engine.hash_key(|| key), key);
    let mut again = AlertEngine::restore(encoded(&engine).as_slice(), Settings::default(), 10)
        .expect("a snapshot");
    assert_eq!(again.hash_key(|| HashKey::from_bytes([8; 16])), key);
}

#[test]
fn an_observation_survives_a_log() {
    let key = HashKey::from_bytes([7; 16]);
    let text: Option<TextHash> = key.near_text("the app ate my ticket again this morning");
    let observation = Observation {
        near_text: text,
        discontent: Some(Severity::High),
        ..post("kite", 1, 5 * MINUTE, true)
    };
    let bytes = postcard::to_stdvec(&observation).expect("encoded");
    assert_eq!(postcard::from_bytes::<Observation>(&bytes), Ok(observation));
    assert!(bytes.len() < 80, "{} bytes", bytes.len());
}
