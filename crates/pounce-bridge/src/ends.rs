//! The two ends of a bridge: opened by the kind of their addresses, then run.

#![cfg_attr(
    not(any(feature = "nats", feature = "kafka")),
    allow(unused, reason = "a program without brokers has nothing to run")
)]

use std::sync::Arc;

use pounce_client::Client;

use crate::access::{Access, ConnectError};
use crate::address::{Address, AddressError, Broker};
use crate::bridge::{self, BridgeError, BridgeSpec};
#[cfg(feature = "kafka")]
use crate::kafka::{
    sink::KafkaSink, sink::KafkaSinkSpec, source::KafkaSource, source::KafkaSourceSpec,
};
#[cfg(feature = "nats")]
use crate::nats::{sink::NatsSink, sink::NatsSinkSpec, source::NatsSource, source::NatsSourceSpec};
use crate::source::Source;
use crate::status::Status;
use crate::stop::Stop;

/// A broker, and what to show it.
#[derive(Debug, Clone)]
pub struct End {
    /// Where it is.
    pub address: Address,
    /// Credentials and certificates.
    pub access: Access,
}

/// How many messages may be in flight, and how long they may take at the end.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Messages read and not yet acknowledged.
    pub in_flight_max: u32,
    /// Longest time for those in flight to be done once the bridge was asked to stop.
    pub drain_timeout: std::time::Duration,
}

/// Why a bridge can't be run, or ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An address is of no use.
    #[error("{flag}: {source}")]
    Address {
        /// The flag that gave it.
        flag: &'static str,
        /// What is wrong with the address.
        source: AddressError,
    },
    /// A connection can't even be tried.
    #[error("{flag}: {source}")]
    Connect {
        /// The flag that gave it.
        flag: &'static str,
        /// What the client said.
        source: ConnectError,
    },
    /// The program was built without this kind of broker.
    #[error("{flag}: this program was built without the feature {feature}")]
    NotBuilt {
        /// The flag that gave it.
        flag: &'static str,
        /// What to build it with.
        feature: &'static str,
    },
    /// The bridge ended.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
}

impl RunError {
    /// Whether the settings are at fault, so that trying again is of no use.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        !matches!(self, Self::Bridge(_))
    }
}

const FROM: &str = "--from";
const TO: &str = "--to";

/// Moves posts from one end to the other, as [`bridge::run`] does.
/// # Errors
/// [`RunError`].
pub async fn run(
    client: Client,
    from: &End,
    to: &End,
    bounds: Bounds,
    status: Arc<Status>,
    stop: Stop,
) -> Result<(), RunError> {
    let spec = BridgeSpec {
        from: from.address.broker,
        input: addressed(FROM, from.address.format())?,
        output: addressed(TO, to.address.format())?,
        in_flight_max: bounds.in_flight_max,
        drain_timeout: bounds.drain_timeout,
    };
    let onward = Onward { client, to, spec, status, stop };
    match from.address.broker {
        #[cfg(feature = "nats")]
        Broker::Nats => {
            let spec = addressed(FROM, NatsSourceSpec::parse(&from.address))?;
            let source = NatsSource::connect(&from.address, &from.access, spec).await;
            Box::pin(onward.run(&connected(FROM, source)?)).await
        }
        #[cfg(feature = "kafka")]
        Broker::Kafka => {
            let spec = addressed(FROM, KafkaSourceSpec::parse(&from.address))?;
            let source = KafkaSource::connect(&from.address, &from.access, spec);
            let source = connected(FROM, source)?;
            let done = Box::pin(onward.run(&source)).await;
            // Its end waits for the brokers: on a thread that may wait.
            let _ = tokio::task::spawn_blocking(move || drop(source)).await;
            done
        }
        #[cfg(not(all(feature = "nats", feature = "kafka")))]
        broker => Err(not_built(FROM, broker)),
    }
}

/// What follows once the source is open.
struct Onward<'a> {
    client: Client,
    to: &'a End,
    spec: BridgeSpec,
    status: Arc<Status>,
    stop: Stop,
}

impl Onward<'_> {
    async fn run<S: Source>(self, source: &S) -> Result<(), RunError> {
        let Self { client, to, spec, status, stop } = self;
        match to.address.broker {
            #[cfg(feature = "nats")]
            Broker::Nats => {
                let sink = addressed(TO, NatsSinkSpec::parse(&to.address))?;
                let sink = NatsSink::connect(&to.address, &to.access, sink).await;
                let sink = connected(TO, sink)?;
                Ok(Box::pin(bridge::run(client, source, &sink, spec, status, stop)).await?)
            }
            #[cfg(feature = "kafka")]
            Broker::Kafka => {
                let sink = addressed(TO, KafkaSinkSpec::parse(&to.address))?;
                let sink = connected(TO, KafkaSink::connect(&to.address, &to.access, sink))?;
                Ok(Box::pin(bridge::run(client, source, &sink, spec, status, stop)).await?)
            }
            #[cfg(not(all(feature = "nats", feature = "kafka")))]
            broker => Err(not_built(TO, broker)),
        }
    }
}

fn addressed<T>(flag: &'static str, parsed: Result<T, AddressError>) -> Result<T, RunError> {
    parsed.map_err(|source| RunError::Address { flag, source })
}

fn connected<T>(flag: &'static str, opened: Result<T, ConnectError>) -> Result<T, RunError> {
    opened.map_err(|source| RunError::Connect { flag, source })
}

#[cfg(not(all(feature = "nats", feature = "kafka")))]
fn not_built(flag: &'static str, broker: Broker) -> RunError {
    let feature = match broker {
        Broker::Nats => "bridge-nats",
        Broker::Kafka => "bridge-kafka",
    };
    RunError::NotBuilt { flag, feature }
}
