//! The process: settings to parts, parts to a server, signals to its end.

use std::net::SocketAddr;
use std::path::Path;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;

use pounce_alerts::{AlertEngine, HashKey};
use pounce_cases::CaseEngine;
use pounce_inference::engine::EngineError;
use pounce_inference::model::{Model, ModelError};
use pounce_inference::scorer::Scorer;
use pounce_replication::ConnectError;
use pounce_replication::{JetStreamLog, Membership};

use crate::alerting::replicated::{unsent, writer};
use crate::alerting::state::StateDir;
use crate::auth::tokens;
use crate::config::{Config, ConfigError};
use crate::lifecycle::reload::FileError;
use crate::lifecycle::signals::Signals;
use crate::metrics;
use crate::notifications::sender::Notifier;
use crate::recent::posts::RecentPosts;
use crate::server::{Server, ServerError, ServerParts, SharedLog};
use crate::traces::{self, TraceError};
use crate::transport::tls;

/// Bytes of a fleet's secret.
const SECRET_BYTES_MIN: usize = 16;

/// Why the service did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The model can't be served.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// What the model's folder says and the settings do not go together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An engine can't be built or run.
    #[error("the model can't be run: {0}")]
    Engine(#[from] EngineError),
    /// A file of TLS or of tokens is of no use.
    #[error(transparent)]
    File(#[from] FileError),
    /// The folder of the state can't be written to or read, or is another server's.
    #[error("--state-dir {folder} can't be used: {source}")]
    State {
        /// The folder.
        folder: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The observation log can't even be tried.
    #[error(transparent)]
    Observations(#[from] ConnectError),
    /// Traces can't be sent.
    #[error(transparent)]
    Traces(#[from] TraceError),
    /// An address can't be bound.
    #[error("can't listen on {addr} ({flag}): {source}")]
    Bind {
        /// Which setting holds it.
        flag: &'static str,
        /// The address.
        addr: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The recorder of metrics can't be installed.
    #[error("metrics can't be recorded: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// The system refused a thread, a signal or a socket.
    #[error(transparent)]
    System(#[from] std::io::Error),
    /// The server failed, or did not end well.
    #[error(transparent)]
    Server(#[from] ServerError),
}

impl AppError {
    /// Whether the settings are at fault, so that trying again is of no use.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Model(_) | Self::Config(_) | Self::Engine(_) | Self::File(_) => true,
            Self::Observations(_) | Self::Traces(_) | Self::Bind { .. } | Self::State { .. } => {
                true
            }
            Self::Server(error) => matches!(error, ServerError::Engine(_)),
            Self::Metrics(_) | Self::System(_) => false,
        }
    }
}

/// Serves until SIGTERM or SIGINT, then drains.
/// # Errors
/// [`AppError`]; bad configuration shows before anything is served.
pub async fn run(config: Config) -> Result<(), AppError> {
    let handle = metrics::install()?;
    let exporter = config.traces.as_ref().map(traces::start).transpose()?;
    let served = serve(config, handle).await;
    if let Some(exporter) = exporter
        && tokio::task::spawn_blocking(move || exporter.finish()).await.is_err()
    {
        tracing::error!("the last spans were not sent");
    }
    served
}

async fn serve(config: Config, handle: PrometheusHandle) -> Result<(), AppError> {
    let mut signals = Signals::new()?;
    let notice = config.drain.notice;
    let server = tokio::select! {
        server = start(config, handle) => server?,
        _ = signals.next() => return Ok(()),
    };
    server.run(signals.end_asked_for(notice)).await?;
    Ok(())
}

/// Opens everything that the settings name, the sockets last: what is wrong with them shows
/// before anything is served.
async fn start(config: Config, metrics: PrometheusHandle) -> Result<Server, AppError> {
    let model = Model::open(&config.model.folder, &config.model.spec)?;
    let config = config.with_thresholds_of(&model)?;
    let tls = config.tls.map(tls::open).transpose()?;
    let limit = config.service.token_posts_per_second_max;
    let tokens = config.tokens.map(|file| tokens::open(file, limit)).transpose()?;
    if tls.is_none() && !config.grpc_addr.ip().is_loopback() {
        tracing::warn!(
            grpc = %config.grpc_addr,
            "posts and tokens travel unencrypted: --tls-cert is not set"
        );
    }
    let notifier = config.notifications.map(Notifier::open).transpose()?;
    let mut state = config.state_dir.as_deref().map(open_state).transpose()?;
    tracing::info!(
        model = model.name,
        revision = model.revision,
        engine = model.engine.name(),
        kernel = model.engine.kernel(),
        reason = model.engine_reason,
        normalisation = model.normalisation.name(),
        workers = config.scorer.workers,
        "model opened"
    );
    crate::metrics::serving(env!("CARGO_PKG_VERSION"), &model.name, &model.revision);
    crate::metrics::engine(model.engine.name(), model.engine.kernel().unwrap_or_default());
    let (scorer, workers, mut warm) = Scorer::start(model, config.scorer)?;
    warm.first().await?;

    let grpc = bind("--grpc-addr", config.grpc_addr).await?;
    let http = bind("--http-addr", config.http_addr).await?;
    let folder = config.state_dir.as_deref().unwrap_or(Path::new("")).display().to_string();
    let state_error = |source| AppError::State { folder: folder.clone(), source };
    let engine = match &state {
        Some(state) if config.observations.is_none() => {
            state.restore(config.alerts, config.topics_max).map_err(&state_error)?
        }
        _ => AlertEngine::new(config.alerts, config.topics_max),
    };
    let case_engine = match &state {
        Some(state) if config.observations.is_none() && config.cases.is_on() => {
            state.restore_cases(config.cases.settings).map_err(&state_error)?
        }
        _ => CaseEngine::new(config.cases.settings),
    };
    let unsent_age_max = writer::age_max(engine.lateness(), config.cases.is_on());
    let observations = match &config.observations {
        Some(spec) => Some(SharedLog {
            log: JetStreamLog::connect(&spec.log).await?,
            hash_key: hash_key(&spec.log.fleet, spec.secret.as_deref())?,
            unsent: match &state {
                Some(state) => unsent::read(state, unsent_age_max).map_err(state_error)?,
                None => Vec::new(),
            },
            // The log keeps the rest.
            state: state.take(),
            membership: Membership::default(),
            silence_max: spec.silence_max,
        }),
        None => None,
    };
    Ok(Server::build(ServerParts {
        grpc,
        http,
        scorer,
        workers,
        warm,
        engine,
        cases: config.cases,
        case_engine,
        state,
        observations,
        tls,
        tokens,
        notifier,
        recent: config.dashboard.enabled.then(|| RecentPosts::new(config.dashboard.texts)),
        post_url: config.post_url,
        service: config.service,
        drain_timeout: config.drain.timeout,
        metrics,
    })?)
}

/// The key of the hashes of a fleet: of its name, and of its secret if it has one.
fn hash_key(fleet: &str, secret: Option<&Path>) -> Result<HashKey, FileError> {
    let mut hasher = blake3::Hasher::new_derive_key("pounce 2026 hashes of authors and texts");
    hasher.update(fleet.as_bytes());
    if let Some(file) = secret {
        let secret = std::fs::read(file).map_err(|error| FileError::new(file, error))?;
        if secret.trim_ascii().len() < SECRET_BYTES_MIN {
            let reason = format!("holds fewer than {SECRET_BYTES_MIN} bytes");
            return Err(FileError::new(file, reason));
        }
        hasher.update(&[0]).update(secret.trim_ascii());
    }
    let mut key = [0; 16];
    hasher.finalize_xof().fill(&mut key);
    Ok(HashKey::from_bytes(key))
}

async fn bind(flag: &'static str, addr: SocketAddr) -> Result<TcpListener, AppError> {
    TcpListener::bind(addr).await.map_err(|source| AppError::Bind { flag, addr, source })
}

fn open_state(folder: &Path) -> Result<StateDir, AppError> {
    StateDir::open(folder)
        .map_err(|source| AppError::State { folder: folder.display().to_string(), source })
}
