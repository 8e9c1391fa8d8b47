//! Scored posts become alerts. Pure: no async, no clock, no wire; time is an argument.

pub mod alert;
mod baseline;
mod bounded_map;
mod engine;
mod eviction;
pub mod flags;
mod in_flight;
pub mod key;
mod key_state;
mod ledger;
mod lifecycle;

mod minute;
pub mod observation;
mod queries;
mod reach;
mod recency;
pub mod settings;
mod share;
mod snapshot;
mod snapshot_error;
mod snapshot_v1;
pub mod status;
mod topic;
mod volume;
pub mod wilson;
mod window;

pub use engine::{Acknowledged, AlertEngine, Observed, UnknownAlert};
pub use in_flight::Ticket;
pub use ledger::Totals;
pub use observation::Observation;
pub use settings::Settings;
pub use snapshot::Snapshot;
pub use snapshot_error::SnapshotError;
pub use window::Counts;
