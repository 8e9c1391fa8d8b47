//! A scored post as the engine takes it in, and as a topic keeps it until its
//! minute closes. Post text never comes here.

use serde::{Deserialize, Serialize};

use super::key::{author_hash, post_hash};
use super::minute::Minute;
use pounce_types::post::{AuthorId, Place, PostId, Timestamp, Topic};
use pounce_types::score::Severity;

/// One scored post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// What it is about.
    pub topic: Topic,
    /// Where.
    pub place: Option<Place>,
    /// Unique within its topic.
    pub post_id: PostId,
    /// Who wrote it. A post without author is a vote of its own, and has no
    /// part in REACH, where authors must be known to be distinct.
    pub author_id: Option<AuthorId>,
    /// Followers of its author.
    pub followers: u64,
    /// Event time: when it was published.
    pub at: Timestamp,
    /// Its sentiment is negative: the same as the label of the metric that a
    /// rule over many replicas sums, whatever thresholds a stream chose for
    /// flags.
    pub negative: bool,
    /// Its severity if it was flagged as discontent.
    pub severity: Option<Severity>,
}

/// What is kept of an observation while its minute is open. The order of the
/// fields is the order in which the posts of a minute are counted, whatever
/// the order in which they came.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) at: Timestamp,
    pub(super) id: u64,
    pub(super) author: Option<u64>,
    pub(super) negative: bool,
    pub(super) severity: Option<Severity>,
    pub(super) followers: u64,
    pub(super) place: Option<Place>,
    /// Kept for negative posts only: to be shown with an alert.
    pub(super) post_id: Option<PostId>,
}

impl Record {
    pub(super) fn of(observation: &Observation, topic: u64, at: Timestamp) -> Self {
        Self {
            at,
            id: post_hash(topic, &observation.post_id),
            author: observation.author_id.as_ref().map(author_hash),
            negative: observation.negative,
            severity: observation.severity,
            followers: observation.followers,
            place: observation.place.clone(),
            post_id: observation.negative.then(|| observation.post_id.clone()),
        }
    }

    pub(super) fn minute(&self) -> Minute {
        Minute::of(self.at)
    }
}
