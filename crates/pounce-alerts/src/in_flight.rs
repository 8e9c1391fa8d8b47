//! Posts that were accepted and are not scored yet: their topic's watermark waits for them.
//!
//! Scores come in any order: a cached one at once, a long post's after seconds. A post is
//! registered when it arrives, so that neither the order of scoring nor a slow reader makes
//! another post late. Local to a process and not part of any snapshot.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use pounce_types::post::{Timestamp, Topic};

/// The registration of one post in flight. Give it back by
/// [`observe_admitted`](super::AlertEngine::observe_admitted) or
/// [`release`](super::AlertEngine::release).
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(super) topic: Topic,
    /// Event time, at most a little ahead of the clock.
    pub(super) at: Timestamp,
    /// Too far behind the posts that arrived before it.
    pub(super) late: bool,
    number: u64,
}

/// The open tickets of all topics.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight {
    topics: HashMap<Topic, TopicInFlight>,
    next_number: u64,
}

#[derive(Debug, Clone, Default)]
struct TopicInFlight {
    /// Wall clock of registration, by event time and number.
    open: BTreeMap<(Timestamp, u64), Timestamp>,
    newest: Timestamp,
}

impl InFlight {
    /// Registers a post; a late one has no effect on the watermark.
    pub(super) fn add(
        &mut self,
        topic: &Topic,
        at: Timestamp,
        late: bool,
        now: Timestamp,
    ) -> Ticket {
        let number = self.next_number;
        self.next_number += 1;
        if !late {
            let of_topic = self.topics.entry(topic.clone()).or_default();
            of_topic.open.insert((at, number), now);
            of_topic.newest = of_topic.newest.max(at);
        }
        Ticket { topic: topic.clone(), at, late, number }
    }

    pub(super) fn remove(&mut self, ticket: &Ticket) {
        let Some(of_topic) = self.topics.get_mut(&ticket.topic) else { return };
        of_topic.open.remove(&(ticket.at, ticket.number));
        if of_topic.open.is_empty() {
            self.topics.remove(&ticket.topic);
        }
    }

    /// Event time of the oldest post in flight, of those that arrived at most `age_max` ago.
    pub(super) fn oldest(
        &self,
        topic: &Topic,
        now: Timestamp,
        age_max: Duration,
    ) -> Option<Timestamp> {
        let arrived_after = now.before(age_max);
        let mut open = self.topics.get(topic)?.open.iter();
        open.find(|(_, arrived)| **arrived >= arrived_after).map(|((at, _), _)| *at)
    }

    /// Newest event time of the posts in flight.
    pub(super) fn newest(&self, topic: &Topic) -> Option<Timestamp> {
        Some(self.topics.get(topic)?.newest)
    }
}
