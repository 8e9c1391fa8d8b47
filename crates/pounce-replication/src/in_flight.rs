//! The posts that a writer accepted and has not appended: every replica's watermarks wait for the
//! oldest of each topic. Pure.

use std::collections::{BTreeSet, HashMap};

use pounce_types::post::{Timestamp, Topic};

/// The registration of one post. Give it back by [`WriterInFlight::append`] or
/// [`WriterInFlight::withdraw`].
#[derive(Debug, PartialEq, Eq)]
pub struct WriterTicket {
    topic: Topic,
    at: Timestamp,
    number: u64,
}

/// The registered posts of all topics.
#[derive(Debug, Default)]
pub struct WriterInFlight {
    topics: HashMap<Topic, OfTopic>,
    next_number: u64,
}

#[derive(Debug, Default)]
struct OfTopic {
    open: BTreeSet<(Timestamp, u64)>,
    /// What the other replicas were told last.
    told: Option<Timestamp>,
}

impl WriterInFlight {
    /// Registers a post that arrived. For a `late` one nobody waits: told as the oldest it would hide
    /// those that are not.
    pub fn admit(&mut self, topic: &Topic, at: Timestamp, late: bool) -> WriterTicket {
        let number = self.next_number;
        self.next_number += 1;
        if !late {
            self.topics.entry(topic.clone()).or_default().open.insert((at, number));
        }
        WriterTicket { topic: topic.clone(), at, number }
    }

    /// The post is appended now. Returns the oldest of those that stay, to be told with it.
    pub fn append(&mut self, ticket: &WriterTicket) -> Option<Timestamp> {
        let oldest = self.remove(ticket);
        if let Some(of_topic) = self.topics.get_mut(&ticket.topic) {
            of_topic.told = oldest;
        }
        self.forget_if_empty(&ticket.topic);
        oldest
    }

    /// The post will not be appended. Returns the topic and its oldest post if the other replicas
    /// wait for this one, so that they must be told.
    pub fn withdraw(&mut self, ticket: &WriterTicket) -> Option<(Topic, Option<Timestamp>)> {
        let oldest = self.remove(ticket);
        let of_topic = self.topics.get_mut(&ticket.topic)?;
        let is_stale = of_topic.told.is_some_and(|told| oldest.is_none_or(|oldest| oldest > told));
        if is_stale {
            of_topic.told = oldest;
        }
        self.forget_if_empty(&ticket.topic);
        is_stale.then(|| (ticket.topic.clone(), oldest))
    }

    /// Removes a post; returns the oldest of those that stay.
    fn remove(&mut self, ticket: &WriterTicket) -> Option<Timestamp> {
        let open = &mut self.topics.get_mut(&ticket.topic)?.open;
        open.remove(&(ticket.at, ticket.number));
        open.first().map(|(at, _)| *at)
    }

    fn forget_if_empty(&mut self, topic: &Topic) {
        if self.topics.get(topic).is_some_and(|of_topic| of_topic.open.is_empty()) {
            self.topics.remove(topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_told_the_oldest_post_and_when_it_was_withdrawn() {
        let topic = Topic::parse(b"acme").expect("a topic");
        let at = Timestamp::from_millis;
        let mut in_flight = WriterInFlight::default();
        let [first, second, third] = [1, 2, 3].map(|n| in_flight.admit(&topic, at(n), false));
        assert_eq!(in_flight.append(&third), Some(at(1)));
        assert_eq!(in_flight.withdraw(&first), Some((topic.clone(), Some(at(2)))));
        assert_eq!(in_flight.withdraw(&second), Some((topic.clone(), None)));
        assert!(in_flight.topics.is_empty());
        let fourth = in_flight.admit(&topic, at(4), false);
        assert_eq!(in_flight.withdraw(&fourth), None, "nobody was told of it");
    }

    #[test]
    fn a_late_post_hides_no_other() {
        let topic = Topic::parse(b"acme").expect("a topic");
        let at = Timestamp::from_millis;
        let mut in_flight = WriterInFlight::default();
        let late = in_flight.admit(&topic, at(1), true);
        let [second, third] = [2, 3].map(|n| in_flight.admit(&topic, at(n), false));
        assert_eq!(in_flight.append(&third), Some(at(2)));
        assert_eq!(in_flight.append(&late), Some(at(2)));
        assert_eq!(in_flight.append(&second), None);
        assert!(in_flight.topics.is_empty());
    }
}
