//! What logs and stores hold is read for ever: each format has files that are never rewritten.

use std::path::Path;
use std::time::{Duration, Instant};

use pounce_alerts::{AlertEngine, AuthorHash, Observation, Settings, Signal, TextHash};
use pounce_replication::{
    Advocate, Batch, Entry, Item, LoggedObservation, Outbox, OutboxLimits, Replica,
};
use pounce_types::post::{Place, PostId, Timestamp, Topic};
use pounce_types::score::{DiscontentSource, Sentiment, Severity};

fn golden(name: &str) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// One item of each kind, every field set.
fn items() -> Vec<Item> {
    let topic = Topic::parse(b"acme").expect("a topic");
    let place = Place::parse("Lisbon".as_bytes()).expect("a place");
    let post_id = PostId::parse(b"p1").expect("an id");
    let at = Timestamp::from_millis(1_700_000_000_123);
    let signal = Signal {
        model: "pounce-base".to_owned(),
        revision: "4".to_owned(),
        source: DiscontentSource::Output,
        threshold: 0.6,
    };
    vec![
        Item::Signal(signal.clone()),
        Item::Observation(LoggedObservation {
            observation: Observation {
                topic: topic.clone(),
                place: Some(place.clone()),
                post_id: post_id.clone(),
                author: Some(AuthorHash::from_bits(7)),
                followers: 12_000,
                at,
                foreign: false,
                sentiment: Sentiment::Negative,
                discontent: Some(Severity::High),
                signal: signal.id(),
                near_text: Some(TextHash::from_bits(9)),
            },
            oldest_in_flight: Some(at),
            advocate: Some(0.25),
        }),
        Item::Acknowledge { id: "a1".into(), by: "ann".into(), note: "on it".into() },
        Item::Advocate(Advocate {
            topic: Some(topic.clone()),
            place: Some(place),
            post_id,
            followers: 50_000,
            probability: 0.5,
            at,
        }),
        Item::Release { topic, oldest_in_flight: Some(at) },
    ]
}

fn batch() -> Vec<u8> {
    let limits = OutboxLimits {
        batch_items_max: 10,
        batch_bytes_max: 1 << 20,
        bytes_max: 1 << 20,
        age_max: Duration::from_secs(600),
    };
    let mut outbox = Outbox::new(0x0123_4567_89ab_cdef, 42, limits);
    for item in items() {
        outbox.push(&item, (), Instant::now());
    }
    outbox.seal(Instant::now()).bytes.to_vec()
}

fn replica() -> (Replica, AlertEngine) {
    let (mut replica, mut engine) =
        (Replica::default(), AlertEngine::new(Settings::default(), 100));
    replica.begin(1_700_000_000_000);
    let at = Timestamp::from_millis(1_700_000_001_000);
    let entry = Entry { position: 5, at, bytes: batch().into(), behind: 0 };
    replica.apply(&mut engine, &entry).expect("an entry of this release");
    (replica, engine)
}

#[test]
fn an_entry_of_version_1_is_read_and_written() {
    let golden = golden("entry-v1.batch");
    let read = Batch::decode(&golden).expect("an entry of version 1");
    let (writer, settings) = (0x0123_4567_89ab_cdef, 42);
    assert_eq!(read, Batch { writer, number: 1, settings, items: items() });
    assert_eq!(batch(), golden, "older releases read what this one writes");
}

#[test]
fn a_snapshot_of_version_1_is_read() {
    let golden = golden("replica-v1.snapshot");
    let (read, read_engine) =
        Replica::restore(&golden[..], Settings::default(), 100).expect("a snapshot of version 1");
    let (replica, engine) = replica();
    assert_eq!(read.position(), 5);
    assert_eq!(read.digest(&read_engine), replica.digest(&engine));
}
