//! Wires everything: start, serve, drain.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

use crate::alerting::monitor::{self, AlertMonitor};
use crate::alerting::state::{self, StateDir};
use crate::auth::tokens;
use crate::config::{Config, ConfigError};
use crate::dashboard::recent::RecentPosts;
use crate::lifecycle::drain::{self, DrainSender, Phase};
use crate::lifecycle::health::Health;
use crate::lifecycle::reload::FileError;
use crate::metrics;
use crate::parts::Parts;
use crate::traces::{self, TraceError};
use crate::transport::{grpc, http, incoming, tls};
use pounce_alerts::Board;
use pounce_inference::engine::EngineError;
use pounce_inference::model::{Model, ModelError};
use pounce_inference::scorer::Scorer;

/// Time that calls cut off at the end of a drain have to say so.
const LAST_WORDS: Duration = Duration::from_secs(1);

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
    /// The folder of the state can't be written to.
    #[error("--state-dir {folder} can't be written to: {source}")]
    State {
        /// The folder.
        folder: String,
        /// Why.
        source: std::io::Error,
    },
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
        /// Why.
        source: std::io::Error,
    },
    /// The recorder of metrics can't be installed.
    #[error("metrics can't be recorded: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// The system refused a thread, a signal or a socket.
    #[error(transparent)]
    System(#[from] std::io::Error),
    /// The gRPC transport failed.
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
    /// Calls were still open when the drain's time was up.
    #[error("calls were still open {0:?} after the drain began and were cut off")]
    CutOff(Duration),
}

impl AppError {
    /// Whether the settings are at fault, so that trying again is of no use.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Model(_) | Self::Config(_) | Self::Engine(_) | Self::File(_) => true,
            Self::Traces(_) | Self::Bind { .. } | Self::State { .. } => true,
            Self::Metrics(_) | Self::System(_) | Self::Transport(_) | Self::CutOff(_) => false,
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

    let model = Model::open(&config.model, &config.model_spec)?;
    let config = config.with_thresholds_of(&model)?;
    let tls = config.tls.map(tls::open).transpose()?;
    let limit = config.service.token_posts_per_second_max;
    let tokens = config.tokens.map(|file| tokens::open(file, limit)).transpose()?;
    if tls.is_none() && !config.grpc_addr.ip().is_loopback() {
        tracing::warn!(grpc = %config.grpc_addr, "posts and tokens travel unencrypted: no --tls-cert");
    }
    let state = config.state_dir.as_deref().map(open_state).transpose()?;
    tracing::info!(
        model = model.name,
        revision = model.revision,
        engine = model.engine.name(),
        normalisation = model.normalisation.name(),
        workers = config.scorer.workers,
        "model opened"
    );
    metrics::serving(env!("CARGO_PKG_VERSION"), &model.name, &model.revision);
    let (scorer, workers, mut warm) = Scorer::start(model, config.scorer.clone())?;
    tokio::select! {
        warm = warm.first() => warm?,
        () = signals.terminate() => return Ok(()),
    }

    let grpc = bind("--grpc-addr", config.grpc_addr).await?;
    let http = bind("--http-addr", config.http_addr).await?;
    let (grpc_addr, http_addr) = (grpc.local_addr()?, http.local_addr()?);

    let board = match &state {
        Some(state) => state.restore(config.alerts, config.topics_max),
        None => Board::new(config.alerts, config.topics_max),
    };
    let monitor = AlertMonitor::new(board);
    let (drain_sender, drain) = drain::channel();
    let health = Health::new(scorer.clone(), drain.clone());
    // Without end: they end with this set.
    let mut background = JoinSet::new();
    background.spawn(upkeep(handle.clone()));
    background.spawn(tick(monitor.clone()));
    state.clone().map(|state| background.spawn(keep_state(state, monitor.clone())));
    tls.clone().map(|tls| background.spawn(tls.keep_fresh()));
    tokens.clone().map(|tokens| background.spawn(tokens.keep_fresh()));
    let parts = Parts {
        tokens,
        scorer: scorer.clone(),
        monitor: monitor.clone(),
        recent: config.board.then(|| RecentPosts::new(config.board_texts)),
        health: health.clone(),
        drain: drain.clone(),
    };
    let mut http = tokio::spawn(serve_http(http, http::router(handle, parts.clone()), drain));
    let grpc = incoming::connections(grpc, tls, config.service.connections_max);
    let mut grpc = tokio::spawn(grpc::serve(grpc, config.service, parts));

