//! From starting to stopping: health, files read anew, and the phases of a drain.
//!
//! Knows whether the scorer lives; nothing of calls.

pub mod calls;
pub mod drain;
pub mod health;
pub(crate) mod metrics;
pub mod reload;
pub mod signals;
