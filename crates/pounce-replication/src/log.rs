//! The ordered log that replicas share, as small as they need it: a partition of Kafka could be
//! one as well.

use bytes::Bytes;
use futures::Stream;

use pounce_types::post::Timestamp;

/// An entry as the log holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log, from 1; every entry has a higher one than those before it.
    pub position: u64,
    /// When the log took it in, by the log's clock.
    pub at: Timestamp,
    /// A [`Batch`](crate::Batch), encoded.
    pub bytes: Bytes,
    /// Entries that the log has after it, as far as the reader knows.
    pub behind: u64,
}

/// What a log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// When the log was made, in milliseconds since 1970: another number is another log.
    pub created: u64,
    /// Position of the oldest entry that can still be read; one more than `last` if there is none.
    pub first: u64,
    /// Position of the newest entry; 0 if there never was one.
    pub last: u64,
}

/// Why the log could not be used. Trying again later may help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// It can't be reached, or does not answer.
    #[error("the log can't be reached: {0}")]
    Unreachable(String),
    /// It refused: it is full, or not set up as it must be.
    #[error("the log refused: {0}")]
    Refused(String),
    /// What was written is larger than the log takes.
    #[error("an entry of {bytes} bytes is too large for the log")]
    TooLarge {
        /// Of the entry.
        bytes: usize,
    },
}

/// An ordered log of entries that several writers append to and all replicas read.
pub trait ObservationLog: Send + Sync + 'static {
    /// Entries as they come, in the order of the log.
    type Entries: Stream<Item = Result<Entry, LogError>> + Send + Unpin;

    /// Sends an entry off and asks for no answer, which spares the log and this process one: whoever
    /// reads the entry back knows that it was stored. Otherwise, and after an error, or when the
    /// future is dropped, it may have been stored or not: append the same bytes again.
    fn send(&self, bytes: Bytes) -> impl Future<Output = Result<(), LogError>> + Send;

    /// Appends an entry; returns its position once the log has stored it. After an error, or when
    /// the future is dropped, it may have been stored or not: append the same bytes again.
    fn append(&self, bytes: Bytes) -> impl Future<Output = Result<u64, LogError>> + Send;

    /// Every entry after `position`, and then what is appended. It ends where the log was interrupted:
    /// look at its extent again. Dropping the future or the stream is safe.
    fn read_after(
        &self,
        position: u64,
    ) -> impl Future<Output = Result<Self::Entries, LogError>> + Send;

    /// What the log holds now.
    fn extent(&self) -> impl Future<Output = Result<Extent, LogError>> + Send;
}
