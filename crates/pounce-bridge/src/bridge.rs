//! The way of a message through the bridge, from the source to its acknowledgement.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures::future::FusedFuture;
use futures::stream::FuturesOrdered;
use futures::{FutureExt, Stream, StreamExt};
use pounce_client::{Backoff, Client, ClientError, Reply, StreamSpec};
use pounce_proto::{Post, Rejection, RejectionCode};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;

use crate::address::{Broker, Format};
use crate::delivery::{self, Delivery};
use crate::metrics;
use crate::receipts::Receipts;
use crate::record::{self, Identity, Kind, Record};
use crate::sink::{Sink, SinkError};
use crate::source::{Intake, Source, SourceError};
use crate::status::{Part, Status};
use crate::stop::Stop;
use crate::window::{Permit, Window};

/// How often source, service and sink are asked whether they can be used.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Longest time that each may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How a bridge works.
#[derive(Debug, Clone)]
pub struct BridgeSpec {
    /// The kind of the source, for metrics.
    pub from: Broker,
    /// The form of the posts.
    pub input: Format,
    /// The form of the events.
    pub output: Format,
    /// Messages read and not yet acknowledged, at most, at least 1.
    pub in_flight_max: u32,
    /// Longest time for those in flight to be done once the bridge was asked to stop.
    pub drain_timeout: Duration,
}

/// Why a bridge ended without being asked to, or left work undone.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The service refuses the bridge.
    #[error(transparent)]
    Service(#[from] ClientError),
    /// The source can't be read any more.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The sink can't be written any more.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The time to stop in was too short.
    #[error(
        "{left} messages were still in flight after {after:?}; the source hands them out again"
    )]
    CutOff {
        /// Messages in flight.
        left: usize,
        /// Time that there was.
        after: Duration,
    },
}

/// Moves posts from the source through the service to the sink until it is asked to stop and those
/// in flight are done. Dropping it leaves those in flight unacknowledged: they are handed out
/// again.
///
/// # Errors
/// [`BridgeError`]. Nothing is lost: what was not stored was not acknowledged.
pub async fn run<S: Source, K: Sink>(
    client: Client,
    source: &S,
    sink: &K,
    spec: BridgeSpec,
    status: Arc<Status>,
    mut stop: Stop,
) -> Result<(), BridgeError> {
    let window = Window::new(spec.in_flight_max);
    let room = usize::try_from(window.size()).unwrap_or(usize::MAX);
    let (deliveries, received) = mpsc::channel(room);
    let receipts = Arc::new(Receipts::default());
    let intake = Intake {
        deliveries,
        receipts: Arc::clone(&receipts),
        window,
        stop: stop.clone(),
        status: Arc::clone(&status),
    };
    let flights = Arc::new(Flights { unanswered: Mutex::default(), receipts });
    let taken = Arc::clone(&flights);
    let posts = ReceiverStream::new(received)
        .map(move |(number, delivery)| taken.take_in(number, delivery, spec.input));
    let job = StreamSpec {
        posts_in_flight_max: spec.in_flight_max,
        // It waits for the service as long as it takes; health tells.
        patience: Duration::MAX,
        ..StreamSpec::default()
    };
    let replies = client.score_all(posts, job);
    let mut reading = pin!(source.read(intake).fuse());
    let work = async {
        let read = async { reading.as_mut().await.map_err(BridgeError::from) };
        let moved = settle(replies, source, sink, &flights, spec.output, room, &status);
        tokio::try_join!(read, moved)
    };
    let ended = tokio::select! {
        ended = work => ended.map(drop),
        never = keep(source, &flights.receipts) => match never {},
        never = check(&client, source, sink, spec.from, &status) => match never {},
        () = async { stop.asked().await; sleep(spec.drain_timeout).await } => {
            let left = flights.receipts.all().len();
            Err(BridgeError::CutOff { left, after: spec.drain_timeout })
        }
    };
    let closed = async {
        // It ends soon, since nobody takes messages any more. Until then it would be handed what is
        // given back.
        if !reading.is_terminated() {
            let _ = reading.as_mut().await;
        }
        for receipt in flights.receipts.all() {
            source.give_back(&receipt).await;
        }
        source.close().await;
    };
    if timeout(ANSWER_MAX, closed).await.is_err() {
        tracing::warn!(
            "the source does not answer: messages that are done may be handed out again"
        );
    }
    ended
}

/// Writes the record of each reply, and acknowledges its message once that is stored. In order.
async fn settle<S: Source, K: Sink>(
    replies: impl Stream<Item = Result<Reply, ClientError>>,
    source: &S,
    sink: &K,
    flights: &Flights<S::Receipt>,
    format: Format,
    room: usize,
    status: &Status,
) -> Result<(), BridgeError> {
    let mut replies = pin!(replies.fuse());
    // Sent one after another, so that order holds; waited for together.
    let mut storing = FuturesOrdered::new();
    loop {
        tokio::select! {
            Some(done) = storing.next() => {
                let (flight, code): (Flight<S::Receipt>, Option<RejectionCode>) = done?;
                source.acknowledge(&flight.receipt).await;
                flights.receipts.remove(flight.number);
                report(&flight, code);
            }
            Some(reply) = replies.next(), if storing.len() < room => {
                let reply = reply?;
                let flight = flights.answered();
                let Flight { identity, payload, position, .. } = &flight;
                let mut record = record::record(&reply, format, identity, payload, position);
                let code = match &reply {
                    Reply::Event(_) => None,
                    Reply::Rejection(rejection) => Some(rejection.code()),
                };
                let mut attempt = Attempt::new(status);
                let sent = attempt.send(sink, &mut record).await?;
                let stored = stored(sink, sent, record, attempt);
                storing.push_back(async move { stored.await.map(|()| (flight, code)) });
            }
            else => return Ok(()),
        }
    }
}

