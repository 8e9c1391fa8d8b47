//! What runs beside the ports for as long as a server does: clocks, saving, upkeep.

use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;

use crate::alerting::monitor::{self, AlertMonitor};
use crate::alerting::replicated::unsent;
use crate::alerting::replicated::writer::Writer;
use crate::alerting::state::{self, StateDir, StateSnapshot};
use crate::cases::monitor::CaseMonitor;
use crate::metrics;
use crate::parts::Parts;

/// Between two looks at whether the log has stored what an earlier process kept.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A task that tells its name when it ends.
pub(crate) async fn named(name: &'static str, task: impl Future<Output = ()>) -> &'static str {
    task.await;
    name
}

/// Removes the observations that an earlier process kept once the log has stored them. Safe to drop.
pub(crate) async fn forget_unsent(state: StateDir, writer: Writer) {
    while writer.holds_earlier() {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    // It fails only if the runtime ends: then they stay, and count once.
    let _ = tokio::task::spawn_blocking(move || unsent::remove(&state)).await;
}

/// Drives the clocks of alerts and cases.
pub(crate) async fn tick(monitor: AlertMonitor, cases: CaseMonitor) {
    let mut ticks = tokio::time::interval(monitor::TICK);
    loop {
        ticks.tick().await;
        monitor.tick();
        cases.tick();
    }
}

/// As [`tick`], where the log's time drives the engines.
pub(crate) async fn show_metrics(monitor: AlertMonitor, cases: CaseMonitor) {
    let mut ticks = tokio::time::interval(monitor::TICK);
    loop {
        ticks.tick().await;
        monitor.show_metrics();
        cases.show_metrics();
    }
}

/// Saves the state every [`state::INTERVAL`].
pub(crate) async fn keep_state(state: StateDir, parts: Parts) {
    let mut ticks = tokio::time::interval(state::INTERVAL);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        save(state.clone(), &parts).await;
    }
}

/// Saves the state once.
pub(crate) async fn save(state: StateDir, parts: &Parts) {
    let (monitor, cases) = (parts.monitor.clone(), parts.cases.clone());
    let saved = tokio::task::spawn_blocking(move || {
        state.save(|| {
            let ((topics, outcomes), cases) = monitor.snapshot_with(|| cases.snapshot());
            StateSnapshot { topics, outcomes, cases }
        })
    })
    .await;
    match saved.map_err(std::io::Error::other).and_then(|saved| saved) {
        Ok(()) => tracing::debug!("state written"),
        Err(error) => tracing::error!(%error, "the state can't be written"),
    }
}

/// Lets go of what the metrics no longer need.
pub(crate) async fn upkeep(handle: PrometheusHandle) {
    let mut ticks = tokio::time::interval(metrics::UPKEEP);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}
