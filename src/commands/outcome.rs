//! How cases and alerts end, as words of the command line.

use clap::ValueEnum;
use pounce_proto::CaseOutcome;

/// An outcome's name.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum OutcomeName {
    Answered,
    NoAnswerNeeded,
    FalseAlarm,
    CouldNotReach,
}

impl From<OutcomeName> for CaseOutcome {
    fn from(name: OutcomeName) -> Self {
        match name {
            OutcomeName::Answered => Self::Answered,
            OutcomeName::NoAnswerNeeded => Self::NoAnswerNeeded,
            OutcomeName::FalseAlarm => Self::FalseAlarm,
            OutcomeName::CouldNotReach => Self::CouldNotReach,
        }
    }
}
