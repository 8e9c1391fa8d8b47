//! Where posts come from.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::delivery::Delivery;
use crate::status::Status;
use crate::stop::Stop;
use crate::window::Window;

/// What a source reads into.
pub struct Intake<R> {
    /// Has room for every message that the window lets in.
    pub deliveries: mpsc::Sender<Delivery<R>>,
    /// How many messages may be in flight.
    pub window: Window,
    /// When to read no more.
    pub stop: Stop,
    /// Hears of failures.
    pub status: Arc<Status>,
}

/// Why a source can't be read, for good.
#[derive(Debug, thiserror::Error)]
#[error("the source can't be read: {0}")]
pub struct SourceError(pub String);

/// A broker that hands out messages and keeps those that were not acknowledged.
pub trait Source: Send + Sync + 'static {
    /// What a message is acknowledged by.
    type Receipt: Send + Sync + 'static;

    /// Reads messages, each with a permit of the window, until it is asked to stop; connects again
    /// as often as it takes. Messages that the broker has already handed out are still passed on.
    ///
    /// # Errors
    /// [`SourceError`], when trying again would not help.
    fn read(
        &self,
        intake: Intake<Self::Receipt>,
    ) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// The message is done: its event is stored. A message whose acknowledgement is lost is handed
    /// out again.
    fn acknowledge(&self, receipt: &Self::Receipt) -> impl Future<Output = ()> + Send;

    /// When [`Source::in_progress`] is due next; none: never.
    fn progress_interval(&self) -> Option<Duration>;

    /// The message is still being worked on: nobody else should get it.
    fn in_progress(&self, receipt: &Self::Receipt) -> impl Future<Output = ()> + Send;

    /// The message will not be done here: somebody else should get it soon.
    fn give_back(&self, receipt: &Self::Receipt) -> impl Future<Output = ()> + Send;

    /// Makes sure that the broker has every acknowledgement.
    fn close(&self) -> impl Future<Output = ()> + Send;

    /// How many messages of the source are not done.
    /// # Errors
    /// Why that can't be told: the source can't be reached.
    fn lag(&self) -> impl Future<Output = Result<u64, String>> + Send;
}
