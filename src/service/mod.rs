//! The wire: gRPC and HTTP. Handlers are shells around the scorer.
//!
//! Knows the scorer, the flags and the messages; nothing of tensors, batches
//! or worker threads.

mod advocates;
mod alert_wire;
mod alerts;
mod bucket;
mod caller;
mod calls;
pub mod crowds;
mod desk;
pub mod drain;
mod guard;
pub mod health;
pub mod http;
pub mod incoming;
pub mod page;
pub mod reload;
mod scoring;
mod stream;
pub mod tls;
pub mod tokens;
mod wire;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use self::advocates::Advocates;
use self::alerts::Alerts;
use self::calls::CountCalls;
use self::crowds::Crowds;
use self::desk::Desk;
use self::drain::{Drain, Phase};
use self::guard::Guard;
use self::health::Health;
use self::page::recent::Recent;
use self::reload::Reloaded;
use self::scoring::Scoring;
use self::tokens::Tokens;
use crate::discontent::flags::Thresholds;
use crate::inference::scorer::Scorer;
use crate::proto::alert_service_server::AlertServiceServer;
use crate::proto::scoring_service_server::ScoringServiceServer;
use crate::proto::{DESCRIPTOR_SET, Limits};

/// Unread bytes of one stream that h2 takes in before the sender must wait.
/// Small, so that backpressure reaches a writer soon.
const STREAM_WINDOW: u32 = 32 * 1024;
/// Unread bytes of one connection. h2 0.4.20 answers too many unread tiny
/// frames with GOAWAY; its budget is half of this window.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// How often an idle connection is asked whether it lives, and how long it may
/// take to answer.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// What the service grants its callers.
#[derive(Debug, Clone)]
pub struct ServiceSpec {
    /// Probabilities from which posts are flagged.
    pub thresholds: Thresholds,
    /// Bytes of a post's text.
    pub text_bytes_max: usize,
    /// Bytes of a gRPC message.
    pub message_bytes_max: usize,
    /// Posts of a `ScoreBatch` call.
    pub batch_posts_max: usize,
    /// Unanswered posts of a stream.
    pub stream_posts_in_flight_max: usize,
    /// Open streams a connection.
    pub connection_streams_max: u32,
    /// Age at which a stream is asked to move.
    pub stream_age_max: Option<Duration>,
    /// Topics that metrics may name.
    pub topic_labels: Vec<String>,
    /// Whether reflection is offered.
    pub reflection: bool,
    /// Open connections.
    pub connections_max: usize,
    /// Posts a second of a token that has no limit of its own.
    pub token_posts_per_second_max: Option<NonZeroU32>,
}

impl ServiceSpec {
    /// As `GetModel` shows it.
    fn limits(&self, scorer: &Scorer) -> Limits {
        let shown = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
        Limits {
            text_bytes_max: shown(self.text_bytes_max),
            text_tokens_max: shown(scorer.model().tokens_max),
            message_bytes_max: shown(self.message_bytes_max),
            batch_posts_max: shown(self.batch_posts_max),
            stream_posts_in_flight_max: shown(self.stream_posts_in_flight_max),
            queue_posts_max: shown(scorer.limits().queue_posts_max),
            connection_streams_max: self.connection_streams_max,
            connections_max: shown(self.connections_max),
            token_posts_per_second_max: self.token_posts_per_second_max.map_or(0, NonZeroU32::get),
            stream_age_max: self.stream_age_max.map(wire::show_duration),
        }
    }
}

/// What the gRPC and the HTTP port share. Cheap to clone.
#[derive(Clone)]
pub struct Shared {
    /// With tokens, only their holders may call.
    pub tokens: Option<Reloaded<Tokens>>,
    /// Scores texts.
    pub scorer: Scorer,
    /// Counts scored posts by topic.
    pub crowds: Crowds,
    /// Remembers what the page shows of posts, if there is a page.
    pub recent: Option<Recent>,
    /// What is known of the service's health.
    pub health: Health,
    /// Tells of the end.
    pub drain: Drain,
}

/// Serves gRPC on `incoming` until the drain has begun and all calls have
/// ended.
/// # Errors
/// If the transport fails.
pub async fn serve<I, IO, E>(
    incoming: I,
    spec: ServiceSpec,
    shared: Shared,
) -> Result<(), tonic::transport::Error>
where
    I: Stream<Item = Result<IO, E>>,
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    for topic in spec.topic_labels.iter().map(String::as_str).chain([crate::metrics::TOPIC_OTHER]) {
        crate::metrics::topic_known(topic);
    }
    let (reporter, health_service) = tonic_health::server::health_reporter();
    shared.health.report_once(&reporter).await;
    let reporting = tokio::spawn(shared.health.clone().report(reporter));

    let (crowds, mut drain) = (shared.crowds.clone(), shared.drain.clone());
    let advocates = Advocates::new();
    let alerts = Alerts { crowds, advocates: advocates.clone(), drain: drain.clone() };
    let alerts = AlertServiceServer::new(alerts).max_decoding_message_size(spec.message_bytes_max);
    let mut routes = Routes::new(scoring(&spec, &shared, advocates))
        .add_service(alerts)
        .add_service(health_service);
    if spec.reflection {
        let known = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let words = "the descriptor sets were written by the build";
        // v1alpha too: the Python and Java libraries ask for nothing else.
        routes = routes
            .add_service(known().build_v1().expect(words))
            .add_service(known().build_v1alpha().expect(words));
    }
    let served = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(spec.connection_streams_max)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .layer(CountCalls::new())
        .layer(Guard::new(shared.tokens))
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, async move {
            drain.reached(Phase::Draining).await;
        })
        .await;
    reporting.abort();
    served
}

fn scoring(
    spec: &ServiceSpec,
    shared: &Shared,
    advocates: Advocates,
) -> ScoringServiceServer<Scoring> {
    let desk = Desk {
        scorer: shared.scorer.clone(),
        crowds: shared.crowds.clone(),
        recent: shared.recent.clone(),
        advocates,
        thresholds: spec.thresholds,
        text_bytes_max: spec.text_bytes_max,
        topic_labels: spec.topic_labels.clone(),
    };
    ScoringServiceServer::new(Scoring {
        desk: Arc::new(desk),
        limits: spec.limits(&shared.scorer),
        batch_posts_max: spec.batch_posts_max,
        stream_posts_in_flight_max: spec.stream_posts_in_flight_max,
        stream_age_max: spec.stream_age_max,
        drain: shared.drain.clone(),
    })
    .max_decoding_message_size(spec.message_bytes_max)
}
