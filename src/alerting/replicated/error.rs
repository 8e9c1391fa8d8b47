//! Why what somebody wanted done through the log was not done, or nobody knows yet.

use pounce_alerts::{CloseError, UnknownAlert};
use pounce_cases::CaseError;

/// The log does not answer: nobody knows yet what comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the observation log can't be reached")]
pub(crate) struct LogSilent;

/// Why an alert could not be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AcknowledgeError {
    #[error(transparent)]
    Unknown(#[from] UnknownAlert),
    #[error("the observation log can't be reached: whether the alert was taken is not known yet")]
    LogSilent,
}

/// Why an alert could not be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CloseAlertError {
    #[error(transparent)]
    Close(#[from] CloseError),
    #[error("the observation log can't be reached: whether the alert was closed is not known yet")]
    LogSilent,
    #[error("replicas of an older release are in the fleet: alerts are closed when they have left")]
    OlderReplicas,
}

/// Why nothing could be done with a case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CaseActionError {
    #[error(transparent)]
    Case(#[from] CaseError),
    #[error("the observation log can't be reached: whether it was done is not known yet")]
    LogSilent,
    #[error("replicas of an older release are in the fleet: cases begin when they have left")]
    OlderReplicas,
}
