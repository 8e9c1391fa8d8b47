//! How an alert ended, as the people found who looked into it. It goes on firing until its rule
//! calms down.

use std::time::Duration;

use super::acknowledge::UnknownAlert;
use super::alert::{Acknowledgement, Alert, AlertChange, ChangeKind};
use super::engine::AlertEngine;
use pounce_types::closing::{Closing, Outcome};
use pounce_types::post::Timestamp;

/// Somebody closes an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseAction {
    /// Of the alert.
    pub id: String,
    /// Who closes it.
    pub by: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What they have to say.
    pub note: String,
}

/// What came of closing an alert.
#[derive(Debug, Clone, PartialEq)]
pub struct ClosedAlert {
    /// The alert as it is now.
    pub alert: Alert,
    /// Whether this closed it: done again, it changes nothing.
    pub changed: bool,
    /// How long it had waited by the wall clock; none if somebody took it before.
    pub waited: Option<Duration>,
}

/// Why an alert can't be closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseError {
    /// No alert has this id.
    #[error(transparent)]
    Unknown(#[from] UnknownAlert),
    /// Somebody closed it before, in another way.
    #[error("the alert was closed by {by} as {}", .outcome.name())]
    Closed {
        /// Who closed it.
        by: String,
        /// How it ended.
        outcome: Outcome,
    },
}

impl ClosedAlert {
    /// What is to be told of it.
    #[must_use]
    pub fn told(&self) -> Option<AlertChange> {
        let change = || AlertChange { kind: ChangeKind::Closed, alert: self.alert.clone() };
        self.changed.then(change)
    }
}

impl AlertEngine {
    /// Closes an alert, firing or resolved. Nobody else has to take care of it: whoever closes an
    /// alert that nobody took has taken it. The same closing by the same person, done twice, is
    /// done once.
    /// # Errors
    /// [`CloseError`]: nothing was changed.
    pub fn close(
        &mut self,
        action: &CloseAction,
        at: Timestamp,
    ) -> Result<ClosedAlert, CloseError> {
        let firing = self.find_mut(&action.id).ok_or(UnknownAlert)?;
        let alert = &mut firing.alert;
        if let Some(Closing { by, outcome, .. }) = &alert.closing {
            if (by, *outcome) != (&action.by, action.outcome) {
                return Err(CloseError::Closed { by: by.clone(), outcome: *outcome });
            }
            return Ok(ClosedAlert { alert: alert.clone(), changed: false, waited: None });
        }
        let waited = alert
            .acknowledgement
            .is_none()
            .then(|| Duration::from_millis(at.millis().saturating_sub(firing.noticed_at.millis())));
        alert.close(Closing {
            outcome: action.outcome,
            by: action.by.clone(),
            note: action.note.clone(),
            at,
        });
        Ok(ClosedAlert { alert: alert.clone(), changed: true, waited })
    }
}

impl Alert {
    /// Notes how it ended; who closes it has taken it, if nobody had.
    pub(super) fn close(&mut self, closing: Closing) {
        let Closing { by, at, .. } = &closing;
        self.acknowledgement.get_or_insert_with(|| Acknowledgement {
            by: by.clone(),
            note: String::new(),
            at: *at,
        });
        self.closing = Some(closing);
    }
}
