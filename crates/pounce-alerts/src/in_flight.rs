//! Posts that were accepted and are not scored yet: their topic's watermark waits for them.
//!
//! Scores come in any order: a cached one at once, a long post's after seconds. A post is
//! registered when it arrives, so that neither the order of scoring nor a slow reader makes
//! another post late. Tickets are local to a process and not part of any snapshot. Where several
//! writers share a log, each tells the oldest post that it has in flight instead: a hold.

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

/// A topic's watermark waits for a writer's posts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The topic.
    pub topic: Topic,
    /// Who has posts in flight.
    pub writer: u64,
    /// Event time of the oldest of them.
    pub oldest: Timestamp,
    /// When the writer said so, by the clock of the log.
    pub told_at: Timestamp,
}

/// Every topic's watermark waits: after an outage writers have posts that nobody knows of yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// Event time from which posts may be missing.
    pub from: Timestamp,
    /// End of the wait, by the clock of the log.
    pub until: Timestamp,
}

/// The open tickets and holds of all topics.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight {
    topics: HashMap<Topic, TopicInFlight>,
    holds: BTreeMap<Topic, BTreeMap<u64, (Timestamp, Timestamp)>>,
    outage: Option<Outage>,
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

    /// Event time of the oldest post in flight, of those that arrived at most `age_max` ago, and of
    /// [`InFlight::held`].
    pub(super) fn oldest(
        &self,
        topic: &Topic,
        closed: Timestamp,
        now: Timestamp,
        age_max: Duration,
    ) -> Option<Timestamp> {
        let arrived_after = now.before(age_max);
        let open = self.topics.get(topic).and_then(|of_topic| {
            let mut open = of_topic.open.iter();
            open.find(|(_, arrived)| **arrived >= arrived_after).map(|((at, _), _)| *at)
        });
        open.into_iter().chain(self.held(topic, closed, now, age_max)).min()
    }

    /// Event time of the oldest post that another process has in flight, or may have after an
    /// outage; of holds that were told at most `age_max` ago. Minutes before `closed` are closed: who
    /// is late by more than `age_max` for those is so whatever waits, and nobody waits for it.
    pub(super) fn held(
        &self,
        topic: &Topic,
        closed: Timestamp,
        now: Timestamp,
        age_max: Duration,
    ) -> Option<Timestamp> {
        let (told_after, late_before) = (now.before(age_max), closed.before(age_max));
        let holds = self.holds.get(topic).into_iter().flat_map(BTreeMap::values);
        let holds = holds
            .filter(|(oldest, told)| *told >= told_after && *oldest >= late_before)
            .map(|(oldest, _)| *oldest);
        let outage = self.outage.filter(|outage| now < outage.until).map(|outage| outage.from);
        holds.chain(outage).min()
    }

    /// A writer's oldest post of `topic` is of `oldest`; none: it has none in flight.
    pub(super) fn hold(
        &mut self,
        writer: u64,
        topic: &Topic,
        oldest: Option<Timestamp>,
        now: Timestamp,
    ) {
        if let Some(oldest) = oldest {
            self.holds.entry(topic.clone()).or_default().insert(writer, (oldest, now));
        } else if let Some(of_topic) = self.holds.get_mut(topic) {
            of_topic.remove(&writer);
            if of_topic.is_empty() {
                self.holds.remove(topic);
            }
        }
    }

    /// Drops the holds of writers that have ended.
    pub(super) fn forget_writers(&mut self, ended: impl Fn(u64) -> bool) {
        self.holds.retain(|_, of_topic| {
            of_topic.retain(|&writer, _| !ended(writer));
            !of_topic.is_empty()
        });
    }

    /// Drops the holds that no longer count.
    pub(super) fn forget(&mut self, now: Timestamp, age_max: Duration) {
        let told_after = now.before(age_max);
        self.holds.retain(|_, of_topic| {
            of_topic.retain(|_, (_, told)| *told >= told_after);
            !of_topic.is_empty()
        });
        self.outage = self.outage.filter(|outage| now < outage.until);
    }

    /// All topics wait.
    pub(super) fn outage(&mut self, outage: Outage) {
        self.outage = Some(outage);
    }

    /// The clock went back to `now`: nothing was told after it.
    pub(super) fn turn_back(&mut self, now: Timestamp) {
        for (_, told) in self.holds.values_mut().flat_map(BTreeMap::values_mut) {
            *told = now.min(*told);
        }
        self.outage = None;
    }

    /// What the watermarks wait for besides tickets.
    pub(super) fn holds(&self) -> (Vec<Hold>, Option<Outage>) {
        let holds = self.holds.iter().flat_map(|(topic, of_topic)| {
            of_topic.iter().map(|(&writer, &(oldest, told_at))| Hold {
                topic: topic.clone(),
                writer,
                oldest,
                told_at,
            })
        });
        (holds.collect(), self.outage)
    }

    /// Newest event time of the posts in flight.
    pub(super) fn newest(&self, topic: &Topic) -> Option<Timestamp> {
        Some(self.topics.get(topic)?.newest)
    }
}
