//! Values that several services send or take, as messages.

use std::time::Duration;

use pounce_proto as proto;
use pounce_types::closing::{Closing, Outcome};
use pounce_types::post::Timestamp;
use pounce_types::score::Severity;
use tonic::Status;

pub(crate) fn show_severity(severity: Option<Severity>) -> proto::Severity {
    match severity {
        None => proto::Severity::Unspecified,
        Some(Severity::Low) => proto::Severity::Low,
        Some(Severity::Medium) => proto::Severity::Medium,
        Some(Severity::High) => proto::Severity::High,
    }
}

/// An outcome, which is required; one that is not known names the field.
pub(crate) fn outcome(wire: i32) -> Result<Outcome, Status> {
    match proto::CaseOutcome::try_from(wire) {
        Ok(proto::CaseOutcome::Answered) => Ok(Outcome::Answered),
        Ok(proto::CaseOutcome::NoAnswerNeeded) => Ok(Outcome::NoAnswerNeeded),
        Ok(proto::CaseOutcome::FalseAlarm) => Ok(Outcome::FalseAlarm),
        Ok(proto::CaseOutcome::CouldNotReach) => Ok(Outcome::CouldNotReach),
        Ok(proto::CaseOutcome::Unspecified) => {
            Err(Status::invalid_argument("outcome is required and must not be empty"))
        }
        Err(_) => Err(Status::invalid_argument("outcome has an unknown value")),
    }
}

pub(crate) fn show_closing(closing: &Closing) -> proto::CaseClosing {
    let outcome = match closing.outcome {
        Outcome::Answered => proto::CaseOutcome::Answered,
        Outcome::NoAnswerNeeded => proto::CaseOutcome::NoAnswerNeeded,
        Outcome::FalseAlarm => proto::CaseOutcome::FalseAlarm,
        Outcome::CouldNotReach => proto::CaseOutcome::CouldNotReach,
    };
    proto::CaseClosing {
        outcome: outcome.into(),
        by: closing.by.clone(),
        note: closing.note.clone(),
        at: Some(show_timestamp(closing.at)),
    }
}

pub(crate) fn show_timestamp(at: Timestamp) -> prost_types::Timestamp {
    let millis = i64::try_from(at.millis()).unwrap_or(i64::MAX);
    let nanos = i32::try_from(millis % 1000).unwrap_or(0) * 1_000_000;
    prost_types::Timestamp { seconds: millis / 1000, nanos }
}

/// RFC 3339; every timestamp of ours lies in jiff's range.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    let millis = i64::try_from(at.millis()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX).to_string()
}

pub(crate) fn show_duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_survive_the_wire() {
        for at in [Timestamp::MIN, Timestamp::from_millis(1_700_000_000_123), Timestamp::MAX] {
            let wire = show_timestamp(at);
            assert_eq!(Timestamp::parse(wire.seconds, wire.nanos), Ok(at));
        }
    }
}
