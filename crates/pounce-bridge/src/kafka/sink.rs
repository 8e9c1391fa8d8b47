//! Events produced by an idempotent producer: retries neither repeat nor reorder them, and the key
//! keeps the posts of one topic in one partition.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};

use super::settings::{client, made, sasl};
use crate::access::{Access, ConnectError};
use crate::address::{Address, AddressError};
use crate::record::{Kind, Record};
use crate::sink::{Sink, SinkError};

/// Longest time that the broker may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Where events go.
#[derive(Debug, Clone)]
pub struct KafkaSinkSpec {
    events: String,
    dead_letters: String,
    sasl: &'static str,
}

impl KafkaSinkSpec {
    /// Reads `kafka://HOST:9092/TOPIC?dead=..&sasl=..`.
    /// # Errors
    /// [`AddressError`].
    pub fn parse(address: &Address) -> Result<Self, AddressError> {
        address.only(&["dead", "sasl", "format"])?;
        let events = address.name.clone();
        let dead_letters = address.parameter("dead").map(str::to_owned);
        let dead_letters = dead_letters.unwrap_or_else(|| format!("{events}.dead"));
        Ok(Self { events, dead_letters, sasl: sasl(address)? })
    }
}

/// A topic of Kafka that takes events.
pub struct KafkaSink {
    producer: FutureProducer,
    spec: KafkaSinkSpec,
}

impl KafkaSink {
    /// Prepares a producer.
    /// # Errors
    /// [`ConnectError`]; an unreachable broker is none.
    pub fn connect(
        address: &Address,
        access: &Access,
        spec: KafkaSinkSpec,
    ) -> Result<Self, ConnectError> {
        let mut config = client(address, access, spec.sasl)?;
        config
            .set("enable.idempotence", "true")
            // It tries for as long as it takes; health tells.
            .set("message.timeout.ms", "0");
        Ok(Self { producer: made(config.create())?, spec })
    }
}

impl Sink for KafkaSink {
    type Stored = Pin<Box<dyn Future<Output = Result<(), SinkError>> + Send>>;

    async fn send(&self, record: &Record) -> Result<Self::Stored, SinkError> {
        let topic = match record.kind {
            Kind::Event => &self.spec.events,
            Kind::DeadLetter => &self.spec.dead_letters,
        };
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (key, value) in &record.headers {
            headers = headers.insert(Header { key, value: Some(value) });
        }
        let mut message = FutureRecord::to(topic).payload(&record.payload[..]).headers(headers);
        message.key = record.key.as_deref();
        let sent = self.producer.send_result(message).map_err(|(error, _)| fault(&error))?;
        Ok(Box::pin(async move {
            match sent.await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err((error, _))) => Err(fault(&error)),
                Err(_) => Err(SinkError::Fatal("the producer has ended".to_owned())),
            }
        }))
    }

    async fn check(&self) -> Result<(), String> {
        let (producer, spec) = (self.producer.clone(), self.spec.clone());
        let asked = move || {
            topic_exists(producer.client(), &spec.events, ANSWER_MAX)?;
            topic_exists(producer.client(), &spec.dead_letters, ANSWER_MAX)
        };
        tokio::task::spawn_blocking(asked).await.map_err(|error| error.to_string())?
    }
}

/// Asks the broker for a topic. Blocks.
pub(super) fn topic_exists<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    within: Duration,
) -> Result<(), String> {
    let metadata = client.fetch_metadata(Some(topic), within).map_err(|error| error.to_string())?;
    let fault = metadata.topics().first().and_then(|topic| topic.error());
    match fault {
        None => Ok(()),
        Some(error) => {
            let error = RDKafkaErrorCode::from(error);
            Err(format!("topic {topic}: {error}"))
        }
    }
}

fn fault(error: &KafkaError) -> SinkError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => SinkError::TooLarge,
        Some(RDKafkaErrorCode::Fatal) => SinkError::Fatal(error.to_string()),
        _ => SinkError::Unavailable(error.to_string()),
    }
}
