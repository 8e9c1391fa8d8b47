//! What logs and stores hold is read for ever: each format has files that are never rewritten.

use std::path::Path;
use std::time::{Duration, Instant};

use pounce_alerts::{
    AlertEngine, AuthorHash, CloseAction, CloseError, Observation, Settings, Signal, TextHash,
    UnknownAlert,
};
use pounce_cases::{ActionKind, CaseAction, CaseEngine, CaseSettings, Outcome};
use pounce_replication::{
    Advocate, Batch, Engines, Entry, EntryForm, Item, LoggedObservation, Outbox, OutboxLimits,
    Outcome as Came, Replica,
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
            respond_within: None,
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

/// The same, and one of each kind that concerns cases.
fn items_with_cases() -> Vec<Item> {
    let mut items = items();
    for item in &mut items {
        if let Item::Observation(logged) = item {
            logged.respond_within = Some(Duration::from_secs(900));
        }
    }
    let id = "0123456789abcdef0123456789abcdef".parse().expect("an id");
    let kinds = [
        ActionKind::Claim { lease: Duration::from_secs(900) },
        ActionKind::Release,
        ActionKind::Close { outcome: Outcome::CouldNotReach, note: "twice".to_owned() },
    ];
    items.extend(kinds.map(|kind| Item::Case(CaseAction { id, by: "ann".to_owned(), kind })));
    items
}

/// The same, and somebody who closes an alert.
fn items_with_outcomes() -> Vec<Item> {
    let mut items = items_with_cases();
    items.push(close("a1"));
    items
}

fn close(id: &str) -> Item {
    let (by, note) = ("bob".to_owned(), "a joke".to_owned());
    Item::CloseAlert(CloseAction { id: id.to_owned(), by, outcome: Outcome::FalseAlarm, note })
}

/// A crowd of authors who are all unhappy, 20 seconds apart.
fn crowd() -> Vec<Item> {
    let items = items();
    let complaint = items.iter().find_map(|item| match item {
        Item::Observation(logged) => Some(logged),
        _ => None,
    });
    let complaint = complaint.expect("one is there");
    let posts = (0..60).map(|n| {
        let mut logged = complaint.clone();
        let observation = &mut logged.observation;
        observation.post_id = PostId::parse(format!("c{n}").as_bytes()).expect("an id");
        observation.author = Some(AuthorHash::from_bits(100 + n));
        observation.at = observation.at.after(Duration::from_secs(20 * n));
        (observation.place, observation.near_text) = (None, None);
        (logged.oldest_in_flight, logged.advocate) = (None, None);
        logged.respond_within = Some(Duration::from_secs(900));
        Item::Observation(logged)
    });
    std::iter::once(items[0].clone()).chain(posts).collect()
}

const WRITER: u64 = 0x0123_4567_89ab_cdef;

/// An entry of a writer that reads forms up to `reads`.
fn batch(reads: EntryForm, items: &[Item]) -> Vec<u8> {
    nth_batch(reads, 1, items)
}

/// The writer's batch of this number.
fn nth_batch(reads: EntryForm, number: u64, items: &[Item]) -> Vec<u8> {
    let limits = OutboxLimits {
        batch_items_max: 100,
        batch_bytes_max: 1 << 20,
        bytes_max: 1 << 20,
        age_max: Duration::from_secs(600),
    };
    let mut outbox = Outbox::new(reads, WRITER, 42, limits);
    for _ in 1..number {
        outbox.seal(EntryForm::NEWEST, Instant::now());
    }
    for item in items {
        outbox.push(item, (), Instant::now());
    }
    outbox.seal(EntryForm::NEWEST, Instant::now()).bytes.to_vec()
}

fn check_entry(name: &str, reads: EntryForm, form: EntryForm, items: Vec<Item>) {
    let golden = golden(name);
    assert_eq!(batch(reads, &items), golden, "older releases read what this one writes");
    let read = Batch::decode(&golden).expect("an entry of an older version");
    let reads = reads.max(form).version();
    assert_eq!(read, Batch { form, reads, writer: WRITER, number: 1, settings: 42, items });
}

#[test]
fn an_entry_of_version_1_is_read_and_written() {
    check_entry("entry-v1.batch", EntryForm::Alerts, EntryForm::Alerts, items());
}

#[test]
fn an_entry_of_version_2_is_read_and_written() {
    check_entry("entry-v2.batch", EntryForm::Alerts, EntryForm::Cases, items_with_cases());
}

#[test]
fn an_entry_of_version_3_is_read_and_written() {
    check_entry("entry-v3.batch", EntryForm::Alerts, EntryForm::Outcomes, items_with_outcomes());
}

#[test]
fn an_entry_of_a_writer_that_reads_version_2_is_read_and_written() {
    check_entry("entry-v1-reads-2.batch", EntryForm::Cases, EntryForm::Alerts, items());
}

/// A replica that read one entry, of a writer that reads forms up to `reads`, and its snapshot.
fn check_snapshot(name: &str, reads: EntryForm, items: &[Item]) {
    let mut engine = AlertEngine::new(Settings::default(), 100);
    let mut cases = CaseEngine::new(CaseSettings::default());
    let mut replica = Replica::default();
    replica.begin(1_700_000_000_000);
    let at = Timestamp::from_millis(1_700_000_001_000);
    let entry = Entry { position: 5, at, bytes: batch(reads, items).into(), behind: 0 };
    let engines = Engines { alerts: &mut engine, cases: &mut cases };
    replica.apply(engines, &entry).expect("an entry of this release");
    let golden = golden(name);
    let (settings, of_cases) = (Settings::default(), CaseSettings::default());
    let (read, read_engine, read_cases) =
        Replica::restore(&golden[..], settings, 100, of_cases).expect("an older snapshot");
    assert_eq!(read.position(), 5);
    assert_eq!(read_cases.len(), cases.len());
    assert_eq!(read.digest(&read_engine, &read_cases), replica.digest(&engine, &cases));
    let mut written = Vec::new();
    replica.snapshot(&engine, &cases).write(&mut written).expect("a vector takes everything");
    assert_eq!(written[12..14], golden[12..14], "the version of the head");
}

#[test]
fn a_snapshot_of_version_1_is_read_and_so_is_written_without_cases() {
    check_snapshot("replica-v1.snapshot", EntryForm::Alerts, &items());
}

#[test]
fn a_snapshot_of_version_2_is_read() {
    check_snapshot("replica-v2.snapshot", EntryForm::Alerts, &items_with_cases());
}

#[test]
fn a_snapshot_that_knows_what_writers_read_is_read_and_written() {
    check_snapshot("replica-v1-reads-2.snapshot", EntryForm::Cases, &items());
}

/// A replica whose crowd opened cases, and an alert that somebody closed.
fn closed_alert() -> (Replica, AlertEngine, CaseEngine) {
    let mut engine = AlertEngine::new(Settings::default(), 100);
    let mut cases = CaseEngine::new(CaseSettings::default());
    let mut replica = Replica::default();
    replica.begin(1_700_000_000_000);
    let mut apply = |nth: u64, items: Vec<Item>| {
        let at = Timestamp::from_millis(1_700_003_600_000 + nth * 1000);
        let bytes = nth_batch(EntryForm::Alerts, nth, &items).into();
        let entry = Entry { position: 4 + nth, at, bytes, behind: 0 };
        let engines = Engines { alerts: &mut engine, cases: &mut cases };
        let applied = replica.apply(engines, &entry).expect("an entry of this release");
        (applied, engine.alerts(false))
    };
    let (_, firing) = apply(1, crowd());
    let id = firing.first().expect("it fires").id.as_str();
    let (closed, _) = apply(2, vec![close(id), close("a1")]);
    let [Came::Closed(Ok(_)), Came::Closed(Err(unknown))] = &closed.outcomes[..] else {
        panic!("{:?}", closed.outcomes)
    };
    assert_eq!(*unknown, CloseError::Unknown(UnknownAlert));
    (replica, engine, cases)
}

#[test]
fn a_snapshot_of_version_3_is_read_and_written_once_an_alert_was_closed() {
    let (replica, engine, cases) = closed_alert();
    let golden = golden("replica-v3.snapshot");
    let (settings, of_cases) = (Settings::default(), CaseSettings::default());
    let (read, read_engine, read_cases) =
        Replica::restore(&golden[..], settings, 100, of_cases).expect("a snapshot");
    assert_eq!((read.position(), read_cases.len()), (6, 60));
    assert_eq!(read_engine.alerts(true), engine.alerts(true));
    assert_eq!(read_engine.alerts(true).iter().filter(|alert| alert.closing.is_some()).count(), 1);
    assert_eq!(read.digest(&read_engine, &read_cases), replica.digest(&engine, &cases));
    let mut written = Vec::new();
    replica.snapshot(&engine, &cases).write(&mut written).expect("a vector takes everything");
    assert_eq!(written[12..14], golden[12..14], "the version of the head");
    assert_eq!(golden[13], 3);
}
