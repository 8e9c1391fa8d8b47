//! One server: both ports, the workers behind them, the tasks beside them, and how it ends.
//!
//! `pounce serve`, `pounce bench` and the tests all run this one. Its sockets, and what asks it to
//! end, are arguments; signals, files and settings are the caller's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use pounce_alerts::{AlertEngine, HashKey, Signal};
use pounce_cases::CaseEngine;
use pounce_inference::scorer::{Scorer, ScorerHandle, Warm};
use pounce_replication::{JetStreamLog, Membership};

use crate::alerting::advocates::Advocates;
use crate::alerting::counter::Counter;
use crate::alerting::monitor::AlertMonitor;
use crate::alerting::replicated::apply::{self, Applier};
use crate::alerting::replicated::unsent::UnsentBatch;
use crate::alerting::replicated::writer::Writer;
use crate::alerting::replicated::{self, append};
use crate::alerting::state::StateDir;
use crate::auth::tokens::Tokens;
use crate::background::{forget_unsent, keep_state, named, save, show_metrics, tick, upkeep};
use crate::cases::monitor::{CaseMonitor, CaseSpec};
pub use crate::ending::ServerError;
use crate::ending::{CUT_OFF_GRACE, calls_ended, drained, flush, workers_ended};
use crate::lifecycle::calls::OpenCalls;
use crate::lifecycle::drain::{self, DrainSender, Phase};
use crate::lifecycle::health::{Health, Standing};
use crate::lifecycle::reload::Reloaded;
use crate::notifications::sender::Notifier;
use crate::parts::Parts;
use crate::recent::posts::RecentPosts;
use crate::scoring::backlog::Backlog;
use crate::transport::grpc::{self, ServiceSpec, Services};
use crate::transport::tls::Tls;
use crate::transport::{grpc_web, http, http_server, incoming};

/// What a server is built from.
pub struct ServerParts {
    /// Where gRPC is served.
    pub grpc: TcpListener,
    /// Where HTTP is served.
    pub http: TcpListener,
    /// Scores texts.
    pub scorer: Scorer,
    /// The scorer's threads.
    pub workers: ScorerHandle,
    /// Tells when their engines have run once.
    pub warm: Warm,
    /// Counts topics; new or restored.
    pub engine: AlertEngine,
    /// How posts become cases.
    pub cases: CaseSpec,
    /// Keeps cases; new or restored.
    pub case_engine: CaseEngine,
    /// Where the state of both engines is kept.
    pub state: Option<StateDir>,
    /// The log through which the replicas of a fleet count as one.
    pub observations: Option<SharedLog>,
    /// With TLS, the gRPC port speaks nothing else, and the HTTP port takes posts and tokens through
    /// nothing else.
    pub tls: Option<Tls>,
    /// With tokens, only their holders may call.
    pub tokens: Option<Reloaded<Tokens>>,
    /// Tells Alertmanagers of topic alerts.
    pub notifier: Option<Notifier>,
    /// What the dashboard shows of single posts; none: there is no dashboard.
    pub recent: Option<RecentPosts>,
    /// Address of a post for the dashboard's links, with `{post_id}` in it.
    pub post_url: Option<String>,
    /// What callers are granted.
    pub service: ServiceSpec,
    /// Longest time for calls to end once the drain has asked them to.
    pub drain_timeout: Duration,
    /// What `/metrics` shows.
    pub metrics: PrometheusHandle,
}

/// The log of a fleet.
pub struct SharedLog {
    /// Where observations go, and come from.
    pub log: JetStreamLog,
    /// The key of the hashes in them: the same in the whole fleet.
    pub hash_key: HashKey,
    /// Where observations are kept that the log does not take before the end.
    pub state: Option<StateDir>,
    /// Those of the process before.
    pub unsent: Vec<UnsentBatch>,
    /// What this replica tells the others of the entries that it reads.
    pub membership: Membership,
    /// Replies wait for a log that is silent no longer than this.
    pub silence_max: Duration,
}

