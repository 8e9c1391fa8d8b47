//! What an entry of the log holds: checked values, which `entry_codec.rs` reads and writes.

use std::time::Duration;

use crate::form::EntryForm;
use pounce_alerts::{CloseAction, Observation, Signal};
use pounce_cases::CaseAction;
use pounce_types::post::{Place, PostId, Timestamp, Topic};

/// A newer release wrote the entry: to skip it would give this replica other alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the entry has version {version}; this release reads up to {max}")]
pub struct NewerVersion {
    /// The entry's.
    pub version: u32,
    /// The newest that is read.
    pub max: u32,
}

/// Why an entry can't be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// See [`NewerVersion`].
    #[error(transparent)]
    NewerVersion(#[from] NewerVersion),
    /// No release writes such an entry: the same on every replica, so that it can be skipped.
    #[error("the entry is damaged: {0}")]
    Damaged(String),
}

/// One entry: what a writer had to say, in its order.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// What may be in it.
    pub form: EntryForm,
    /// Version of the newest form that the writer reads.
    pub reads: u32,
    /// Chosen at random when the writer started.
    pub writer: u64,
    /// Of the writer's batches, from 1. A repeated one is a retry.
    pub number: u64,
    /// Hash of the writer's alert settings.
    pub settings: u64,
    /// None: only the time goes on.
    pub items: Vec<Item>,
}

/// A part of a [`Batch`].
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A scored post that counts for its topic.
    Observation(LoggedObservation),
    /// Somebody takes an alert.
    Acknowledge {
        /// Of the alert.
        id: String,
        /// Who takes it.
        by: String,
        /// What they have to say.
        note: String,
    },
    /// An advocate whose post counts for no topic.
    Advocate(Advocate),
    /// The writer's oldest post of the topic in flight; none: it has none.
    Release {
        /// Which topic.
        topic: Topic,
        /// Event time.
        oldest_in_flight: Option<Timestamp>,
    },
    /// What the writer's decisions of discontent rest on.
    Signal(Signal),
    /// Somebody does something with a case. From the form [`EntryForm::Cases`] on.
    Case(CaseAction),
    /// Somebody closes an alert. From the form [`EntryForm::Outcomes`] on.
    CloseAlert(CloseAction),
}

/// An observation, and what else is known of its post.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedObservation {
    /// What is counted.
    pub observation: Observation,
    /// Event time of the writer's oldest post of the topic that is still in flight.
    pub oldest_in_flight: Option<Timestamp>,
    /// P(positive), if the post was flagged as advocate.
    pub advocate: Option<f32>,
    /// Time within which somebody should respond, if the post opens or joins a case. From the form
    /// [`EntryForm::Cases`] on.
    pub respond_within: Option<Duration>,
}

/// A post that was flagged as advocate: praise by an author with an audience.
#[derive(Debug, Clone, PartialEq)]
pub struct Advocate {
    /// None if the post names none.
    pub topic: Option<Topic>,
    /// None if the post names none.
    pub place: Option<Place>,
    /// The post.
    pub post_id: PostId,
    /// Of its author.
    pub followers: u64,
    /// P(positive).
    pub probability: f32,
    /// Event time.
    pub at: Timestamp,
}

impl Item {
    /// The oldest form that can hold it.
    #[must_use]
    pub fn form(&self) -> EntryForm {
        match self {
            Self::Observation(LoggedObservation { respond_within: Some(_), .. })
            | Self::Case(_) => EntryForm::Cases,
            Self::CloseAlert(_) => EntryForm::Outcomes,
            Self::Observation(_)
            | Self::Acknowledge { .. }
            | Self::Advocate(_)
            | Self::Release { .. }
            | Self::Signal(_) => EntryForm::Alerts,
        }
    }

    /// What an entry of `form` can hold of it; none: nothing.
    #[must_use]
    pub fn in_form(self, form: EntryForm) -> Option<Self> {
        match self {
            item if item.form() <= form => Some(item),
            // It counts, and opens no case.
            Self::Observation(logged) => {
                Some(Self::Observation(LoggedObservation { respond_within: None, ..logged }))
            }
            _ => None,
        }
    }
}