    let failed = async {
        if let Err(error) = warm.all().await {
            return AppError::from(error);
        }
        health.warmed();
        tracing::info!(grpc = %grpc_addr, http = %http_addr, "serving");
        std::future::pending().await
    };
    let served = tokio::select! {
        error = failed => Err(error),
        served = &mut grpc => flatten(served),
        notice = signals.next() => {
            let notice = if notice == Notice::Wanted { config.drain_notice } else { Duration::ZERO };
            tokio::spawn(exit_on(signals));
            drained(&drain_sender, notice, config.drain_timeout, grpc).await
        }
    };
    scorer.close();
    if tokio::task::spawn_blocking(move || workers.join()).await.is_err() {
        tracing::error!("a worker did not end well");
    }
    if let Some(state) = state {
        save(state, &monitor).await;
    }
    drain_sender.advance(Phase::Stopping);
    // A page that takes nothing more must not hold up the exit.
    if tokio::time::timeout(LAST_WORDS, &mut http).await.is_ok_and(|ended| ended.is_err()) {
        tracing::error!("the HTTP port did not end well");
    }
    tracing::info!("stopped");
    served
}

async fn bind(flag: &'static str, addr: SocketAddr) -> Result<TcpListener, AppError> {
    TcpListener::bind(addr).await.map_err(|source| AppError::Bind { flag, addr, source })
}

/// Takes the service through the phases of its end.
async fn drained(
    drain: &DrainSender,
    notice: Duration,
    timeout: Duration,
    mut grpc: tokio::task::JoinHandle<Result<(), tonic::transport::Error>>,
) -> Result<(), AppError> {
    tracing::info!(?notice, ?timeout, "draining");
    crate::lifecycle::metrics::draining();
    drain.advance(Phase::Notice);
    tokio::time::sleep(notice).await;
    drain.advance(Phase::Draining);
    if let Ok(served) = tokio::time::timeout(timeout, &mut grpc).await {
        return flatten(served);
    }
    drain.advance(Phase::Stopping);
    // Calls end now; a connection that still does not is left to the exit.
    let _ = tokio::time::timeout(LAST_WORDS, &mut grpc).await;
    grpc.abort();
    Err(AppError::CutOff(notice + timeout))
}

fn flatten(
    served: Result<Result<(), tonic::transport::Error>, tokio::task::JoinError>,
) -> Result<(), AppError> {
    match served {
        Ok(served) => Ok(served?),
        Err(error) => Err(AppError::System(std::io::Error::other(error))),
    }
}

async fn serve_http(listener: TcpListener, router: axum::Router, mut drain: drain::Drain) {
    let served = axum::serve(listener, router)
        .with_graceful_shutdown(async move { drain.reached(Phase::Stopping).await })
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the HTTP port failed");
    }
}

fn open_state(folder: &Path) -> Result<StateDir, AppError> {
    StateDir::open(folder)
        .map_err(|source| AppError::State { folder: folder.display().to_string(), source })
}

async fn tick(monitor: AlertMonitor) {
    let mut ticks = tokio::time::interval(monitor::TICK);
    loop {
        ticks.tick().await;
        monitor.tick();
    }
}

async fn keep_state(state: StateDir, monitor: AlertMonitor) {
    let mut ticks = tokio::time::interval(state::INTERVAL);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        save(state.clone(), &monitor).await;
    }
}

async fn save(state: StateDir, monitor: &AlertMonitor) {
    let monitor = monitor.clone();
    let saved = tokio::task::spawn_blocking(move || state.save(|| monitor.snapshot())).await;
    match saved.map_err(std::io::Error::other).and_then(|saved| saved) {
        Ok(()) => tracing::debug!("state written"),
        Err(error) => tracing::error!(%error, "state can't be written"),
    }
}

async fn upkeep(handle: PrometheusHandle) {
    let mut ticks = tokio::time::interval(metrics::UPKEEP);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}

/// A second signal ends the process at once.
async fn exit_on(mut signals: Signals) {
    signals.next().await;
    tracing::warn!("second signal: exiting at once");
    std::process::exit(130);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notice {
    /// SIGTERM: an orchestrator takes us out of its endpoints meanwhile.
    Wanted,
    /// SIGINT: a person waits at a terminal.
    Skipped,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Notice {
        tokio::select! {
            _ = self.terminate.recv() => Notice::Wanted,
            _ = self.interrupt.recv() => Notice::Skipped,
        }
    }

    async fn terminate(&mut self) {
        self.next().await;
    }
}
