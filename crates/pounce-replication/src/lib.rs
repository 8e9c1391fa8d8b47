//! State machine replication for alerts and cases: replicas that read the same entries of one
//! ordered log in the same order have the same topics, alerts, acknowledgements, outcomes and cases.
//!
//! A replica appends what it scored to an [`ObservationLog`] and counts it only when it reads it
//! back, as it counts what the others appended. Post text never comes here. See Schneider,
//! "Implementing fault-tolerant services using the state machine approach" (1990), and for the
//! numbers that make a retry count once Ongaro, "Consensus: bridging theory and practice" (2014),
//! section 6.3.
//!
//! Knows the engines of alerts and cases, and the log; nothing of how posts are scored or alerts are told.

pub mod entry;
mod entry_codec;
mod form;
mod in_flight;
pub mod jet_stream;
pub mod log;
mod outbox;
mod recent_changes;
pub mod replica;
mod sessions;
pub mod snapshot;
pub mod store;
mod wire;

pub use entry::{Advocate, Batch, EntryError, Item, LoggedObservation, NewerVersion};
pub use form::{EntryForm, Membership};
pub use in_flight::{WriterInFlight, WriterTicket};
pub use jet_stream::{Credentials, JetStreamLog, JetStreamSpec};
pub use log::{Entry, LogError, ObservationLog};
pub use outbox::{Outbox, OutboxLimits, SealedBatch};
pub use pounce_nats::ConnectError;
pub use recent_changes::RecentChanges;
pub use replica::{
    Applied, ChangePosition, Disposition, Engines, Numbered, NumberedChange, Outcome, Replica,
};
pub use snapshot::{ReplicaSnapshot, RestoreError};
pub use store::{Published, SnapshotStore};
