//! Health that tells the truth, over gRPC and HTTP alike.
//!
//! Ready: the model has run, a worker has an engine, and nobody is draining. The services of alerts and
//! cases, of replicas that share a log: it was read up to its end as well.
//! Alive: no worker is stuck in a run of the model. Overload touches neither.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::lifecycle::drain::{Drain, Phase};
use pounce_inference::scorer::Scorer;

/// How often health is looked at; a drain is heard of at once.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// A run of the model that is longer than this is taken to hang. The largest batch of
/// the slowest model takes seconds, not minutes.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// gRPC services whose health is readiness; the empty name is the server's.
const READINESS: [&str; 2] = ["", "pounce.v1.ScoringService"];
/// Ready if topics, alerts and cases are up to date as well.
const UP_TO_DATE: [&str; 2] = ["pounce.v1.AlertService", "pounce.v1.CareService"];
/// Name under which gRPC health tells liveness.
pub const LIVENESS: &str = "liveness";

/// How far topics and alerts are.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Whether they are up to date.
    pub up_to_date: bool,
    /// More of it, in lines; may be empty.
    pub detail: String,
}

/// What is known of the service's health. Cheap to clone.
#[derive(Clone)]
pub struct Health {
    scorer: Scorer,
    standing: Arc<dyn Fn() -> Standing + Send + Sync>,
    drain: Drain,
    warm: Arc<AtomicBool>,
}

impl Health {
    /// Not ready until [`Health::warmed`]; `standing` says how far topics and alerts are.
    #[must_use]
    pub fn new(
        scorer: Scorer,
        standing: impl Fn() -> Standing + Send + Sync + 'static,
        drain: Drain,
    ) -> Self {
        let standing = Arc::new(standing);
        Self { scorer, standing, drain, warm: Arc::new(AtomicBool::new(false)) }
    }

    /// The model has run.
    pub fn warmed(&self) {
        self.warm.store(true, Ordering::Release);
    }

    /// Whether new calls should come here.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.warm.load(Ordering::Acquire)
            && self.scorer.workers_alive() > 0
            && self.drain.phase() == Phase::Serving
    }

    /// Whether topics and alerts are up to date. Where replicas share a log, one that starts has
    /// to read it first.
    #[must_use]
    pub fn alerts_ready(&self) -> bool {
        self.ready() && (self.standing)().up_to_date
    }

    /// What there is to say of topics and alerts beside [`Health::alerts_ready`], in lines.
    #[must_use]
    pub fn detail(&self) -> String {
        (self.standing)().detail
    }

    /// Whether a restart would not help.
    #[must_use]
    pub fn alive(&self) -> bool {
        self.scorer.longest_run() < SILENCE_MAX
    }

    /// Says so to gRPC's health service until the process stops.
    pub(crate) async fn report(self, reporter: HealthReporter) {
        let mut drain = self.drain.clone();
        loop {
            self.report_once(&reporter).await;
            let serving = drain.phase() == Phase::Serving;
            let next = if serving { Phase::Notice } else { Phase::Stopping };
            tokio::select! {
                () = tokio::time::sleep(CHECK_INTERVAL) => {}
                () = drain.reached(next) => if next == Phase::Stopping { break },
            }
        }
    }

    /// Sets every name; call it before a socket opens, since tonic-health
    /// says SERVING of the server from birth.
    pub(crate) async fn report_once(&self, reporter: &HealthReporter) {
        let status = |up| if up { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in READINESS {
            reporter.set_service_status(name, status(self.ready())).await;
        }
        for name in UP_TO_DATE {
            reporter.set_service_status(name, status(self.alerts_ready())).await;
        }
        reporter.set_service_status(LIVENESS, status(self.alive())).await;
    }
}
