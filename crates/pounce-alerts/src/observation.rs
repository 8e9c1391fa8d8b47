//! A scored post as the engine takes it in, and as a topic keeps it until its
//! minute closes. Post text never comes here.

use serde::{Deserialize, Serialize};

use super::hashing::{AuthorHash, TextHash};
use super::key::post_hash;
use super::minute::Minute;
use super::signal::SignalId;
use pounce_types::post::{Place, PostId, Timestamp, Topic};
use pounce_types::score::{Sentiment, Severity};

/// One scored post: all that is counted of it, and all that a log or a snapshot may hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// What it is about.
    pub topic: Topic,
    /// Where it happened: a store, a city; none if that was not told.
    pub place: Option<Place>,
    /// Unique within its topic.
    pub post_id: PostId,
    /// Who wrote it. A post without author is a vote of its own, and has no
    /// part in REACH, where authors must be known to be distinct.
    pub author: Option<AuthorHash>,
    /// Followers of its author.
    pub followers: u64,
    /// Event time: when it was published, or else when it arrived.
    pub at: Timestamp,
    /// It is in a language that the model does not know: it counts for nothing.
    pub foreign: bool,
    /// Its sentiment, which decides nothing here.
    pub sentiment: Sentiment,
    /// Set if it is discontent, by the thresholds of the service, whatever a stream chose for
    /// its flags.
    pub discontent: Option<Severity>,
    /// What that decision rests on. An observation of another signal than the engine's counts
    /// for nothing.
    pub signal: SignalId,
    /// The same for copies of a text; none for short texts.
    pub near_text: Option<TextHash>,
}

/// What is kept of an observation while its minute is open. The order of the
/// fields is the order in which the posts of a minute are counted, whatever
/// the order in which they came.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) at: Timestamp,
    pub(super) id: u64,
    pub(super) author: Option<AuthorHash>,
    pub(super) discontent: Option<Severity>,
    pub(super) followers: u64,
    pub(super) place: Option<Place>,
    pub(super) near_text: Option<TextHash>,
    /// Kept for discontent posts only: to be shown with an alert.
    pub(super) post_id: Option<PostId>,
}

impl Record {
    pub(super) fn of(observation: &Observation, topic: u64, at: Timestamp) -> Self {
        Self {
            at,
            id: post_hash(topic, &observation.post_id),
            author: observation.author,
            discontent: observation.discontent,
            followers: observation.followers,
            place: observation.place.clone(),
            near_text: observation.near_text,
            post_id: observation.discontent.map(|_| observation.post_id.clone()),
        }
    }

    pub(super) fn minute(&self) -> Minute {
        Minute::of(self.at)
    }

    pub(super) fn is_negative(&self) -> bool {
        self.discontent.is_some()
    }
}
