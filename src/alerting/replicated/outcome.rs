//! What comes of an item of the log, for whoever waits for it.

use tokio::sync::oneshot;

use super::error::LogSilent;
use pounce_replication::Outcome;

/// What will come of an item.
pub(crate) struct Pending(Option<oneshot::Receiver<Outcome>>);

/// Whoever waits for what comes of an item; none: nobody.
pub(super) type Waiting = Option<oneshot::Sender<Outcome>>;

/// Both ends of a wait.
pub(super) fn wait() -> (Waiting, Pending) {
    let (sender, receiver) = oneshot::channel();
    (Some(sender), Pending(Some(receiver)))
}

impl Pending {
    /// Nobody waits.
    pub(super) fn nobody() -> Self {
        Self(None)
    }

    /// Waits until the item was applied here. Dropping it changes nothing.
    pub(crate) async fn outcome(self) -> Result<Outcome, LogSilent> {
        match self.0 {
            Some(receiver) => receiver.await.map_err(|_| LogSilent),
            None => Err(LogSilent),
        }
    }
}
