//! Golden files: a snapshot of each format version that was ever released, made of made-up posts,
//! and what a server that starts with it must know.
//!
//! A change of the format gets a new version and a new file; files are never written anew. To make
//! one, run this test: it writes the candidate and says where. A version that is no longer read is
//! moved to `SET_ASIDE`, so that giving it up is a decision and no accident.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pounce_alerts::alert::Alert;
use pounce_alerts::{AlertEngine, HashKey, Observation, Settings, Signal, SnapshotError};
use pounce_types::post::{AuthorId, Place, PostId, Timestamp, Topic};
use pounce_types::score::{DiscontentSource, Sentiment, Severity};

/// Versions whose files are read, oldest first.
const READ: [u32; 3] = [1, 2, 3];
/// Versions that were released and are refused: the server starts without that state and says so.
const SET_ASIDE: [u32; 0] = [];

const TOPICS_MAX: usize = 100;
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60_000;
const KEY: HashKey = HashKey::from_bytes(*b"of made-up posts");
/// Monday 2026-03-02, 09:00 UTC.
const START: u64 = 1_772_442_000_000;
/// Length of the story, in minutes.
const END: u64 = 90;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(START + millis)
}

fn encoded(engine: &AlertEngine) -> Vec<u8> {
    let mut bytes = Vec::new();
    engine.snapshot().write(&mut bytes).expect("a vector takes any length");
    bytes
}

fn topic(name: &str) -> Topic {
    Topic::parse(name.as_bytes()).expect("a topic")
}

fn post(name: &str, place: &str, id: u64, millis: u64, negative: bool) -> Observation {
    Observation {
        topic: topic(name),
        place: Some(Place::parse(place.as_bytes()).expect("a place")),
        post_id: PostId::parse(format!("{id}").as_bytes()).expect("an id"),
        author: Some(
            KEY.author(&AuthorId::parse(format!("author {id}").as_bytes()).expect("an id")),
        ),
        followers: 10,
        at: at(millis),
        foreign: false,
        sentiment: Sentiment::Neutral,
        discontent: negative.then_some(Severity::Low),
        signal: signal().id(),
        near_text: KEY.near_text(&format!("what two people said in the same words: {}", id / 2)),
    }
}

fn signal() -> Signal {
    Signal {
        model: "made-up".to_owned(),
        revision: "1".to_owned(),
        source: DiscontentSource::Negative,
        threshold: 0.6,
    }
}

/// Ninety minutes of two topics. `kettles` turns bad in one town after an hour, is acknowledged,
/// and three well-known authors complain; `boats` is bad for half an hour, then calm again.
/// Posts come in pairs with the same words.
fn engine() -> AlertEngine {
    let mut engine = AlertEngine::new(Settings::default(), TOPICS_MAX);
    engine.use_signal(signal());
    engine.hash_key(|| KEY);
    let mut id = 0;
    for minute in 0..END {
        for third in 0..3 {
            id += 1;
            let millis = minute * MINUTE + third * 20 * SECOND;
            let bad = if minute < 60 { id % 9 == 0 } else { id % 4 != 0 };
            let town = if id % 2 == 0 { "north" } else { "south" };
            let bad = bad && (minute < 60 || town == "north" || id % 3 == 0);
            engine.observe(&post("kettles", town, id, millis, bad), at(millis));
            let bad = if (20..50).contains(&minute) { id % 5 < 3 } else { id % 12 == 0 };
            engine
                .observe(&post("boats", "harbour", id, millis + SECOND, bad), at(millis + SECOND));
        }
        if (80..83).contains(&minute) {
            let millis = minute * MINUTE + 50 * SECOND;
            let mut known = post("kettles", "north", 1000 + minute, millis, true);
            (known.followers, known.discontent) = (60_000, Some(Severity::High));
            engine.observe(&known, at(millis));
        }
        if minute == 84 {
            let fires: Vec<Alert> = engine.alerts(false);
            let id = fires.first().expect("kettles fires").id.as_str().to_owned();
            engine
                .acknowledge(&id, "ann", "called the shop", at(minute * MINUTE))
                .expect("it fires");
        }
    }
    engine
}

/// What people see of an alert, on one line.
fn line(alert: &Alert) -> String {
    let minute = |at: Timestamp| (at.millis() - START) / MINUTE;
    let evidence = &alert.evidence;
    let samples: Vec<&str> = evidence.sample_post_ids.iter().map(PostId::as_str).collect();
    format!(
        "{}{} {} {} opened {} {}; {} of {} posts in {} min, bound {:.3} threshold {:.3}; posts {}; {}",
        alert.key.topic,
        alert.key.place.as_ref().map(|place| format!("/{place}")).unwrap_or_default(),
        alert.kind.name(),
        alert.severity.name(),
        minute(alert.opened_at),
        alert.resolved_at.map_or("fires".to_owned(), |at| format!("resolved {}", minute(at))),
        evidence.negatives,
        evidence.posts,
        evidence.window.as_secs() / 60,
        evidence.bound,
        evidence.threshold,
        samples.join(" "),
        alert.acknowledgement.as_ref().map_or("not taken".to_owned(), |taken| format!(
            "taken by {} ({}) at {}",
            taken.by,
            taken.note,
            minute(taken.at)
        )),
    )
}

