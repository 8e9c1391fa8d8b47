//! Cases behind a lock, those who hear of their changes, and what is measured of them.
//!
//! Knows the case engine and the clock; nothing of messages, calls or logs.

pub(crate) mod metrics;
pub mod monitor;
