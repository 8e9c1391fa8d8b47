//! Where posts come from.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::delivery::Delivery;
use crate::metrics;
use crate::receipts::Receipts;
use crate::status::Status;
use crate::stop::Stop;
use crate::window::Window;

/// What a source reads into.
pub struct Intake<R> {
    /// Has room for every message that the window lets in. Each has the number of its receipt.
    pub(crate) deliveries: mpsc::Sender<(u64, Delivery<R>)>,
    /// Shared with those who keep messages in progress and give them back.
    pub(crate) receipts: Arc<Receipts<R>>,
    /// How many messages may be in flight.
    pub window: Window,
    /// When to read no more.
    pub stop: Stop,
    /// Hears of failures.
    pub status: Arc<Status>,
}

impl<R> Intake<R> {
    /// Passes a message on. From now on it is kept in progress, and given back if it is not done:
    /// also if nobody takes it any more, or this is dropped.
    pub async fn pass_on(&self, delivery: Delivery<R>) {
        metrics::received(delivery.redelivered);
        let number = self.receipts.add(Arc::clone(&delivery.receipt));
        // An error: the bridge is ending.
        let _ = self.deliveries.send((number, delivery)).await;
    }

    /// Whether nothing more is to be read.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stop.is_asked() || self.deliveries.is_closed()
    }

    /// Waits until nothing more is to be read. Safe to drop.
    pub async fn over(&self) {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = stop.asked() => {}
            () = self.deliveries.closed() => {}
        }
    }
}

/// Why a source can't be read, for good.
#[derive(Debug, thiserror::Error)]
#[error("the source can't be read: {0}")]
pub struct SourceError(pub String);

/// A broker that hands out messages and keeps those that were not acknowledged.
pub trait Source: Send + Sync + 'static {
    /// What a message is acknowledged by.
    type Receipt: Send + Sync + 'static;

    /// Reads messages, each with a permit of the window, until the intake is over; connects again
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::time::Instant;

    use super::*;
    use crate::stop;

    #[tokio::test]
    async fn a_message_is_in_flight_from_the_moment_it_is_read_whether_or_not_it_is_taken() {
        let (_stopper, stop) = stop::channel();
        let (deliveries, mut received) = mpsc::channel(2);
        let receipts = Arc::new(Receipts::default());
        let intake = Intake {
            deliveries,
            receipts: Arc::clone(&receipts),
            window: Window::new(2),
            stop,
            status: Arc::default(),
        };
        let read = async |place: u32| Delivery {
            position: place.to_string(),
            payload: Bytes::new(),
            read_at: Instant::now(),
            redelivered: false,
            receipt: Arc::new(place),
            permit: intake.window.admit(1).await,
        };
        intake.pass_on(read(7).await).await;
        assert_eq!(receipts.all(), [Arc::new(7)], "it waits to be taken");
        let (number, taken) = received.recv().await.expect("it was passed on");
        assert_eq!((number, taken.position.as_str(), intake.is_over()), (0, "7", false));
        drop(received);
        intake.over().await;
        assert!(intake.is_over(), "nobody takes any more");
        intake.pass_on(read(8).await).await;
        receipts.remove(number);
        assert_eq!(receipts.all(), [Arc::new(8)], "it is to be given back");
    }
}
