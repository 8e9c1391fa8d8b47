//! Topic alerts as notifications: told to Alertmanager, which groups, silences and routes them.
//!
//! Knows alerts and their changes; nothing of posts, streams or the engine's rules.

pub mod alertmanager;
mod freshness;
pub(crate) mod metrics;
mod outbox;
pub mod sender;
