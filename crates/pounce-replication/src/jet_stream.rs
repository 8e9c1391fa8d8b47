//! The log as a stream of NATS JetStream. The only file that names NATS besides the store of
//! snapshots.

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::context::{GetStreamErrorKind, PublishErrorKind};
use async_nats::jetstream::{Context, ErrorCode, Message, stream};
use async_nats::{Client, ServerAddr, Subject, client};
use bytes::Bytes;
use futures::{Stream, StreamExt, future};

use pounce_nats::{Access, ConnectError, with_causes};

use crate::log::{Entry, Extent, LogError, ObservationLog};
use pounce_types::post::Timestamp;

/// Age of the oldest entry.
const LOG_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How to reach the log.
#[derive(Debug, Clone)]
pub struct JetStreamSpec {
    /// Such as `nats://HOST:4222`, or `tls://HOST:4222`; several of one cluster.
    pub servers: Vec<ServerAddr>,
    /// Replicas with one name share one log. See [`is_fleet_name`].
    pub fleet: String,
    /// What to show the servers; none: nothing.
    pub credentials: Option<Credentials>,
    /// CA bundle (PEM) used to verify the server's certificate; the system's if none.
    pub ca: Option<PathBuf>,
    /// Servers that hold a copy of the log, when this process makes it: 1, 3 or 5.
    pub copies: usize,
    /// Bytes of the log, when this process makes it; past it the oldest entries go. Snapshots may
    /// take half as much. NATS sets both aside.
    pub bytes_max: u64,
}

/// Who a process is to NATS.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// File of a user's JWT and key, as `nsc` writes it.
    Creds(PathBuf),
    /// A user with a password.
    Password {
        /// Name of the user.
        user: String,
        /// File that holds the password and nothing else.
        password_file: PathBuf,
    },
}

/// Checks the name of a fleet: it becomes part of names in NATS.
#[must_use]
pub fn is_fleet_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=32).contains(&name.len()) && name.chars().all(allowed)
}

/// A stream in NATS. Cheap to clone.
#[derive(Clone)]
pub struct JetStreamLog {
    context: Context,
    stream: String,
    subject: Subject,
    copies: usize,
    bytes_max: i64,
}

impl JetStreamLog {
    /// Prepares a connection, which is made, and made anew when lost, in the background.
    /// # Errors
    /// [`ConnectError`]; an unreachable server is none.
    pub async fn connect(spec: &JetStreamSpec) -> Result<Self, ConnectError> {
        let (credentials, user) = match spec.credentials.clone() {
            None => (None, None),
            Some(Credentials::Creds(file)) => (Some(file), None),
            Some(Credentials::Password { user, password_file }) => {
                (None, Some((user, password_file)))
            }
        };
        let (ca, tls) = (spec.ca.clone(), spec.ca.is_some());
        let access = Access { credentials, user, ca, identity: None, tls };
        let context = pounce_nats::connect("pounce", &spec.servers, &access).await?;
        Ok(Self {
            context,
            stream: format!("pounce-{}", spec.fleet),
            // One partition: topics could be spread over more, each with an order of its own.
            subject: format!("pounce.{}.observations.0", spec.fleet).into(),
            copies: spec.copies,
            bytes_max: i64::try_from(spec.bytes_max).unwrap_or(i64::MAX),
        })
    }

    /// The stream, made if it is not there.
    async fn stream(&self) -> Result<stream::Stream, LogError> {
        self.connected()?;
        match self.context.get_stream(&self.stream).await {
            Ok(stream) => return Ok(stream),
            Err(error) if is_missing(error.kind()) => {}
            Err(error) => return Err(LogError::Unreachable(with_causes(&error))),
        }
        let made = self.context.get_or_create_stream(stream::Config {
            name: self.stream.clone(),
            description: Some("observations of Pounce, in the order in which they count".into()),
            subjects: vec![self.subject.to_string()],
            max_bytes: self.bytes_max,
            max_age: LOG_AGE_MAX,
            discard: stream::DiscardPolicy::Old,
            storage: stream::StorageType::File,
            num_replicas: self.copies,
            ..stream::Config::default()
        });
        made.await.map_err(|error| LogError::Refused(with_causes(&error)))
    }

