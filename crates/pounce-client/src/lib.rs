//! A client of the service that loses nothing: what `pounce score` uses, and
//! other Rust services may.
//!
//! ```no_run
//! use futures::StreamExt;
//! use pounce_client::{Client, StreamSpec};
//! use pounce_proto::Post;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("http://127.0.0.1:50051")?;
//! let post = Post {
//!     id: "1".into(),
//!     text: "been on hold for 47 minutes".into(),
//!     ..Post::default()
//! };
//! let mut replies = client.score_all(futures::stream::iter([Ok(post)]), StreamSpec::default());
//! while let Some(reply) = replies.next().await {
//!     println!("{:?}", reply?);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Knows the messages; nothing of how the service answers them.

mod access;
mod backoff;
mod balance;
mod connection;
mod discovery;
mod error;
pub mod json;
mod resume;
mod watch;
mod watch_cases;

use std::net::SocketAddr;

use futures::Stream;
use tonic::transport::Channel;

pub use self::access::{Access, Credential};
pub use self::backoff::Backoff;
pub use self::connection::{Connection, Line, line};
pub use self::error::ClientError;
pub use self::resume::{Reply, StreamSpec};
pub use self::watch::{WatchSpec, Watched};
pub use self::watch_cases::WatchedCase;
use pounce_proto::alert_service_client::AlertServiceClient;
use pounce_proto::care_service_client::CareServiceClient;
use pounce_proto::scoring_service_client::ScoringServiceClient;
use pounce_proto::{
    Alert, AlertFilter, Case, CaseFilter, GetModelRequest, GetModelResponse, ListCasesRequest,
    Post, Rejection,
};

/// Bytes of a message from the service: a batch of events is the largest.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A connection to the service that is made when needed and made anew when
/// lost. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    service: ScoringServiceClient<Line>,
    alerts: AlertServiceClient<Line>,
    care: CareServiceClient<Line>,
}

impl Client {
    /// Prepares a connection to `addr`, such as `http://127.0.0.1:50051`, with
    /// nothing to show; connects with the first call.
    /// # Errors
    /// [`ClientError::Address`].
    pub fn connect(addr: &str) -> Result<Self, ClientError> {
        Self::connect_with(addr, &Access::default())
    }

    /// As [`Client::connect`], with certificates and a token.
    /// # Errors
    /// [`ClientError::Address`] or [`ClientError::Access`].
    pub fn connect_with(addr: &str, access: &Access) -> Result<Self, ClientError> {
        Ok(Self::on(line(addr, access)?))
    }

    /// As [`Client::connect_with`], to several servers of one fleet: each call or
    /// new stream goes to the one with the fewest of this client, so that a job outlives
    /// whichever of them drains or is lost. One that can't be reached gets none until it
    /// can. Of `dns:///name:50051` (plaintext) and `dns+https:///name:50051` (TLS) these
    /// are all servers that the name resolves to, looked up every ten seconds.
    /// Call it in a Tokio runtime.
    /// # Errors
    /// [`ClientError::Address`] or [`ClientError::Access`].
    pub fn balanced<S: AsRef<str>>(addrs: &[S], access: &Access) -> Result<Self, ClientError> {
        Ok(Self::on(connection::balanced(addrs, access)?))
    }

    /// As [`Client::balanced`], to the servers that `servers` tells: each item is all that there
    /// are now. An empty one changes nothing. `name`, such as `http://pounce:50051`, is what they
    /// are asked for, and the name in their certificates; until the first item, calls go there.
    /// # Errors
    /// [`ClientError::Address`] or [`ClientError::Access`].
    pub fn following<S>(name: &str, servers: S, access: &Access) -> Result<Self, ClientError>
    where
        S: Stream<Item = Vec<SocketAddr>> + Send + 'static,
    {
        let target = discovery::Target::told(name, servers, access)?;
        Ok(Self::on(connection::to(vec![target], access)?))
    }

