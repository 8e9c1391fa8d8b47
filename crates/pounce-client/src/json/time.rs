//! Times as RFC 3339.

use jiff::Timestamp;

pub(super) fn rfc3339(at: prost_types::Timestamp) -> Option<String> {
    Some(Timestamp::new(at.seconds, at.nanos).ok()?.to_string())
}
