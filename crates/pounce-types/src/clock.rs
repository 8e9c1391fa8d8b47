//! The wall clock as event time. Pure code takes the time as an argument; those who drive it
//! read it here.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::post::Timestamp;

/// The system's time, UTC.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::MIN.after(since)
}
