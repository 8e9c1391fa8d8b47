//! A durable pull consumer: the server remembers what was acknowledged, whoever reads.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use async_nats::jetstream::message::{AckKind, Acker};
use async_nats::jetstream::{Context, Message};
use futures::StreamExt;
use pounce_client::Backoff;
use pounce_nats::with_causes;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::connection::{connect, connected};
use crate::access::{Access, ConnectError};
use crate::address::{Address, AddressError};
use crate::delivery::Delivery;
use crate::source::{Intake, Source, SourceError};
use crate::status::Part;
use crate::window::Permit;

/// Time after which the server hands out a message again that was neither acknowledged nor said to
/// be in progress.
const ACK_WAIT: Duration = Duration::from_secs(30);
/// How often messages are said to be in progress within that time: twice may be lost.
const PROGRESS_PART: u32 = 3;
/// Until the consumer's own time is known: short beside any such time.
const PROGRESS_FIRST: Duration = Duration::from_millis(100);
/// Longest time that a request for messages waits for them.
const PULL_EXPIRES: Duration = Duration::from_secs(1);
/// The part of the window that a request for messages asks for.
const WINDOW_PART: u32 = 4;
/// Unacknowledged messages of all bridges with one consumer.
const ACK_PENDING_MAX: i64 = 100_000;

/// What is read.
#[derive(Debug, Clone)]
pub struct NatsSourceSpec {
    stream: String,
    subject: String,
    consumer: String,
    from_oldest: bool,
}

impl NatsSourceSpec {
    /// Reads `nats://HOST:4222/STREAM?subject=..&consumer=..&start=..`.
    /// # Errors
    /// [`AddressError`].
    pub fn parse(address: &Address) -> Result<Self, AddressError> {
        address.only(&["subject", "consumer", "start", "format"])?;
        let consumer = address.parameter("consumer").unwrap_or("pounce-bridge");
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if consumer.len() > 64 || !consumer.chars().all(allowed) {
            let expected = "1 to 64 letters, digits, - and _";
            return Err(AddressError::Value { name: "consumer", expected });
        }
        Ok(Self {
            stream: address.name.clone(),
            subject: address.parameter("subject").unwrap_or_default().to_owned(),
            consumer: consumer.to_owned(),
            from_oldest: address.from_oldest()?,
        })
    }

    fn config(&self) -> pull::Config {
        let (oldest, new) = (DeliverPolicy::All, DeliverPolicy::New);
        pull::Config {
            durable_name: Some(self.consumer.clone()),
            description: Some("posts that Pounce scores".to_owned()),
            deliver_policy: if self.from_oldest { oldest } else { new },
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            filter_subject: self.subject.clone(),
            max_ack_pending: ACK_PENDING_MAX,
            ..pull::Config::default()
        }
    }
}

/// A stream of NATS, read by a durable consumer.
pub struct NatsSource {
    context: Context,
    spec: NatsSourceSpec,
    /// None until it was found, and after it failed.
    consumer: Mutex<Option<Consumer<pull::Config>>>,
    /// Of the consumer, which may be another's making.
    ack_wait: OnceLock<Duration>,
}

impl NatsSource {
    /// Prepares a connection.
    /// # Errors
    /// [`ConnectError`]; an unreachable server is none.
    pub async fn connect(
        address: &Address,
        access: &Access,
        spec: NatsSourceSpec,
    ) -> Result<Self, ConnectError> {
        let context = connect(address, access).await?;
        Ok(Self { context, spec, consumer: Mutex::new(None), ack_wait: OnceLock::new() })
    }

