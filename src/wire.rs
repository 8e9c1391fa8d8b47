//! Values that scoring and alerting both send, as messages.

use std::time::Duration;

use pounce_proto as proto;
use pounce_types::post::Timestamp;
use pounce_types::score::Severity;

pub(crate) fn show_severity(severity: Option<Severity>) -> proto::Severity {
    match severity {
        None => proto::Severity::Unspecified,
        Some(Severity::Low) => proto::Severity::Low,
        Some(Severity::Medium) => proto::Severity::Medium,
        Some(Severity::High) => proto::Severity::High,
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