/// A server with open ports.
pub struct Server {
    grpc_addr: SocketAddr,
    http_addr: SocketAddr,
    parts: Parts,
    drain: DrainSender,
    workers: ScorerHandle,
    warm: Warm,
    state: Option<StateDir>,
    /// What is to be appended to the log before the end.
    writer: Option<Writer>,
    /// Where it is kept if the log does not take it.
    unsent: Option<StateDir>,
    drain_timeout: Duration,
    /// Each runs as long as the server does; named, to tell which one ended.
    background: JoinSet<&'static str>,
    grpc: JoinHandle<Result<(), tonic::transport::Error>>,
    http: JoinHandle<()>,
}

impl Server {
    /// Puts the parts together and opens both ports; ready once [`Server::run`] saw every engine
    /// run. Call it within a runtime.
    /// # Errors
    /// If a socket does not know its address, or the system has no random bytes.
    pub fn build(spec: ServerParts) -> std::io::Result<Self> {
        let (grpc_addr, http_addr) = (spec.grpc.local_addr()?, spec.http.local_addr()?);
        let (drain_sender, drain) = drain::channel();
        let model = spec.scorer.model();
        let signal = Signal {
            model: model.name.clone(),
            revision: model.revision.clone(),
            source: model.labels.discontent_source(),
            threshold: spec.service.thresholds.discontent_low,
        };
        let advocates = Advocates::new();
        let labels = spec.service.topic_labels.clone();
        let cases = CaseMonitor::new(spec.case_engine, spec.cases, labels);
        let (monitor, replicated) = match spec.observations {
            None => (AlertMonitor::new(spec.engine, signal)?, None),
            Some(SharedLog { log, hash_key, state, unsent, membership, silence_max }) => {
                let of_cases = spec.cases.is_on().then_some(spec.cases.settings);
                let (engine, own) = (&spec.engine, signal.clone());
                let writer = Writer::of(engine, own, of_cases, membership, silence_max, &unsent)?;
                let monitor = AlertMonitor::replicated(spec.engine, signal.id(), hash_key);
                (monitor, Some((log, writer, state)))
            }
        };
        let writer = replicated.as_ref().map(|(_, writer, ..)| writer.clone());
        let unsent = replicated.as_ref().and_then(|(.., state)| state.clone());
        let counter =
            Counter::new(monitor.clone(), cases.clone(), advocates.clone(), writer.clone());
        let parts = Parts {
            tokens: spec.tokens,
            scorer: spec.scorer.clone(),
            backlog: Backlog::new(spec.scorer.clone(), drain.clone(), spec.drain_timeout),
            monitor,
            cases: cases.clone(),
            counter: counter.clone(),
            advocates: advocates.clone(),
            recent: spec.recent,
            health: Health::new(spec.scorer, move || standing(&counter), drain.clone()),
            calls: OpenCalls::new(),
            drain: drain.clone(),
        };
        let mut background = JoinSet::new();
        background.spawn(named("metrics upkeep", upkeep(spec.metrics.clone())));
        let monitor = parts.monitor.clone();
        if let Some((log, writer, kept)) = replicated {
            replicated::metrics::register();
            if let Some(kept) = kept {
                let stored = forget_unsent(kept, writer.clone());
                background
                    .spawn(named("kept observations", stored.then(|()| std::future::pending())));
            }
            let (appended, watched) = (append::run(log.clone(), writer.clone()), writer.clone());
            let (alerts, cases) = (monitor.clone(), cases.clone());
            let applier = Applier::new(log, writer, alerts, cases.clone(), advocates);
            background.spawn(named("observation log writing", appended));
            background.spawn(named("observation log reading", applier.run()));
            background.spawn(named("observation log breaker", apply::watch(watched)));
            background.spawn(named("alert metrics", show_metrics(monitor, cases)));
        } else {
            background.spawn(named("alert clock", tick(monitor, cases.clone())));
        }
        if let Some(state) = spec.state.clone() {
            background.spawn(named("state saving", keep_state(state, parts.clone())));
        }
        if let Some(tls) = spec.tls.clone() {
            background.spawn(named("TLS reload", tls.keep_fresh()));
        }
        if let Some(tokens) = parts.tokens.clone() {
            background.spawn(named("token reload", tokens.keep_fresh()));
        }
        if let Some(notifier) = spec.notifier {
            let counter = parts.counter.clone();
            let told = notifier.run(parts.monitor.clone(), move || counter.is_up_to_date());
            background.spawn(named("notifications", told));
        }
        let scoring = grpc::scoring(&spec.service, &parts);
        let tls = spec.tls.is_some();
        let services = Services::new(&spec.service, &parts, Arc::clone(&scoring));
        let web = grpc_web::router(&spec.service.web_origins, &services, tls);
        let router = http::router(spec.metrics, parts.clone(), scoring, spec.post_url, tls);
        let router = router.merge(web);
        let http_connections = incoming::http_connections(
            spec.http,
            spec.tls.clone(),
            spec.service.http_connections_max,
        );
        let connections =
            incoming::grpc_connections(spec.grpc, spec.tls, spec.service.connections_max);
        Ok(Self {
            grpc_addr,
            http_addr,
            http: tokio::spawn(http_server::serve(http_connections, router, drain)),
            grpc: tokio::spawn(grpc::serve(connections, spec.service, parts.clone(), services)),
            parts,
            drain: drain_sender,
            workers: spec.workers,
            warm: spec.warm,
            state: spec.state,
            writer,
            unsent,
            drain_timeout: spec.drain_timeout,
            background,
        })
    }