    /// Speaks over a channel that was made in another way.
    #[must_use]
    pub fn over(channel: Channel) -> Self {
        Self::on(connection::bare(channel))
    }

    fn on(line: Line) -> Self {
        let service = ScoringServiceClient::new(line.clone());
        let alerts = AlertServiceClient::new(line.clone());
        let care = CareServiceClient::new(line);
        Self {
            service: service.max_decoding_message_size(MESSAGE_BYTES_MAX),
            alerts: alerts.max_decoding_message_size(MESSAGE_BYTES_MAX),
            care: care.max_decoding_message_size(MESSAGE_BYTES_MAX),
        }
    }

    /// The service that tells of alerts and topics, call by call.
    #[must_use]
    pub fn alerts(&self) -> AlertServiceClient<Line> {
        self.alerts.clone()
    }

    /// Every alert that fires or resolved in the last day and that `filter` selects, read by pages.
    /// # Errors
    /// [`ClientError::Unreachable`] or [`ClientError::Refused`].
    pub async fn list_alerts(&self, filter: &AlertFilter) -> Result<Vec<Alert>, ClientError> {
        watch::list(&mut self.alerts(), filter).await.map_err(ClientError::of)
    }

    /// The service that keeps cases, call by call: claim, release and close them with it.
    #[must_use]
    pub fn care(&self) -> CareServiceClient<Line> {
        self.care.clone()
    }

    /// Every case that `request` selects, in its order, read by pages.
    /// # Errors
    /// [`ClientError::Unreachable`] or [`ClientError::Refused`].
    pub async fn cases(&self, request: ListCasesRequest) -> Result<Vec<Case>, ClientError> {
        watch_cases::list(&mut self.care(), request).await.map_err(ClientError::of)
    }

    /// Tells of cases, whatever happens to the connection: first those that are not closed, then
    /// each change. When the server drains, restarts or is lost, a new stream is opened, as often as
    /// it takes, and goes on after the last change if it can. Dropping the stream ends the watch.
    ///
    /// The stream ends with an error: if the first call fails, or a later one is refused for good.
    pub fn watch_cases(
        &self,
        filter: CaseFilter,
    ) -> std::pin::Pin<Box<dyn Stream<Item = Result<WatchedCase, ClientError>> + Send>> {
        Box::pin(watch_cases::watch(self.care(), filter))
    }

    /// What is being served.
    /// # Errors
    /// [`ClientError::Unreachable`] or [`ClientError::Refused`].
    pub async fn model(&self) -> Result<GetModelResponse, ClientError> {
        let response = self.service.clone().get_model(GetModelRequest {}).await;
        Ok(response.map_err(ClientError::of)?.into_inner())
    }

    /// Scores posts as they come: one reply for each, in order, whatever
    /// happens to the connection. When the server drains, restarts or is lost,
    /// the unanswered posts go to a new stream. An `Err` among the posts is
    /// passed through in its place. Dropping the stream cancels what is open.
    ///
    /// The stream ends after the last reply, or with an error.
    pub fn score_all<S>(
        &self,
        posts: S,
        spec: StreamSpec,
    ) -> std::pin::Pin<Box<dyn Stream<Item = Result<Reply, ClientError>> + Send>>
    where
        S: Stream<Item = Result<Post, Rejection>> + Send + Unpin + 'static,
    {
        Box::pin(resume::score_all(self.service.clone(), posts, spec))
    }

    /// Tells of alerts, and of advocates if asked to, whatever happens to the
    /// connection: when the server drains, restarts or is lost, a new stream is
    /// opened, as often as it takes, and nothing is told twice. What opened and
    /// ended between two streams is not told. Dropping the stream ends the watch.
    ///
    /// The stream ends with an error: if the first call fails, or a later one is
    /// refused for good.
    pub fn watch(
        &self,
        spec: WatchSpec,
    ) -> std::pin::Pin<Box<dyn Stream<Item = Result<Watched, ClientError>> + Send>> {
        Box::pin(watch::watch(self.alerts.clone(), spec))
    }
}
