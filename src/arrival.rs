//! How long what is being sent has been waited for.
//!
//! Only waiting counts: a stream that is not read for a while, because its posts wait for a worker or
//! its replies for their reader, is not its sender's fault. So the time ends when something comes, not
//! when somebody looks.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::task::AtomicWaker;
use tokio::time::{Instant, Sleep};

/// Time that a message, a line or a body has from its first byte to its last, while it is waited for.
pub(crate) const ARRIVAL_MAX: Duration = Duration::from_secs(30);

/// It took longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Late;

/// See the module.
#[derive(Default)]
pub(crate) struct Arrival {
    /// Waited so far.
    waited: Duration,
    waiting: Option<Waiting>,
}

/// Nothing is there.
struct Waiting {
    since: Instant,
    alarm: Pin<Box<Sleep>>,
    woken: Arc<Woken>,
}

/// Remembers when it was woken first.
#[derive(Default)]
struct Woken {
    at: Mutex<Option<Instant>>,
    task: AtomicWaker,
}

impl Woken {
    fn take(&self) -> Option<Instant> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.at.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        self.task.wake();
    }
}

impl Arrival {
    /// Something new begins to arrive.
    pub(crate) fn begin(&mut self) {
        self.waited = Duration::ZERO;
    }

    /// Polls for more. `poll` tells whether the time counts while it is pending: something has begun
    /// to arrive. Polled twice where waiting begins.
    pub(crate) fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> (Poll<T>, bool),
    ) -> Poll<Result<T, Late>> {
        if self.waiting.is_none() {
            match poll(context) {
                (Poll::Ready(came), _) => return Poll::Ready(Ok(came)),
                (Poll::Pending, false) => return Poll::Pending,
                (Poll::Pending, true) => {}
            }
        }
        let left = ARRIVAL_MAX.saturating_sub(self.waited);
        let Waiting { since, alarm, woken } = self.waiting.get_or_insert_with(|| {
            let since = Instant::now();
            let alarm = Box::pin(tokio::time::sleep_until(since + left));
            Waiting { since, alarm, woken: Arc::default() }
        });
        woken.task.register(context.waker());
        let came_at = woken.take();
        let waker = Waker::from(Arc::clone(woken));
        if let (Poll::Ready(came), _) = poll(&mut Context::from_waker(&waker)) {
            self.waited +=
                came_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(*since));
            self.waiting = None;
            return Poll::Ready(Ok(came));
        }
        if alarm.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.waiting = None;
        Poll::Ready(Err(Late))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::sync::mpsc;
    use tokio::time::{advance, timeout};

    use super::*;

    const THIRD: Duration = Duration::from_secs(10);

    async fn next(arrival: &mut Arrival, pieces: &mut mpsc::Receiver<u8>) -> Result<u8, Late> {
        let came = poll_fn(|context| arrival.poll(context, |cx| (pieces.poll_recv(cx), true)));
        came.await.map(|piece| piece.expect("the sender stays"))
    }

    /// Waits for `pause`, then has the next piece sent.
    async fn sent_after(pause: Duration, sender: &mpsc::Sender<u8>) {
        tokio::time::sleep(pause).await;
        sender.send(1).await.expect("the receiver stays");
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_has_so_long_for_all_pieces_together() {
        let (sender, mut pieces) = mpsc::channel(8);
        let mut arrival = Arrival::default();
        for _ in 0..2 {
            let (piece, ()) =
                tokio::join!(next(&mut arrival, &mut pieces), sent_after(THIRD, &sender));
            assert_eq!(piece, Ok(1));
        }
        let began = Instant::now();
        assert_eq!(next(&mut arrival, &mut pieces).await, Err(Late));
        assert_eq!(began.elapsed(), THIRD);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_of_the_reader_is_not_the_senders() {
        let (sender, mut pieces) = mpsc::channel(8);
        let mut arrival = Arrival::default();
        // The reader looks, finds nothing, and is busy with something else when it comes.
        assert!(timeout(THIRD / 10, next(&mut arrival, &mut pieces)).await.is_err());
        sender.send(1).await.expect("the receiver stays");
        advance(ARRIVAL_MAX * 10).await;
        assert_eq!(next(&mut arrival, &mut pieces).await, Ok(1));
        let (piece, ()) =
            tokio::join!(next(&mut arrival, &mut pieces), sent_after(2 * THIRD, &sender));
        assert_eq!(piece, Ok(1), "there is time for the rest");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_between_messages_is_nobodys_fault() {
        let (_sender, mut pieces) = mpsc::channel::<u8>(8);
        let mut arrival = Arrival::default();
        let never = poll_fn(|context| arrival.poll(context, |cx| (pieces.poll_recv(cx), false)));
        assert!(timeout(ARRIVAL_MAX * 100, never).await.is_err());
    }
}
