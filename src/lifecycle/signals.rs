//! The signals that ask the process to end.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT, caught from now on.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// What asked the process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// SIGTERM: an orchestrator takes us out of its endpoints meanwhile.
    Terminate,
    /// SIGINT: a person waits at a terminal.
    Interrupt,
}

impl Signals {
    /// Catches them.
    /// # Errors
    /// If the system refuses.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// The next signal. Safe to drop.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Terminate,
            _ = self.interrupt.recv() => Asked::Interrupt,
        }
    }

    /// Waits for the first signal and gives the notice it asks for; a second one ends the
    /// process at once.
    pub async fn end_asked_for(mut self, notice: Duration) -> Duration {
        let asked = self.next().await;
        tokio::spawn(async move {
            self.next().await;
            tracing::warn!("second signal: exiting at once");
            std::process::exit(130);
        });
        if asked == Asked::Terminate { notice } else { Duration::ZERO }
    }
}
