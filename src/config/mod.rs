//! Flags and `POUNCE_*` variables become one checked [`Config`].
//!
//! Each part's flags and checks have a file; checks across parts are here. Only `app`, `main` and
//! `commands` import it.

mod access;
mod alerts;
mod calls;
mod cases;
mod dashboard;
mod drain;
mod error;
mod inference;
mod model;
mod notifications;
mod observations;
mod thresholds;
mod traces;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use pounce_alerts::Settings;
use pounce_inference::model::{Model, ModelThresholds};
use pounce_inference::scorer::ScorerLimits;

pub use self::dashboard::DashboardConfig;
pub use self::drain::DrainConfig;
pub use self::error::ConfigError;
pub use self::model::ModelConfig;
pub use self::observations::ObservationsConfig;
use crate::cases::monitor::CaseSpec;
use crate::notifications::sender::NotificationSpec;
use crate::traces::TraceSpec;
use crate::transport::grpc::ServiceSpec;
use crate::transport::tls::TlsFiles;

/// How to run the service.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where gRPC listens.
    pub grpc_addr: SocketAddr,
    /// Where HTTP listens.
    pub http_addr: SocketAddr,
    /// The model.
    pub model: ModelConfig,
    /// What inference may use.
    pub scorer: ScorerLimits,
    /// What callers are granted.
    pub service: ServiceSpec,
    /// Which thresholds of the service are set by flags.
    set_by_flags: ModelThresholds,
    /// TLS for gRPC.
    pub tls: Option<TlsFiles>,
    /// File of the tokens that callers need.
    pub tokens: Option<PathBuf>,
    /// The dashboard.
    pub dashboard: DashboardConfig,
    /// How posts become alerts on topics.
    pub alerts: Settings,
    /// Topics and places counted at a time.
    pub topics_max: usize,
    /// How posts become cases.
    pub cases: CaseSpec,
    /// Where the state of topics and alerts is kept.
    pub state_dir: Option<PathBuf>,
    /// Address of a post for links, with `{post_id}` in it.
    pub post_url: Option<String>,
    /// Where topic alerts are told.
    pub notifications: Option<NotificationSpec>,
    /// The log through which the replicas of a fleet count as one.
    pub observations: Option<ObservationsConfig>,
    /// Where traces go.
    pub traces: Option<TraceSpec>,
    /// How long the end may take.
    pub drain: DrainConfig,
}

impl Config {
    /// Takes the thresholds of the model's folder where no flag sets one.
    /// # Errors
    /// [`ConfigError::ModelThresholds`] naming config.json and the field.
    pub fn with_thresholds_of(mut self, model: &Model) -> Result<Self, ConfigError> {
        let own = thresholds::put(&model.thresholds, self.service.thresholds);
        let file = self.model.folder.join("config.json").display().to_string();
        self.service.thresholds = thresholds::put(&self.set_by_flags, own)
            .checked()
            .map_err(|source| ConfigError::ModelThresholds { file, source })?;
        Ok(self)
    }
}

/// The flags of `pounce serve`.
#[derive(Debug, Args)]
pub struct ServeFlags {
    /// Address of the gRPC port
    #[arg(
        long,
        env = "POUNCE_GRPC_ADDR",
        default_value = "127.0.0.1:50051",
        value_name = "IP:PORT"
    )]
    grpc_addr: SocketAddr,
    /// Address of the HTTP port: posts as JSON, the dashboard, /metrics, /healthz, /readyz
    #[arg(
        long,
        env = "POUNCE_HTTP_ADDR",
        default_value = "127.0.0.1:9464",
        value_name = "IP:PORT"
    )]
    http_addr: SocketAddr,
    #[command(flatten)]
    model: model::ModelFlags,
    #[command(flatten)]
    inference: inference::InferenceFlags,
    #[command(flatten)]
    calls: calls::CallFlags,
    #[command(flatten)]
    thresholds: thresholds::ThresholdFlags,
    #[command(flatten)]
    alerts: alerts::AlertFlags,
    #[command(flatten)]
    cases: cases::CaseFlags,
    #[command(flatten)]
    notifications: notifications::NotificationFlags,
    #[command(flatten)]
    observations: observations::ObservationFlags,
    #[command(flatten)]
    dashboard: dashboard::DashboardFlags,
    #[command(flatten)]
    access: access::AccessFlags,
    #[command(flatten)]
    traces: traces::TraceFlags,
    #[command(flatten)]
    drain: drain::DrainFlags,
}

impl ServeFlags {
    /// Checks everything that can be checked without a socket, a model or a certificate; reads the
    /// file of `--alerts`.
    /// # Errors
    /// [`ConfigError`] naming the flag.
    pub fn checked(self) -> Result<Config, ConfigError> {
        let calls = self.calls.checked(self.inference.queue_posts_max)?;
        let scorer = self.inference.checked(calls.text_bytes_max)?;
        let (thresholds, set_by_flags) = self.thresholds.checked()?;
        let alerts = self.alerts.checked()?;
        let access = self.access.checked()?;
        let drain = self.drain.checked()?;
        let observations = self.observations.checked(drain.timeout)?;
        let dashboard = self.dashboard.checked()?;
        let post_url = self.notifications.post_url();
        if post_url.is_some() && !dashboard.enabled && !self.notifications.is_on() {
            let without = "without --alertmanager and with --board false";
            return Err(ConfigError::NoEffect { flag: "--post-url", without });
        }
        Ok(Config {
            grpc_addr: self.grpc_addr,
            http_addr: self.http_addr,
            model: self.model.config(),
            scorer,
            service: ServiceSpec {
                thresholds,
                text_bytes_max: calls.text_bytes_max,
                message_bytes_max: calls.message_bytes_max,
                batch_posts_max: calls.batch_posts_max,
                stream_posts_in_flight_max: calls.stream_posts_in_flight_max,
                connection_streams_max: calls.connection_streams_max,
                stream_age_max: calls.stream_age_max,
                connection_age_max: calls.connection_age_max,
                topic_labels: alerts.topic_labels,
                reflection: calls.reflection,
                connections_max: calls.connections_max,
                http_connections_max: calls.http_connections_max,
                token_posts_per_second_max: access.token_posts_per_second_max,
                web_origins: access.web_origins,
            },
            set_by_flags,
            tls: access.tls,
            tokens: access.tokens,
            dashboard,
            post_url,
            notifications: self
                .notifications
                .checked(alerts.rules.counting.lateness(), observations.is_some())?,
            alerts: alerts.rules,
            topics_max: alerts.topics_max,
            cases: self.cases.checked()?,
            state_dir: alerts.state_dir,
            observations,
            traces: self.traces.checked()?,
            drain,
        })
    }
}
