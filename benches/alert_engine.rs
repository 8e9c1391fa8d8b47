//! What a scored post costs on its way through the engine.
//!
//! `cargo bench --bench alert_engine`: posts of 10,000 topics in event-time order, a
//! thousand posts a second, with authors, every tenth with a place.

#![allow(missing_docs, reason = "criterion's macros write functions without docs")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pounce_alerts::{AlertEngine, HashKey, Observation, Settings, SignalId};
use pounce_types::post::{AuthorId, Place, PostId, Timestamp, Topic};
use pounce_types::score::{Sentiment, Severity};

const START: u64 = 1_748_851_200_000;
const TOPICS: u64 = 10_000;
const KEY: HashKey = HashKey::from_bytes(*b"of made-up posts");
const BATCH: u64 = 200_000;

/// An order without pattern that is the same in every run.
fn scattered(nth: u64) -> u64 {
    let mixed = (nth ^ (nth >> 13)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ (mixed >> 29)
}

fn post(topics: &[Topic], nth: u64, post_millis: u64) -> Observation {
    let random = scattered(nth);
    let index = usize::try_from(random % TOPICS).expect("below 10,000");
    let negative = random.is_multiple_of(8);
    let author = AuthorId::parse((random % 1_000_003).to_string().as_bytes());
    Observation {
        topic: topics[index].clone(),
        place: (random % 10 == 3).then(|| Place::parse(b"Lisbon").expect("a place")),
        post_id: PostId::parse(nth.to_string().as_bytes()).expect("an id"),
        author: author.ok().map(|id| KEY.author(&id)),
        followers: random % 3_000,
        at: Timestamp::from_millis(START + nth * post_millis),
        foreign: false,
        sentiment: Sentiment::Neutral,
        discontent: negative.then_some(Severity::Low),
        signal: SignalId::default(),
        near_text: KEY.near_text(&format!("each post has a text of its own: {nth}")),
    }
}

fn observe(c: &mut Criterion) {
    let topics: Vec<Topic> = (0..TOPICS)
        .map(|id| Topic::parse(format!("topic-{id}").as_bytes()).expect("a topic"))
        .collect();
    let mut group = c.benchmark_group("engine");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    for posts_a_second in [1_000_u64, 200] {
        group.throughput(Throughput::Elements(BATCH));
        let name = format!("observe, 10,000 topics, {posts_a_second} posts a second of event time");
        group.bench_function(name, |b| {
            let mut engine = AlertEngine::new(Settings::default(), 20_000);
            let mut nth = 0;
            let mut ticked = START;
            b.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    let posts: Vec<_> = (nth..nth + BATCH)
                        .map(|nth| post(&topics, nth, 1000 / posts_a_second))
                        .collect();
                    nth += BATCH;
                    let start = std::time::Instant::now();
                    for post in &posts {
                        // A tick every second, as the service drives it.
                        if post.at.millis() >= ticked + 1000 {
                            ticked = post.at.millis();
                            black_box(engine.tick(post.at));
                        }
                        black_box(engine.observe(post, post.at));
                    }
                    spent += start.elapsed();
                }
                spent
            });
            assert!(engine.keys() > 10_000, "every topic is counted");
        });
    }
    group.finish();
}

fn snapshot(c: &mut Criterion) {
    let topics: Vec<Topic> = (0..TOPICS)
        .map(|id| Topic::parse(format!("topic-{id}").as_bytes()).expect("a topic"))
        .collect();
    let mut engine = AlertEngine::new(Settings::default(), 20_000);
    for nth in 0..1_000_000 {
        let post = post(&topics, nth, 86);
        engine.observe(&post, post.at);
    }
    let write = |engine: &AlertEngine| {
        let mut bytes = Vec::new();
        engine.snapshot().write(&mut bytes).expect("memory takes everything");
        bytes
    };
    let bytes = write(&engine);
    let mut group = c.benchmark_group("engine");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("snapshot after a day of 1,000,000 posts", |b| {
        b.iter(|| black_box(write(&engine)));
    });
    group.bench_function("restore it", |b| {
        b.iter(|| black_box(AlertEngine::restore(&bytes[..], Settings::default(), 20_000)));
    });
    group.finish();
}

/// Posts without a place on a topic with as many places as there is room for, all of them idle:
/// each post closes the minutes since the one before.
fn idle_places(c: &mut Criterion) {
    let topic = Topic::parse(b"crowd").expect("a topic");
    let now = Timestamp::from_millis(START);
    let mut group = c.benchmark_group("engine");
    group.sample_size(10);
    for minutes in [1, 241] {
        let mut engine = AlertEngine::new(Settings::default(), 10_000);
        let of_topic = |nth: u64, place: Option<Place>, at: u64| Observation {
            topic: topic.clone(),
            discontent: place.is_some().then_some(Severity::Low),
            place,
            post_id: PostId::parse(nth.to_string().as_bytes()).expect("an id"),
            author: None,
            followers: 0,
            at: Timestamp::from_millis(at),
            foreign: false,
            sentiment: Sentiment::Neutral,
            signal: SignalId::default(),
            near_text: None,
        };
        for nth in 0..9_999 {
            let place = Place::parse(format!("place {nth}").as_bytes()).expect("a place");
            engine.observe(&of_topic(nth, Some(place), 0), now);
        }
        // They fall idle after four hours.
        let (mut nth, mut at) = (9_999, 300 * 60_000);
        engine.observe(&of_topic(nth, None, at), now);
        group.bench_function(format!("observe {minutes} minutes later, 9,999 idle places"), |b| {
            b.iter(|| {
                (nth, at) = (nth + 1, at + minutes * 60_000);
                black_box(engine.observe(&of_topic(nth, None, at), now))
            });
        });
        assert_eq!(engine.keys(), 10_000, "no place was forgotten");
    }
    group.finish();
}

criterion_group!(benches, observe, idle_places, snapshot);
criterion_main!(benches);
