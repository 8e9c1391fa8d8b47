//! Where events go.

use std::future::Future;

use crate::record::Record;

/// Why a record was not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// It may be stored later.
    #[error("{0}")]
    Unavailable(String),
    /// The broker takes no message so large.
    #[error("the message is larger than the broker allows")]
    TooLarge,
    /// Nothing can be stored any more.
    #[error("the sink can't be written: {0}")]
    Fatal(String),
}

/// A broker that stores records.
pub trait Sink: Send + Sync + 'static {
    /// Ends when the broker has stored the record.
    type Stored: Future<Output = Result<(), SinkError>> + Send;

    /// Hands a record to the broker. Records of one key are stored in the order of these calls,
    /// as far as none fails.
    fn send(&self, record: &Record)
    -> impl Future<Output = Result<Self::Stored, SinkError>> + Send;

    /// Asks whether records can be stored now.
    /// # Errors
    /// Why they can't.
    fn check(&self) -> impl Future<Output = Result<(), String>> + Send;
}
