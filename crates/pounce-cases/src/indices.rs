//! Where each case stands in every order that is asked for. Kept up by whoever changes a case:
//! taken out as it was, put in as it is.

use std::collections::{BTreeMap, BTreeSet};

use crate::case::{Case, CaseState};
use crate::id::CaseId;
use pounce_alerts::AuthorHash;
use pounce_types::post::{PostId, Timestamp, Topic};
use pounce_types::score::Severity;

/// Where a case stands among those that have to leave: the least leaves first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Standing {
    class: Class,
    severity: Severity,
    number: u64,
    pub(crate) id: CaseId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Closed,
    Open,
    /// Somebody is calling the customer: a new case would have another one call too.
    Claimed,
}

impl Standing {
    fn of(case: &Case) -> Self {
        let class = match case.state() {
            CaseState::Open => Class::Open,
            CaseState::Claimed => Class::Claimed,
            CaseState::Closed => Class::Closed,
        };
        Self { class, severity: case.severity, number: case.number, id: case.id }
    }
}

#[derive(Debug, Clone, Default)]
struct OfTopic {
    standings: BTreeSet<Standing>,
    overdue: usize,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Indices {
    standings: BTreeSet<Standing>,
    topics: BTreeMap<Topic, OfTopic>,
    /// By topic, author and age.
    authors: BTreeSet<(Topic, AuthorHash, u64, CaseId)>,
    /// Of posts without an author, by topic.
    anonymous: BTreeMap<(Topic, PostId), CaseId>,
    deadlines: BTreeSet<(Timestamp, CaseId)>,
    leases: BTreeSet<(Timestamp, CaseId)>,
    closed: BTreeSet<(Timestamp, CaseId)>,
    unclosed: [usize; 3],
    overdue: usize,
}

impl Indices {
    pub(crate) fn insert(&mut self, case: &Case) {
        let standing = Standing::of(case);
        self.standings.insert(standing);
        let of_topic = self.topics.entry(case.topic.clone()).or_default();
        of_topic.standings.insert(standing);
        of_topic.overdue += usize::from(case.is_overdue());
        self.overdue += usize::from(case.is_overdue());
        if let Some(author) = case.author {
            self.authors.insert((case.topic.clone(), author, case.number, case.id));
        } else {
            self.anonymous.extend(case.post_ids.first().map(|post| (of(case, post), case.id)));
        }
        if let Some(closing) = &case.closing {
            self.closed.insert((closing.at, case.id));
        } else {
            self.unclosed[case.severity as usize] += 1;
            if case.punctuality.is_none() {
                self.deadlines.insert((case.respond_by, case.id));
            }
        }
        if let Some(claim) = &case.claim {
            self.leases.insert((claim.lease_until, case.id));
        }
    }

    pub(crate) fn remove(&mut self, case: &Case) {
        let standing = Standing::of(case);
        self.standings.remove(&standing);
        if let Some(of_topic) = self.topics.get_mut(&case.topic) {
            of_topic.standings.remove(&standing);
            of_topic.overdue -= usize::from(case.is_overdue());
            if of_topic.standings.is_empty() {
                self.topics.remove(&case.topic);
            }
        }
        self.overdue -= usize::from(case.is_overdue());
        if let Some(author) = case.author {
            self.authors.remove(&(case.topic.clone(), author, case.number, case.id));
        } else if let Some(post) = case.post_ids.first() {
            self.anonymous.remove(&of(case, post));
        }
        if let Some(closing) = &case.closing {
            self.closed.remove(&(closing.at, case.id));
        } else {
            self.unclosed[case.severity as usize] -= 1;
            self.deadlines.remove(&(case.respond_by, case.id));
        }
        if let Some(claim) = &case.claim {
            self.leases.remove(&(claim.lease_until, case.id));
        }
    }

    /// The case that has to leave first.
    pub(crate) fn first_to_leave(&self) -> Option<CaseId> {
        self.standings.first().map(|standing| standing.id)
    }

    /// The case of a topic that has to leave first, if the topic has more than `max`.
    pub(crate) fn first_to_leave_of(&self, topic: &Topic, max: usize) -> Option<CaseId> {
        let standings = &self.topics.get(topic)?.standings;
        standings.first().filter(|_| standings.len() > max).map(|standing| standing.id)
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.keys()
    }

    /// The newest case of an author on a topic.
    pub(crate) fn newest_of(&self, topic: &Topic, author: AuthorHash) -> Option<CaseId> {
        let first = (topic.clone(), author, 0, CaseId::MIN);
        let last = (topic.clone(), author, u64::MAX, CaseId::MAX);
        self.authors.range(first..=last).next_back().map(|(.., id)| *id)
    }

    /// The case of a post without an author.
    pub(crate) fn of_post(&self, topic: &Topic, post: &PostId) -> Option<CaseId> {
        self.anonymous.get(&(topic.clone(), post.clone())).copied()
    }

    /// A case whose lease ended by `now`.
    pub(crate) fn lease_ended(&self, now: Timestamp) -> Option<CaseId> {
        self.leases.first().filter(|(until, _)| *until <= now).map(|(_, id)| *id)
    }

    /// A case whose deadline passed before `now`.
    pub(crate) fn deadline_passed(&self, now: Timestamp) -> Option<CaseId> {
        self.deadlines.first().filter(|(by, _)| *by < now).map(|(_, id)| *id)
    }

    /// A case that was closed before `at`.
    pub(crate) fn closed_before(&self, at: Timestamp) -> Option<CaseId> {
        self.closed.first().filter(|(closed, _)| *closed < at).map(|(_, id)| *id)
    }

    pub(crate) fn unclosed(&self) -> [usize; 3] {
        self.unclosed
    }

    pub(crate) fn overdue_of(&self, topic: &Topic) -> usize {
        self.topics.get(topic).map_or(0, |of_topic| of_topic.overdue)
    }

    pub(crate) fn overdue(&self) -> usize {
        self.overdue
    }
}

fn of(case: &Case, post: &PostId) -> (Topic, PostId) {
    (case.topic.clone(), post.clone())
}
