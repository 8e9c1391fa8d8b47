//! Topic alerts as a service: counts scored posts, tells of changes, keeps state across restarts.
//!
//! Knows the alert engine, the clock and the messages; nothing of how posts are scored.

pub(crate) mod advocates;
pub(crate) mod metrics;
pub mod monitor;
pub(crate) mod service;
pub mod state;
pub(crate) mod wire;
