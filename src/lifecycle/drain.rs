//! The end of the service, told to everybody who has to act on it.

use tokio::sync::watch;

/// How far the end has come; only ever rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing has happened.
    Serving,
    /// Not ready any more, but new calls are still answered: endpoints and
    /// load balancers need a moment to notice.
    Notice,
    /// Streams are asked to end, new ones are turned away.
    Draining,
    /// Time is up: what is still open ends with UNAVAILABLE.
    Stopping,
}

/// Tells the phases. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DrainSender(watch::Sender<Phase>);

/// Hears of the phases. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Drain(watch::Receiver<Phase>);

/// A new drain that has not begun.
#[must_use]
pub fn channel() -> (DrainSender, Drain) {
    let (sender, receiver) = watch::channel(Phase::Serving);
    (DrainSender(sender), Drain(receiver))
}

impl DrainSender {
    /// Moves on to a phase; an earlier one than the present changes nothing.
    pub fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let later = phase > *now;
            *now = phase.max(*now);
            later
        });
    }
}

impl Drain {
    /// The present phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Completes once `phase` is reached. Safe to drop.
    pub async fn reached(&mut self, phase: Phase) {
        // The sender lives as long as the process serves; without it, nothing more will come.
        if self.0.wait_for(|now| *now >= phase).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