/// The alerts of the story as the version's build told it.
fn expected_alerts(version: u32) -> [&'static str; 3] {
    match version {
        1 | 2 => [
            "kettles reach low opened 83 fires; 3 of 3 posts in 60 min, bound 3.000 threshold 100000.000; \
             posts 1082 1081 1080 249 246; taken by ann (called the shop) at 84",
            "kettles share low opened 73 fires; 18 of 45 posts in 15 min, bound 0.233 threshold 0.225; \
             posts 219 218 214 213 210; not taken",
            "boats share medium opened 7 resolved 51; 13 of 21 posts in 15 min, bound 0.344 threshold 0.225; \
             posts 21 20 17 16 15; not taken",
        ],
        _ => [
            "kettles reach low opened 83 fires; 3 of 3 posts in 60 min, bound 3.000 threshold 100000.000; \
             posts 1082 1080 249 246 242; taken by ann (called the shop) at 84",
            "kettles/north share low opened 74 fires; 12 of 23 posts in 15 min, bound 0.275 threshold 0.254; \
             posts 222 218 214 210 206; not taken",
            "boats share low opened 34 resolved 70; 18 of 31 posts in 15 min, bound 0.353 threshold 0.351; \
             posts 102 100 96 95 92; not taken",
        ],
    }
}

fn expected_counts(version: u32) -> [&'static str; 3] {
    match version {
        1 | 2 => [
            "kettles: 21/48 39/93 49/183 58/267",
            "kettles: 14/26 25/48 30/93 34/135",
            "boats: 4/45 8/90 19/180 69/264",
        ],
        _ => [
            "kettles: 17/37 31/69 41/124 50/176",
            "kettles: 13/25 24/47 29/92 33/134",
            "boats: 4/26 8/52 37/113 51/165",
        ],
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/snapshots")
}

fn file(version: u32) -> PathBuf {
    folder().join(format!("v{version}.snapshot"))
}

fn golden(version: u32) -> Vec<u8> {
    let file = file(version);
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn restored(version: u32) -> AlertEngine {
    AlertEngine::restore(golden(version).as_slice(), Settings::default(), TOPICS_MAX)
        .expect("a version that is read")
}

/// The version that this build writes.
fn present() -> u32 {
    let bytes = encoded(&AlertEngine::new(Settings::default(), TOPICS_MAX));
    u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes"))
}

#[test]
fn the_present_format_has_a_golden_file() {
    let version = present();
    if !file(version).exists() {
        let candidate = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("v{version}.snapshot"));
        std::fs::write(&candidate, encoded(&engine())).expect("a folder to write to");
        panic!(
            "format {version} has no golden file; commit {} as {}",
            candidate.display(),
            file(version).display()
        );
    }
    assert_eq!(READ.last(), Some(&version), "a version that is written is read");
}

#[test]
fn the_present_format_is_what_its_golden_file_holds() {
    // Format 3, with how keys stand in the order of eviction, which its first releases did not write.
    let file = "v3_standings.snapshot";
    let bytes = std::fs::read(folder().join(file)).expect("the file");
    let engine = AlertEngine::restore(bytes.as_slice(), Settings::default(), TOPICS_MAX)
        .expect("a version that is read");
    // If they differ, the layout changed: give it a new version and keep the old file.
    assert!(encoded(&engine) == bytes);
    assert!(encoded(&restored(present())) == bytes, "what the first releases wrote is read alike");
}

#[test]
fn every_released_format_brings_its_alerts_back() {
    for version in READ {
        let alerts: Vec<String> = restored(version).alerts(true).iter().map(line).collect();
        assert_eq!(alerts, expected_alerts(version), "format {version}");
    }
}

#[test]
fn every_released_format_brings_its_counts_back() {
    for version in READ {
        let engine = restored(version);
        let mut lines = Vec::new();
        for (name, place) in [("kettles", None), ("kettles", Some("north")), ("boats", None)] {
            let place = place.map(|place: &str| Place::parse(place.as_bytes()).expect("a place"));
            let status = engine.topic(&topic(name), place.as_ref()).expect("it is counted");
            let windows: Vec<String> = status
                .windows
                .iter()
                .map(|window| format!("{}/{}", window.counts.negatives, window.counts.posts))
                .collect();
            lines.push(format!("{name}: {}", windows.join(" ")));
        }
        assert_eq!(lines, expected_counts(version), "format {version}");
        assert_eq!(engine.keys(), 5, "format {version}");
    }
}

#[test]
fn every_released_format_remembers_posts_and_goes_on_with_open_minutes() {
    for version in READ {
        let mut engine = restored(version);
        let now = at(END * MINUTE);
        let again = engine.observe(&post("kettles", "north", 2, 20 * SECOND, true), now);
        assert!(again.duplicate, "format {version}");
        let open = engine.held()[0];
        assert!(open > 0, "format {version}");
        let before = engine.topic(&topic("kettles"), None).expect("it is counted").watermark;
        engine.tick(now.after(Duration::from_secs(180)));
        let after = engine.topic(&topic("kettles"), None).expect("it is counted").watermark;
        assert!(after > before, "format {version}");
        assert_eq!(engine.held()[0], 0, "format {version}");
    }
}

#[test]
fn a_format_that_was_set_aside_is_refused_by_its_number() {
    for found in SET_ASIDE {
        let error =
            AlertEngine::restore(golden(found).as_slice(), Settings::default(), TOPICS_MAX).err();
        assert_eq!(error, Some(SnapshotError::Version { found }));
    }
    // No build reads the next format by luck.
    let mut next = golden(present());
    next[8..12].copy_from_slice(&(present() + 1).to_le_bytes());
    let error = AlertEngine::restore(next.as_slice(), Settings::default(), TOPICS_MAX).err();
    assert_eq!(error, Some(SnapshotError::Version { found: present() + 1 }));
}
