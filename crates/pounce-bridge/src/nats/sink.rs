//! Events published into a stream. NATS drops a repetition of a message id within the stream's
//! window of duplicates (2 minutes unless the stream says otherwise).

use std::error::Error;
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use async_nats::header::{HeaderMap, NATS_MESSAGE_ID};
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{self, Context, ErrorCode};
use async_nats::subject::Subject;
use pounce_nats::with_causes;

use super::connection::{connect, connected};
use crate::access::{Access, ConnectError};
use crate::address::{Address, AddressError};
use crate::record::{Kind, Record};
use crate::sink::{Sink, SinkError};

/// Bytes that the server adds to a message or counts otherwise than we do.
const BYTES_SPARE: usize = 256;

/// Where events go.
#[derive(Debug, Clone)]
pub struct NatsSinkSpec {
    stream: String,
    events: String,
    dead_letters: String,
}

impl NatsSinkSpec {
    /// Reads `nats://HOST:4222/STREAM?subject=..&dead=..`.
    /// # Errors
    /// [`AddressError`].
    pub fn parse(address: &Address) -> Result<Self, AddressError> {
        address.only(&["subject", "dead", "format"])?;
        let subject = |name: &'static str, default: String| {
            let subject = address.parameter(name).map_or(default, str::to_owned);
            let bad = |c: char| c.is_whitespace() || c.is_control() || c == '*' || c == '>';
            let expected = "one subject, without wildcards";
            let ok = !subject.contains(bad) && subject.split('.').all(|part| !part.is_empty());
            if ok { Ok(subject) } else { Err(AddressError::Value { name, expected }) }
        };
        let events = subject("subject", address.name.to_lowercase())?;
        let dead_letters = subject("dead", format!("{events}.dead"))?;
        Ok(Self { stream: address.name.clone(), events, dead_letters })
    }
}

/// A stream of NATS that takes events.
pub struct NatsSink {
    context: Context,
    spec: NatsSinkSpec,
}

impl NatsSink {
    /// Prepares a connection.
    /// # Errors
    /// [`ConnectError`]; an unreachable server is none.
    pub async fn connect(
        address: &Address,
        access: &Access,
        spec: NatsSinkSpec,
    ) -> Result<Self, ConnectError> {
        Ok(Self { context: connect(address, access).await?, spec })
    }

    fn subject(&self, kind: Kind) -> &str {
        match kind {
            Kind::Event => &self.spec.events,
            Kind::DeadLetter => &self.spec.dead_letters,
        }
    }
}

impl Sink for NatsSink {
    type Stored = Pin<Box<dyn Future<Output = Result<(), SinkError>> + Send>>;

    async fn send(&self, record: &Record) -> Result<Self::Stored, SinkError> {
        connected(&self.context).map_err(SinkError::Unavailable)?;
        let max = self.context.client().server_info().max_payload;
        if record.bytes() + record.message_id.len() + BYTES_SPARE > max {
            return Err(SinkError::TooLarge);
        }
        let mut headers = HeaderMap::new();
        let named = record.headers.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in named {
            // Records have none that a header can't hold.
            if let Ok(value) = value.parse::<async_nats::HeaderValue>() {
                headers.insert(name, value);
            }
        }
        if let Ok(id) = record.message_id.parse::<async_nats::HeaderValue>() {
            headers.insert(NATS_MESSAGE_ID, id);
        }
        let subject = Subject::from(self.subject(record.kind));
        let published =
            self.context.publish_with_headers(subject, headers, record.payload.clone()).await;
        let acknowledged = published.map_err(|error| fault(&error))?.into_future();
        let stream = self.spec.stream.clone();
        Ok(Box::pin(async move {
            let stored = acknowledged.await.map_err(|error| fault(&error))?;
            // Another stream took the subject: whoever reads this one would miss the event.
            if stored.stream == stream {
                Ok(())
            } else {
                let other = stored.stream;
                Err(SinkError::Unavailable(format!("the subject belongs to stream {other}")))
            }
        }))
    }

    async fn check(&self) -> Result<(), String> {
        connected(&self.context)?;
        let NatsSinkSpec { stream, events, dead_letters } = &self.spec;
        for subject in [events, dead_letters] {
            let owner = self.context.stream_by_subject(subject.clone()).await;
            let owner =
                owner.map_err(|error| format!("subject {subject}: {}", with_causes(&error)))?;
            if owner != *stream {
                return Err(format!("subject {subject} belongs to stream {owner}, not {stream}"));
            }
        }
        Ok(())
    }
}

fn fault(error: &PublishError) -> SinkError {
    let answer = error.source().and_then(|cause| cause.downcast_ref::<jetstream::Error>());
    let code = answer.map(jetstream::Error::error_code);
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => SinkError::TooLarge,
        // The stream has a limit of its own, lower than the server's.
        _ if code == Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM) => SinkError::TooLarge,
        PublishErrorKind::StreamNotFound => {
            SinkError::Unavailable("no stream takes the subject".to_owned())
        }
        _ => SinkError::Unavailable(with_causes(error)),
    }
}
