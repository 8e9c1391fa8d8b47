//! Posts out of a broker, scored by the service, and events into a broker: what `pounce bridge` runs.
//!
//! ```text
//! source ── posts ──> scoring client ── replies ──> sink ── stored ──> source: acknowledge
//! ```
//!
//! A message is acknowledged only after the broker has stored its event or its dead letter. So each
//! post has at least one; after a failure it may have more, which carry the same message id. Posts
//! are pulled: at most so many are in flight, and nothing waits here beside them.
//!
//! Knows the client of the service and the brokers; nothing of how the service answers.

pub mod access;
pub mod address;
pub mod bridge;
pub mod delivery;
pub mod ends;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod metrics;
#[cfg(feature = "nats")]
pub mod nats;
mod receipts;
pub mod record;
pub mod sink;
pub mod source;
pub mod status;
pub mod stop;
pub mod window;