    /// What is sent while there is no connection would wait in a queue.
    pub(crate) fn connected(&self) -> Result<(), LogError> {
        match self.client().connection_state() {
            State::Connected => Ok(()),
            state => Err(LogError::Unreachable(state.to_string())),
        }
    }

    fn client(&self) -> Client {
        self.context.client()
    }

    /// Drops the entries up to `position`.
    pub(crate) async fn purge_through(&self, position: u64) -> Result<(), LogError> {
        let purged = self.stream().await?.purge().sequence(position + 1).await;
        purged.map(drop).map_err(|error| LogError::Unreachable(with_causes(&error)))
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    pub(crate) fn stream_name(&self) -> &str {
        &self.stream
    }

    /// Of all snapshots that are kept.
    pub(crate) fn snapshot_bytes_max(&self) -> i64 {
        self.bytes_max / 2
    }

    pub(crate) fn copies(&self) -> usize {
        self.copies
    }
}

impl ObservationLog for JetStreamLog {
    type Entries = Pin<Box<dyn Stream<Item = Result<Entry, LogError>> + Send>>;

    async fn send(&self, bytes: Bytes) -> Result<(), LogError> {
        self.connected()?;
        let size = bytes.len();
        // The stream takes in whatever is published on its subject, and answers who wants it.
        let sent = self.client().publish(self.subject.clone(), bytes).await;
        sent.map_err(|error| match error.kind() {
            client::PublishErrorKind::MaxPayloadExceeded => LogError::TooLarge { bytes: size },
            _ => LogError::Unreachable(with_causes(&error)),
        })
    }

    async fn append(&self, bytes: Bytes) -> Result<u64, LogError> {
        self.connected()?;
        let size = bytes.len();
        let published = async { self.context.publish(self.subject.clone(), bytes).await?.await };
        match published.await {
            Ok(stored) => Ok(stored.sequence),
            Err(error) => match error.kind() {
                PublishErrorKind::StreamNotFound => {
                    self.stream().await?;
                    Err(LogError::Unreachable("the stream had to be made".to_owned()))
                }
                PublishErrorKind::MaxPayloadExceeded => Err(LogError::TooLarge { bytes: size }),
                PublishErrorKind::Other => Err(LogError::Refused(with_causes(&error))),
                _ => Err(LogError::Unreachable(with_causes(&error))),
            },
        }
    }

    async fn read_after(&self, position: u64) -> Result<Self::Entries, LogError> {
        let stream = self.stream().await?;
        let consumer = stream.create_consumer(OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: position + 1 },
            ..OrderedConfig::default()
        });
        let unreachable = |error: &dyn std::error::Error| LogError::Unreachable(with_causes(error));
        let consumer = consumer.await.map_err(|error| unreachable(&error))?;
        let messages = consumer.messages().await.map_err(|error| unreachable(&error))?;
        // A server numbers what it sends to a consumer. The library makes one anew behind a server that
        // was restarted, and can't tell whether that has the same entries.
        let mut begun = false;
        let same_consumer = move |message: &Result<Message, _>| {
            let info = message.as_ref().ok().and_then(|message| message.info().ok());
            let first = info.is_some_and(|info| info.consumer_sequence == 1);
            let again = begun && first;
            begun = true;
            future::ready(!again)
        };
        Ok(Box::pin(messages.take_while(same_consumer).map(|message| {
            let message = message.map_err(|error| LogError::Unreachable(with_causes(&error)))?;
            let info = message.info();
            let info = info.map_err(|error| LogError::Refused(error.to_string()))?;
            let at = Timestamp::from_millis(millis(info.published.unix_timestamp_nanos()));
            let (position, behind) = (info.stream_sequence, info.pending);
            Ok(Entry { position, at, bytes: message.message.payload, behind })
        })))
    }

    async fn extent(&self) -> Result<Extent, LogError> {
        let stream = self.stream().await?;
        let info = stream.cached_info();
        Ok(Extent {
            created: millis(info.created.unix_timestamp_nanos()),
            first: info.state.first_sequence,
            last: info.state.last_sequence,
        })
    }
}

fn millis(nanos: i128) -> u64 {
    u64::try_from(nanos / 1_000_000).unwrap_or_default()
}

fn is_missing(kind: GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}
