//! The gRPC server: its services, layers, windows and limits put together.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic_health::server::HealthReporter;

use super::calls::CountCalls;
use super::messages::{BoundMessages, MessageLimits};
use super::origin::Origin;
use super::windows::{STREAM_WINDOW, connection_window};
use crate::alerting::service::Alerts;
use crate::auth::guard::Guard;
use crate::care::action::Actor;
use crate::care::service::Care;
use crate::lifecycle::drain::Phase;
use crate::open_inference::service::Inference;
use crate::parts::Parts;
use crate::scoring;
use crate::scoring::pipeline::Pipeline;
use crate::scoring::service::Scoring;
use crate::wire::show_duration;
use pounce_alerts::flags::Thresholds;
use pounce_inference::scorer::Scorer;
use pounce_proto::alert_service_server::AlertServiceServer;
use pounce_proto::care_service_server::CareServiceServer;
use pounce_proto::inference::grpc_inference_service_server::GrpcInferenceServiceServer;
use pounce_proto::scoring_service_server::ScoringServiceServer;
use pounce_proto::{DESCRIPTOR_SET, Limits};
use pounce_types::post::Topic;

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
    /// Posts of a stream that are not yet answered, at most.
    pub stream_posts_in_flight_max: usize,
    /// Open streams a connection.
    pub connection_streams_max: u32,
    /// Age at which a stream is asked to move.
    pub stream_age_max: Option<Duration>,
    /// Age at which a connection is closed once its calls have ended.
    pub connection_age_max: Option<Duration>,
    /// Topics that metrics may name.
    pub topic_labels: Vec<Topic>,
    /// Whether reflection is offered.
    pub reflection: bool,
    /// Open connections.
    pub connections_max: usize,
    /// Open connections of the HTTP port.
    pub http_connections_max: usize,
    /// Posts a second of a token that has no limit of its own.
    pub token_posts_per_second_max: Option<NonZeroU32>,
    /// Origins of pages that may call from a browser; none: gRPC-Web is off.
    pub web_origins: Vec<Origin>,
}

impl ServiceSpec {
    fn message_limits(&self) -> MessageLimits {
        MessageLimits {
            batch_bytes_max: self.message_bytes_max,
            batch_posts_max: self.batch_posts_max,
            post_bytes_max: self.post_message_bytes_max(),
        }
    }

    /// Bytes of a message that is no batch: a text so much over its limit still gets a rejection of
    /// its own, which names the limit.
    fn post_message_bytes_max(&self) -> usize {
        self.text_bytes_max.saturating_mul(4).saturating_add(32 * 1024).min(self.message_bytes_max)
    }

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
            stream_age_max: self.stream_age_max.map(show_duration),
            post_message_bytes_max: shown(self.post_message_bytes_max()),
        }
    }
}

/// The services, and the layers around them that are one for the whole server, whichever port a call
/// comes by.
#[derive(Clone)]
pub(super) struct Stack {
    pub(super) routes: Routes,
    pub(super) counted: CountCalls,
    pub(super) guard: Guard,
    pub(super) bounded: BoundMessages,
}

/// The services of a server.
pub(crate) struct Services {
    pub(super) stack: Stack,
    reporter: HealthReporter,
}

impl Services {
    /// Puts them together around the handlers of `scoring`.
    pub(crate) fn new(spec: &ServiceSpec, parts: &Parts, scoring: Arc<Scoring>) -> Self {
        let (reporter, health_service) = tonic_health::server::health_reporter();
        let bytes_max = spec.message_bytes_max;
        let alerts = Alerts {
            monitor: parts.monitor.clone(),
            counter: parts.counter.clone(),
            advocates: parts.advocates.clone(),
            drain: parts.drain.clone(),
        };
        let alerts = AlertServiceServer::new(alerts).max_decoding_message_size(bytes_max);
        let actor = Actor { cases: parts.cases.clone(), counter: parts.counter.clone() };
        let care = Care { actor, drain: parts.drain.clone() };
        let care = CareServiceServer::new(care).max_decoding_message_size(bytes_max);
        let inference = Inference { scoring: Arc::clone(&scoring), health: parts.health.clone() };
        let inference =
            GrpcInferenceServiceServer::new(inference).max_decoding_message_size(bytes_max);
        let scoring = ScoringServiceServer::from_arc(scoring).max_decoding_message_size(bytes_max);
        let mut routes = Routes::new(scoring)
            .add_service(alerts)
            .add_service(care)
            .add_service(inference)
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
        let stack = Stack {
            routes,
            counted: CountCalls::new(parts.calls.clone()),
            guard: Guard::new(parts.tokens.clone()),
            bounded: BoundMessages::new(spec.message_limits()),
        };
        Self { stack, reporter }
    }
}

/// Serves gRPC on `incoming` until the drain has begun and all calls have
/// ended.
/// # Errors
/// If the transport fails.
pub(crate) async fn serve<I, IO, E>(
    incoming: I,
    spec: ServiceSpec,
    parts: Parts,
    services: Services,
) -> Result<(), tonic::transport::Error>
where
    I: Stream<Item = Result<IO, E>>,
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Services { stack, reporter } = services;
    parts.health.report_once(&reporter).await;
    let reporting = tokio::spawn(parts.health.clone().report(reporter));
    let mut drain = parts.drain;
    let mut server = Server::builder();
    if let Some(age) = spec.connection_age_max {
        // Without a grace: calls end by themselves, streams at their own age.
        server = server.max_connection_age(age);
    }
    let served = server
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(connection_window(spec.connection_streams_max))
        .max_concurrent_streams(spec.connection_streams_max)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .layer(stack.counted)
        .layer(stack.guard)
        .layer(stack.bounded)
        .add_routes(stack.routes)
        .serve_with_incoming_shutdown(incoming, async move {
            drain.reached(Phase::Draining).await;
        })
        .await;
    reporting.abort();
    served
}

/// The handlers of the calls that score posts, which the HTTP port shares.
pub(crate) fn scoring(spec: &ServiceSpec, parts: &Parts) -> Arc<Scoring> {
    let labels = spec.topic_labels.iter().map(Topic::as_str);
    for topic in labels.chain([scoring::metrics::TOPIC_OTHER]) {
        scoring::metrics::topic_known(topic);
    }
    let pipeline = Pipeline {
        scorer: parts.scorer.clone(),
        monitor: parts.monitor.clone(),
        recent: parts.recent.clone(),
        counter: parts.counter.clone(),
        thresholds: spec.thresholds,
        signal: parts.monitor.signal(),
        hash_key: parts.monitor.hash_key(),
        text_bytes_max: spec.text_bytes_max,
        topic_labels: spec.topic_labels.clone(),
    };
    Arc::new(Scoring {
        pipeline: Arc::new(pipeline),
        limits: spec.limits(&parts.scorer),
        batch_posts_max: spec.batch_posts_max,
        stream_posts_in_flight_max: spec.stream_posts_in_flight_max,
        stream_age_max: spec.stream_age_max,
        drain: parts.drain.clone(),
        backlog: parts.backlog.clone(),
    })
}
