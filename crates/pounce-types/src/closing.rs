//! How people end a case or close an alert: with which outcome, who, and when.

use serde::{Deserialize, Serialize};

use crate::post::Timestamp;

/// How a case or an alert ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// The customer was answered.
    Answered,
    /// The flag was right, but no answer was needed.
    NoAnswerNeeded,
    /// The flag was wrong: nobody is discontent.
    FalseAlarm,
    /// Somebody tried, and the customer could not be reached.
    CouldNotReach,
}

impl Outcome {
    /// Every outcome, in the order of their numbers on the wire.
    pub const ALL: [Self; 4] =
        [Self::Answered, Self::NoAnswerNeeded, Self::FalseAlarm, Self::CouldNotReach];

    /// Lower-case name, as in JSON and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::NoAnswerNeeded => "no_answer_needed",
            Self::FalseAlarm => "false_alarm",
            Self::CouldNotReach => "could_not_reach",
        }
    }

    /// The outcome of that [`Outcome::name`].
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }

    /// Whether somebody turned to the customer, which is what is due by the deadline.
    #[must_use]
    pub fn is_response(self) -> bool {
        matches!(self, Self::Answered | Self::CouldNotReach)
    }
}

/// How somebody closed a case or an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// With which outcome.
    pub outcome: Outcome,
    /// Who closed it.
    pub by: String,
    /// What they had to say.
    pub note: String,
    /// When they did.
    pub at: Timestamp,
}
