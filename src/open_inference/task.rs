//! Responses that a task of their own makes, and gives up when nobody takes them.
//!
//! A response that its reader does not take holds up whatever would be done next on the same stream.
//! Here that may be a request of megabytes, half read or waiting to be scored: it must not hold its
//! room for as long as a reader likes.

use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::Status;

/// Time in which a reader takes the next response, as long as a message has to arrive.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);

/// Why no more responses are made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// There are no more, or the reader has gone.
    Over,
    /// The reader did not take one in time.
    NotTaken,
}

/// Makes `responses` in a task. They end with `DEADLINE_EXCEEDED`, and `responses` is dropped, if one
/// is not taken in time.
pub(super) fn spawned<S, T>(
    responses: S,
) -> impl Stream<Item = Result<T, Status>> + Send + use<S, T>
where
    S: Stream<Item = Result<T, Status>> + Send + 'static,
    T: Send + 'static,
{
    let (sender, mut made) = mpsc::channel(1);
    let task = tokio::spawn(make(responses, sender));
    async_stream::stream! {
        while let Some(response) = made.recv().await {
            yield response;
        }
        match task.await {
            Ok(End::Over) => {}
            Ok(End::NotTaken) => yield Err(Status::deadline_exceeded(format!(
                "a response was not read within {} s: send what is unanswered again",
                TAKEN_WITHIN.as_secs()
            ))),
            Err(_) => yield Err(Status::internal("the stream failed")),
        }
    }
}

async fn make<S, T>(responses: S, sender: mpsc::Sender<T>) -> End
where
    S: Stream<Item = T>,
{
    let mut responses = pin!(responses);
    loop {
        let response = tokio::select! {
            biased;
            () = sender.closed() => return End::Over,
            response = responses.next() => response,
        };
        let Some(response) = response else { return End::Over };
        match timeout(TAKEN_WITHIN, sender.send(response)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return End::Over,
            Err(_) => return End::NotTaken,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Numbers without end, and whether they are still being made.
    fn numbers() -> (impl Stream<Item = Result<u32, Status>> + Send + 'static, Arc<()>) {
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        let numbers = async_stream::stream! {
            let _inside = inside;
            for n in 0.. {
                yield Ok(n);
            }
        };
        (numbers, held)
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_takes_is_given_up_in_time_and_the_reader_is_told() {
        let (numbers, held) = numbers();
        let mut taken = pin!(spawned(numbers));
        for n in 0..100 {
            tokio::time::sleep(TAKEN_WITHIN / 2).await;
            assert_eq!(taken.next().await.and_then(Result::ok), Some(n), "a slow reader is served");
        }
        assert_eq!(Arc::strong_count(&held), 2);
        tokio::time::sleep(TAKEN_WITHIN + Duration::from_secs(1)).await;
        assert_eq!(Arc::strong_count(&held), 1, "dropped, though nobody reads");
        let rest: Vec<_> = taken.collect().await;
        let last = rest.last().and_then(|last| last.as_ref().err()).map(Status::code);
        assert_eq!(last, Some(tonic::Code::DeadlineExceeded));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_goes_ends_the_task() {
        let (numbers, held) = numbers();
        drop(spawned(numbers));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[tokio::test]
    async fn responses_that_end_are_all_delivered() {
        let few = futures::stream::iter((0..5).map(Ok::<_, Status>));
        let taken: Vec<_> = spawned(few).map(Result::ok).collect().await;
        assert_eq!(taken, (0..5).map(Some).collect::<Vec<_>>());
    }
}