    /// The consumer, made if it is not there.
    async fn consumer(&self) -> Result<Consumer<pull::Config>, String> {
        connected(&self.context)?;
        let mut known = self.consumer.lock().await;
        if let Some(consumer) = &*known {
            return Ok(consumer.clone());
        }
        let NatsSourceSpec { stream, consumer: name, subject, .. } = &self.spec;
        let opened = self.context.get_stream(stream).await;
        let opened = opened.map_err(|error| format!("stream {stream}: {}", with_causes(&error)))?;
        let consumer = opened.get_or_create_consumer(name, self.spec.config()).await;
        let consumer =
            consumer.map_err(|error| format!("consumer {name}: {}", with_causes(&error)))?;
        let config = &consumer.cached_info().config;
        if config.ack_policy != AckPolicy::Explicit || config.filter_subject != *subject {
            return Err(format!(
                "consumer {name} of stream {stream} exists with another subject or without explicit acknowledgements: name another one"
            ));
        }
        // The first one holds: a consumer that is made anew has ours.
        let _ = self.ack_wait.set(config.ack_wait);
        Ok(known.insert(consumer).clone())
    }

    /// One request for messages, as many as there are permits.
    async fn pull(
        &self,
        mut permits: Permit,
        count: usize,
        intake: &Intake<Acker>,
    ) -> Result<(), String> {
        let consumer = self.consumer().await?;
        let batch = consumer.batch().max_messages(count).expires(PULL_EXPIRES).messages().await;
        let mut batch = batch.map_err(|error| with_causes(&error))?;
        // To its end, also when nothing more is to be read: the server has handed them out.
        while let Some(permit) = permits.one()
            && let Some(message) = batch.next().await
        {
            let message = message.map_err(|error| error.to_string())?;
            intake.pass_on(delivery(message, permit)?).await;
        }
        Ok(())
    }
}

fn delivery(message: Message, permit: Permit) -> Result<Delivery<Acker>, String> {
    let info = message.info().map_err(|error| error.to_string())?;
    let position = format!("{}-{}", info.stream, info.stream_sequence);
    let redelivered = info.delivered > 1;
    let (message, acker) = message.split();
    Ok(Delivery {
        position,
        payload: message.payload,
        read_at: Instant::now(),
        redelivered,
        receipt: Arc::new(acker),
        permit,
    })
}

impl Source for NatsSource {
    type Receipt = Acker;

    async fn read(&self, intake: Intake<Acker>) -> Result<(), SourceError> {
        let part = (intake.window.size() / WINDOW_PART).max(1);
        let mut backoff = Backoff::new();
        while !intake.is_over() {
            let permits = tokio::select! {
                permits = intake.window.admit(part) => permits,
                () = intake.over() => break,
            };
            let count = usize::try_from(part).unwrap_or(1);
            match self.pull(permits, count, &intake).await {
                Ok(()) => backoff.reset(),
                Err(reason) => {
                    // Looked up anew: it may have been deleted.
                    *self.consumer.lock().await = None;
                    intake.status.seen(Part::Source, Err(reason));
                    tokio::select! {
                        () = backoff.wait() => {}
                        () = intake.over() => {}
                    }
                }
            }
        }
        Ok(())
    }

    async fn acknowledge(&self, receipt: &Acker) {
        tell(receipt, AckKind::Ack).await;
    }

    fn progress_interval(&self) -> Option<Duration> {
        Some(self.ack_wait.get().map_or(PROGRESS_FIRST, |wait| *wait / PROGRESS_PART))
    }

    async fn in_progress(&self, receipt: &Acker) {
        // While there is no connection it would wait in a queue, again and again.
        if connected(&self.context).is_ok() {
            tell(receipt, AckKind::Progress).await;
        }
    }

    async fn give_back(&self, receipt: &Acker) {
        tell(receipt, AckKind::Nak(None)).await;
    }

    async fn close(&self) {
        if let Err(error) = self.context.client().flush().await {
            tracing::warn!(error = with_causes(&error), "the last acknowledgements may be lost");
        }
    }

    async fn lag(&self) -> Result<u64, String> {
        let info = self.consumer().await?.get_info().await.map_err(|error| with_causes(&error))?;
        let unacknowledged = u64::try_from(info.num_ack_pending).unwrap_or(u64::MAX);
        Ok(info.num_pending.saturating_add(unacknowledged))
    }
}

/// What is lost is handed out again.
async fn tell(receipt: &Acker, kind: AckKind) {
    if let Err(error) = receipt.ack_with(kind).await {
        tracing::debug!(%error, "an acknowledgement was not sent");
    }
}
