//! A member of a consumer group: the group remembers up to where each partition is done.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use pounce_client::Backoff;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{CommitMode, Consumer, ConsumerContext, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::statistics::{Partition, Statistics};
use tokio::time::Instant;

use super::settings::{client, made, sasl};
use crate::access::{Access, ConnectError};
use crate::address::{Address, AddressError};
use crate::delivery::Delivery;
use crate::source::{Intake, Source, SourceError};
use crate::status::Part;
use crate::window::Permit;

/// Seconds after which a bridge that vanished loses its partitions to the others.
const SESSION_SECONDS: u32 = 45;
/// Longest time that the broker may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(4);

/// What is read.
#[derive(Debug, Clone)]
pub struct KafkaSourceSpec {
    topic: String,
    group: String,
    from_oldest: bool,
    session_seconds: u32,
    sasl: &'static str,
}

impl KafkaSourceSpec {
    /// Reads `kafka://HOST:9092/TOPIC?group=..&start=..&session=..&sasl=..`.
    /// # Errors
    /// [`AddressError`].
    pub fn parse(address: &Address) -> Result<Self, AddressError> {
        address.only(&["group", "start", "session", "sasl", "format"])?;
        let session = address.number("session", 6..=300, "6 to 300 seconds")?;
        Ok(Self {
            topic: address.name.clone(),
            group: address.parameter("group").unwrap_or("pounce-bridge").to_owned(),
            from_oldest: address.from_oldest()?,
            session_seconds: session.unwrap_or(SESSION_SECONDS),
            sasl: sasl(address)?,
        })
    }
}

/// Where a message lies.
#[derive(Debug, PartialEq, Eq)]
pub struct KafkaReceipt {
    partition: i32,
    offset: i64,
}

/// Keeps what librdkafka tells of its state.
#[derive(Default)]
struct Told(Mutex<u64>);

impl ClientContext for Told {
    fn stats(&self, statistics: Statistics) {
        let partitions = statistics.topics.values().flat_map(|topic| topic.partitions.values());
        let lag = partitions.filter(|partition| partition.fetch_state == "active").map(lag).sum();
        *self.0.lock().expect("no panic under the lock") = lag;
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "Kafka");
    }
}

impl ConsumerContext for Told {}

/// Messages of a partition after those that are done: after the offset that was stored here, or
/// else committed before, or else all.
fn lag(partition: &Partition) -> u64 {
    let done = [partition.stored_offset, partition.committed_offset, partition.lo_offset];
    let done = done.into_iter().find(|offset| *offset >= 0).unwrap_or(0);
    u64::try_from(partition.hi_offset.saturating_sub(done)).unwrap_or(0)
}

/// A topic of Kafka, read by a member of a group.
pub struct KafkaSource {
    consumer: Arc<StreamConsumer<Told>>,
    topic: String,
}

impl KafkaSource {
    /// Prepares a member; it joins its group when it reads.
    /// # Errors
    /// [`ConnectError`]; an unreachable broker is none.
    pub fn connect(
        address: &Address,
        access: &Access,
        spec: KafkaSourceSpec,
    ) -> Result<Self, ConnectError> {
        let mut config = client(address, access, spec.sasl)?;
        config
            .set("group.id", &spec.group)
            .set("session.timeout.ms", (spec.session_seconds * 1000).to_string())
            .set("auto.offset.reset", if spec.from_oldest { "earliest" } else { "latest" })
            // Offsets are stored by `acknowledge` alone, and what is stored is committed every
            // second, when a partition is taken away, and at the end.
            .set("enable.auto.offset.store", "false")
            .set("enable.auto.commit", "true")
            .set("auto.commit.interval.ms", "1000")
            .set("allow.auto.create.topics", "false")
            // While the service is away nothing is read. That is no reason to leave the group: any
            // other member would wait for it too. A process that is gone is noticed by its session.
            .set("max.poll.interval.ms", "86400000")
            // KiB that are read ahead of the window.
            .set("queued.max.messages.kbytes", "16384")
            .set("statistics.interval.ms", "2000");
        let consumer = made(config.create_with_context(Told::default()))?;
        Ok(Self { consumer: Arc::new(consumer), topic: spec.topic })
    }

    fn delivery(&self, message: &BorrowedMessage<'_>, permit: Permit) -> Delivery<KafkaReceipt> {
        let (partition, offset) = (message.partition(), message.offset());
        Delivery {
            position: format!("{}-{partition}-{offset}", self.topic),
            payload: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
            read_at: Instant::now(),
            // Kafka does not tell.
            redelivered: false,
            receipt: Arc::new(KafkaReceipt { partition, offset }),
            permit,
        }
    }
}

impl Source for KafkaSource {
    type Receipt = KafkaReceipt;

    async fn read(&self, intake: Intake<KafkaReceipt>) -> Result<(), SourceError> {
        let fatal = |error: &KafkaError| SourceError(error.to_string());
        self.consumer.subscribe(&[&self.topic]).map_err(|error| fatal(&error))?;
        let mut backoff = Backoff::new();
        while !intake.is_over() {
            let permit = tokio::select! {
                permit = intake.window.admit(1) => permit,
                () = intake.over() => break,
            };
            let received = tokio::select! {
                received = self.consumer.recv() => received,
                () = intake.over() => break,
            };
            match received {
                Ok(message) => {
                    backoff.reset();
                    intake.pass_on(self.delivery(&message, permit)).await;
                }
                Err(error @ KafkaError::MessageConsumptionFatal(_)) => return Err(fatal(&error)),
                Err(error) => {
                    intake.status.seen(Part::Source, Err(error.to_string()));
                    tokio::select! {
                        () = backoff.wait() => {}
                        () = intake.over() => {}
                    }
                }
            }
        }
        Ok(())
    }

    async fn acknowledge(&self, receipt: &KafkaReceipt) {
        let KafkaReceipt { partition, offset } = *receipt;
        // Another member has the partition since: it reads the message again.
        if let Err(error) = self.consumer.store_offset(&self.topic, partition, offset) {
            tracing::debug!(%error, partition, offset, "an offset was not stored");
        }
    }

    fn progress_interval(&self) -> Option<Duration> {
        None
    }

    async fn in_progress(&self, _: &KafkaReceipt) {}

    async fn give_back(&self, _: &KafkaReceipt) {
        // What was not committed is read again by whoever gets the partition.
    }

    async fn close(&self) {
        let mut backoff = Backoff::new();
        loop {
            let consumer = Arc::clone(&self.consumer);
            let commit = move || consumer.commit_consumer_state(CommitMode::Sync);
            match tokio::task::spawn_blocking(commit).await {
                Ok(Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) | Ok(())) => break,
                Ok(Err(error)) => tracing::warn!(%error, "offsets are not committed yet"),
                Err(_) => break,
            }
            backoff.wait().await;
        }
        self.consumer.unsubscribe();
    }

    async fn lag(&self) -> Result<u64, String> {
        let (consumer, topic) = (Arc::clone(&self.consumer), self.topic.clone());
        let asked = move || super::sink::topic_exists(consumer.client(), &topic, ANSWER_MAX);
        let exists = tokio::task::spawn_blocking(asked).await;
        exists.map_err(|error| error.to_string())??;
        Ok(*self.consumer.context().0.lock().expect("no panic under the lock"))
    }
}
