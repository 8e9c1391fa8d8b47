//! Scores become alerts. Pure: no async, no clock, no wire; time is an argument.

pub mod alert;
mod baseline;
pub mod board;
mod crowd;
pub mod flags;
pub mod key;
mod ledger;
mod lifecycle;
mod memory;
mod minute;
pub mod observation;
mod reach;
mod recency;
pub mod settings;
mod share;
mod snapshot;
pub mod status;
mod topic;
mod volume;
pub mod wilson;
mod window;

pub use board::{Acknowledged, Board, Observed, UnknownAlert};
pub use ledger::Totals;
pub use observation::Observation;
pub use settings::Settings;
pub use snapshot::SnapshotError;
pub use window::Counts;