    /// Addresses of the gRPC and the HTTP port.
    #[must_use]
    pub fn addrs(&self) -> [SocketAddr; 2] {
        [self.grpc_addr, self.http_addr]
    }

    /// What its handlers share.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Moves it to a phase of its end without [`Server::run`]'s `shutdown`.
    #[must_use]
    pub fn drain(&self) -> DrainSender {
        self.drain.clone()
    }

    /// Serves until `shutdown` gives the time between not being ready and asking calls to end,
    /// then drains: accepted posts are answered, the state is saved. Dropping the future leaves
    /// calls and threads behind.
    /// # Errors
    /// [`ServerError`], once everything that could be ended well was.
    pub async fn run(
        mut self,
        shutdown: impl Future<Output = Duration>,
    ) -> Result<(), ServerError> {
        let health = self.parts.health.clone();
        let warm = self.warm;
        let failed = async {
            if let Err(error) = warm.all().await {
                return ServerError::from(error);
            }
            health.warmed();
            tracing::info!(grpc = %self.grpc_addr, http = %self.http_addr, "serving");
            std::future::pending().await
        };
        let served = tokio::select! {
            error = failed => Err(error),
            // Of a panic the hook has told where.
            ended = self.background.join_next(), if !self.background.is_empty() => {
                let name = ended.and_then(Result::ok).unwrap_or("panicked");
                self.drain.advance(Phase::Notice);
                Err(ServerError::Background(name))
            }
            served = calls_ended(&mut self.grpc, &self.parts.calls) => served,
            notice = shutdown => {
                let calls = &self.parts.calls;
                drained(&self.drain, calls, notice, self.drain_timeout, self.grpc).await
            }
        };
        self.parts.scorer.close();
        workers_ended(self.workers).await;
        if let Some(writer) = self.writer {
            flush(writer, self.unsent).await;
        }
        // One of them holds the state folder, which the next server may ask for at once.
        self.background.shutdown().await;
        if let Some(state) = self.state {
            save(state, &self.parts).await;
        }
        self.drain.advance(Phase::Stopping);
        // A page that reads nothing more must not hold up the exit.
        if tokio::time::timeout(CUT_OFF_GRACE, self.http).await.is_ok_and(|ended| ended.is_err()) {
            tracing::error!("the HTTP port panicked");
        }
        tracing::info!("stopped");
        served
    }
}

/// How far topics and alerts are.
fn standing(counter: &Counter) -> Standing {
    Standing { up_to_date: counter.is_up_to_date(), detail: counter.standing() }
}
