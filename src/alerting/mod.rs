//! Topic alerts as a service: counts scored posts, tells of changes, keeps state across restarts.
//!
//! Knows the alert engine, the cases, the log that replicas share, the clock and the messages;
//! nothing of how posts are scored.

pub mod advocates;
pub mod counter;
pub(crate) mod metrics;
pub mod monitor;
pub mod replicated;
pub(crate) mod service;
pub mod state;
pub(crate) mod wire;
