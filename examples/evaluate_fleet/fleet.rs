//! Replicas in one process: each with a log of its own, or all with one.

use std::time::{Duration, Instant};

use pounce_alerts::alert::AlertChange;
use pounce_alerts::{AlertEngine, Observation, Settings, SignalId};
use pounce_cases::{CaseEngine, CaseSettings};
use pounce_replication::{
    Engines, Entry, EntryForm, Item, LoggedObservation, Outbox, OutboxLimits, Replica,
};
use pounce_types::post::{PostId, Timestamp, Topic};
use pounce_types::score::{Sentiment, Severity};

/// 2026-01-05, a Monday, in milliseconds.
pub(crate) const START: u64 = 1_767_571_200_000;
const LIMITS: OutboxLimits = OutboxLimits {
    batch_items_max: 512,
    batch_bytes_max: 256 << 10,
    bytes_max: 64 << 20,
    age_max: Duration::from_secs(600),
};

/// A log in memory, and the state machine that every replica which reads it is.
pub(crate) struct Log {
    writers: Vec<Outbox<()>>,
    pub(crate) engine: AlertEngine,
    cases: CaseEngine,
    replica: Replica,
    position: u64,
    /// Of all entries.
    pub(crate) bytes: u64,
}

impl Log {
    /// A log that so many replicas write.
    pub(crate) fn new(writers: u64, topics_max: usize) -> Self {
        let outbox = |writer| Outbox::new(EntryForm::Alerts, writer, 0, LIMITS);
        let writers = (1..=writers).map(outbox).collect();
        let engine = AlertEngine::new(Settings::default(), topics_max);
        let cases = CaseEngine::new(CaseSettings::default());
        Self { writers, engine, cases, replica: Replica::default(), position: 0, bytes: 0 }
    }

    /// A replica scored a post.
    pub(crate) fn scored(&mut self, writer: usize, observation: Observation) {
        let logged = LoggedObservation {
            observation,
            oldest_in_flight: None,
            advocate: None,
            respond_within: None,
        };
        self.writers[writer].push(&Item::Observation(logged), (), Instant::now());
    }

    /// Replicas append what they scored, from `first` on in turn, and all read it at `at`.
    pub(crate) fn append_all(&mut self, first: usize, at: Timestamp) -> Vec<AlertChange> {
        let mut changes = Vec::new();
        let count = self.writers.len();
        for writer in (first..first + count).map(|n| n % count) {
            while self.writers[writer].items() > 0 {
                changes.extend(self.append(writer, at));
            }
        }
        changes
    }

    /// A replica appends an entry, empty if it has nothing to say, and all read it.
    pub(crate) fn append(&mut self, writer: usize, at: Timestamp) -> Vec<AlertChange> {
        let sealed = self.writers[writer].seal(EntryForm::OLDEST, Instant::now());
        self.position += 1;
        self.bytes += sealed.bytes.len() as u64;
        let entry = Entry { position: self.position, at, bytes: sealed.bytes, behind: 0 };
        let engines = Engines { alerts: &mut self.engine, cases: &mut self.cases };
        let applied = self.replica.apply(engines, &entry).expect("of this release");
        self.writers[writer].applied(sealed.number);
        applied.changes.into_iter().map(|numbered| numbered.change).collect()
    }
}

/// A post that was scored.
pub(crate) fn observation(
    topic: &Topic,
    post: u64,
    discontent: bool,
    at: Timestamp,
) -> Observation {
    Observation {
        topic: topic.clone(),
        place: None,
        post_id: PostId::parse(post.to_string().as_bytes()).expect("an id"),
        author: None,
        followers: 0,
        at,
        foreign: false,
        sentiment: Sentiment::Neutral,
        discontent: discontent.then_some(Severity::Low),
        signal: SignalId::default(),
        near_text: None,
    }
}
