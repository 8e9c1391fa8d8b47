//! Made-up posts, and how they are played to an engine.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::time::Duration;

use pounce_alerts::alert::{Alert, AlertChange, ChangeKind};
use pounce_alerts::key::AlertKind;
use pounce_alerts::{AlertEngine, AuthorHash, HashKey, Observation, Settings, SignalId};
use pounce_types::post::{AuthorId, Place, PostId, Timestamp, Topic};
use pounce_types::score::{Sentiment, Severity};

/// Monday 2025-06-02, 08:00 UTC.
pub(crate) const START: u64 = 1_748_851_200_000;
pub(crate) const MINUTE: u64 = 60_000;
pub(crate) const KEY: HashKey = HashKey::from_bytes(*b"of made-up posts");

pub(crate) fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(START + millis)
}

pub(crate) fn encoded(engine: &AlertEngine) -> Vec<u8> {
    let mut bytes = Vec::new();
    engine.snapshot().write(&mut bytes).expect("a vector takes any length");
    bytes
}

pub(crate) fn topic(name: &str) -> Topic {
    Topic::parse(name.as_bytes()).expect("a topic")
}

/// A post of an author of its own, `millis` after the start.
pub(crate) fn post(name: &str, id: u64, millis: u64, negative: bool) -> Observation {
    Observation {
        topic: topic(name),
        place: None,
        post_id: PostId::parse(format!("post-{id}").as_bytes()).expect("an id"),
        author: Some(author(&format!("author-{id}"))),
        followers: 0,
        at: at(millis),
        foreign: false,
        sentiment: Sentiment::Neutral,
        discontent: negative.then_some(Severity::Low),
        signal: SignalId::default(),
        near_text: None,
    }
}

pub(crate) fn author(id: &str) -> AuthorHash {
    KEY.author(&AuthorId::parse(id.as_bytes()).expect("an id"))
}

pub(crate) fn engine() -> AlertEngine {
    AlertEngine::new(Settings::default(), 1000)
}

/// Plays posts to an engine whose clock stands at the newest post, then lets
/// `idle` minutes pass.
pub(crate) fn play(engine: &mut AlertEngine, posts: &[Observation], idle: u64) -> Vec<AlertChange> {
    let mut changes = Vec::new();
    let mut now = posts.iter().map(|post| post.at).max().unwrap_or_default();
    for post in posts {
        changes.extend(engine.observe(post, now).changes);
    }
    for _ in 0..idle {
        now = now.after(Duration::from_secs(60));
        changes.extend(engine.tick(now));
    }
    changes
}

/// Changes, without the order between topics.
pub(crate) fn sorted(mut changes: Vec<AlertChange>) -> Vec<AlertChange> {
    changes.sort_by(|a, b| {
        let key = |change: &AlertChange| {
            let alert = &change.alert;
            (alert.id.clone(), alert.resolved_at, alert.severity, change.kind)
        };
        key(a).cmp(&key(b))
    });
    changes
}

pub(crate) fn of_kind(changes: &[AlertChange], kind: AlertKind) -> Vec<(ChangeKind, &Alert)> {
    changes
        .iter()
        .filter(|change| change.alert.kind == kind)
        .map(|change| (change.kind, &change.alert))
        .collect()
}

/// Two hours of calm, then `crisis` minutes in which most posts are negative;
/// three posts a minute on a topic and two of its places.
pub(crate) fn crisis(calm: u64, crisis: u64, after: u64) -> Vec<Observation> {
    let mut posts = Vec::new();
    for minute in 0..calm + crisis + after {
        for nth in 0..3_u64 {
            let id = minute * 3 + nth;
            let bad = (calm..calm + crisis).contains(&minute);
            let negative = if bad { id % 4 != 0 } else { id % 9 == 0 };
            let mut post = post("kite", id, minute * MINUTE + nth * 20_000, negative);
            post.followers = (id % 7) * 9_000;
            let place: Option<&[u8]> = [None, Some(b"Lisbon".as_slice()), Some(b"Porto")]
                [usize::try_from(nth).expect("small")];
            post.place = place.map(|name| Place::parse(name).expect("a place"));
            posts.push(post);
        }
    }
    posts
}