/// Waits until a record is stored, and sends it again as often as it takes.
async fn stored<K: Sink>(
    sink: &K,
    mut sent: K::Stored,
    mut record: Record,
    mut attempt: Attempt<'_>,
) -> Result<(), BridgeError> {
    while let Err(error) = sent.await {
        attempt.failed(error, &mut record).await?;
        sent = attempt.send(sink, &mut record).await?;
    }
    Ok(())
}

/// A message is done.
fn report<R>(flight: &Flight<R>, code: Option<RejectionCode>) {
    match code {
        None => metrics::event_stored(flight.read_at.elapsed()),
        Some(code) => {
            let position = flight.position.as_str();
            tracing::info!(position, code = code.name(), "dead letter");
            metrics::dead_letter_stored(code);
        }
    }
}

/// One record on its way into the sink, however often it takes.
struct Attempt<'a> {
    status: &'a Status,
    backoff: Backoff,
    failing: bool,
}

impl<'a> Attempt<'a> {
    fn new(status: &'a Status) -> Self {
        Self { status, backoff: Backoff::new(), failing: false }
    }

    async fn send<K: Sink>(
        &mut self,
        sink: &K,
        record: &mut Record,
    ) -> Result<K::Stored, BridgeError> {
        loop {
            match sink.send(record).await {
                Ok(stored) => {
                    if std::mem::take(&mut self.failing) {
                        self.status.seen(Part::Sink, Ok(()));
                    }
                    return Ok(stored);
                }
                Err(error) => self.failed(error, record).await?,
            }
        }
    }

    /// Waits for the next attempt, with a smaller record if need be.
    async fn failed(&mut self, error: SinkError, record: &mut Record) -> Result<(), BridgeError> {
        metrics::publish_failed();
        match error {
            SinkError::Unavailable(reason) => {
                self.failing = true;
                self.status.seen(Part::Sink, Err(reason));
                self.backoff.wait().await;
                Ok(())
            }
            SinkError::TooLarge
                if record.kind == Kind::DeadLetter && !record.payload.is_empty() =>
            {
                *record = record.clone().without_payload();
                Ok(())
            }
            error => Err(error.into()),
        }
    }
}

/// Tells the source again and again what is still being worked on.
async fn keep<S: Source>(source: &S, receipts: &Receipts<S::Receipt>) -> Infallible {
    loop {
        let Some(pause) = source.progress_interval() else { return std::future::pending().await };
        sleep(pause).await;
        for receipt in receipts.all() {
            source.in_progress(&receipt).await;
        }
    }
}

/// Asks every part again and again whether it can be used.
async fn check<S: Source, K: Sink>(
    client: &Client,
    source: &S,
    sink: &K,
    from: Broker,
    status: &Status,
) -> Infallible {
    let silent = |_| Err(format!("no answer within {ANSWER_MAX:?}"));
    let mut ticks = interval(CHECK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (lag, model, stored) = tokio::join!(
            timeout(ANSWER_MAX, source.lag()),
            timeout(ANSWER_MAX, client.model()),
            timeout(ANSWER_MAX, sink.check()),
        );
        let lag = lag.unwrap_or_else(|late| silent(late).map(|()| 0));
        if let Ok(messages) = &lag {
            metrics::lag(from, *messages);
        }
        status.seen(Part::Source, lag.map(drop));
        let model = model.map(|model| model.map(drop).map_err(|error| error.to_string()));
        status.seen(Part::Service, model.unwrap_or_else(silent));
        status.seen(Part::Sink, stored.unwrap_or_else(silent));
    }
}

/// A message that the client has taken.
struct Flight<R> {
    number: u64,
    position: String,
    payload: Bytes,
    identity: Identity,
    receipt: Arc<R>,
    read_at: Instant,
    /// Free again when the message is acknowledged.
    _permit: Permit,
}

/// The messages in flight.
struct Flights<R> {
    /// Those that the client has taken and not answered, in the order in which replies come.
    unanswered: Mutex<VecDeque<Flight<R>>>,
    /// Those that are not acknowledged.
    receipts: Arc<Receipts<R>>,
}

impl<R> Flights<R> {
    fn unanswered(&self) -> MutexGuard<'_, VecDeque<Flight<R>>> {
        // std Mutex: held for one step, never across an await.
        self.unanswered.lock().expect("no panic under the lock")
    }

    /// Takes in a message: what is to be scored, or why it can't be.
    fn take_in(
        &self,
        number: u64,
        delivery: Delivery<R>,
        format: Format,
    ) -> Result<Post, Rejection> {
        let Delivery { position, payload, receipt, read_at, permit, .. } = delivery;
        let post = delivery::post(&payload, format, &position);
        let identity = post.as_ref().map(Identity::of).unwrap_or_default();
        let flight =
            Flight { number, position, payload, identity, receipt, read_at, _permit: permit };
        self.unanswered().push_back(flight);
        post
    }

    /// The message that the next reply is for.
    fn answered(&self) -> Flight<R> {
        let first = self.unanswered().pop_front();
        first.expect("the client gives one reply for each post, in order")
    }
}
