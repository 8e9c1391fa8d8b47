//! Why a call failed, and whether trying again may help. Knows statuses only.

use std::error::Error;
use std::time::Duration;

use tonic::{Code, Status};

/// Why the service could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is none.
    #[error("{addr} is not an address of the form http://host:port or dns:///name:port: {reason}")]
    Address {
        /// What was given.
        addr: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificates or the token are of no use.
    #[error("{0}")]
    Access(String),
    /// The service can't be reached, or is going away.
    #[error("the service can't be reached: {}", reason(.0))]
    Unreachable(Box<Status>),
    /// The service refused the call; trying again would not help.
    #[error("the service refused the call ({code:?}): {message}", code = .0.code(), message = .0.message())]
    Refused(Box<Status>),
    /// The service could not be reached, or went away, for too long.
    #[error("gave up after {patience:?} without a reply: {message}", message = .last.message())]
    GaveUp {
        /// How long it was tried.
        patience: Duration,
        /// What was heard last.
        last: Box<Status>,
    },
}

impl ClientError {
    /// What a call that was made once ended with.
    #[must_use]
    pub fn of(status: Status) -> Self {
        match status.code() {
            Code::Unavailable => Self::Unreachable(Box::new(status)),
            _ => Self::Refused(Box::new(status)),
        }
    }
}

/// What the status says and, where it was made here, what caused it.
pub(super) fn reason(status: &Status) -> String {
    let cause = status.source();
    cause.map_or_else(|| status.message().to_owned(), whole)
}

/// Whether the call may succeed later or elsewhere.
pub(super) fn is_passing(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::Unknown
            | Code::Internal
            | Code::Cancelled
            | Code::Aborted
            | Code::ResourceExhausted
    )
}

/// An error and what caused it, each said once.
pub(super) fn whole(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}
