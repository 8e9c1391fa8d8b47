//! How a server ends: calls are asked to end and have time to, then the log stores what was scored.

use std::time::Duration;

use pounce_inference::engine::EngineError;
use pounce_inference::scorer::ScorerHandle;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};

use crate::alerting::replicated;
use crate::alerting::replicated::unsent;
use crate::alerting::replicated::writer::Writer;
use crate::alerting::state::StateDir;
use crate::background::forget_unsent;
use crate::lifecycle;
use crate::lifecycle::calls::OpenCalls;
use crate::lifecycle::drain::{DrainSender, Phase};

/// Time that calls cut off at the end of a drain have to tell their callers.
pub(crate) const CUT_OFF_GRACE: Duration = Duration::from_secs(1);
/// Time that connections have to close once their last call has ended.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
/// Time that the observation log has to store the last posts that were scored.
const FLUSH_MAX: Duration = Duration::from_secs(3);

/// Time that workers have to end the run of the model that they are at.
const WORKERS_MAX: Duration = Duration::from_secs(2);

/// Why a server ended without being asked to, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// An engine can't be built or run.
    #[error("the model can't be run: {0}")]
    Engine(#[from] EngineError),
    /// The gRPC transport failed.
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
    /// The task of the gRPC port panicked.
    #[error("the gRPC port failed: {0}")]
    Grpc(#[from] JoinError),
    /// A task that must run as long as the server does has ended.
    #[error("the background task `{0}` ended")]
    Background(&'static str),
    /// Calls were still open when the drain's time was up.
    #[error("calls were still open {0:?} after the drain began and were cut off")]
    CutOff(Duration),
}

/// Takes the server through the phases of its end.
pub(crate) async fn drained(
    drain: &DrainSender,
    calls: &OpenCalls,
    notice: Duration,
    timeout: Duration,
    mut grpc: JoinHandle<Result<(), tonic::transport::Error>>,
) -> Result<(), ServerError> {
    tracing::info!(?notice, ?timeout, "draining");
    lifecycle::metrics::draining();
    drain.advance(Phase::Notice);
    tokio::time::sleep(notice).await;
    drain.advance(Phase::Draining);
    tokio::select! {
        served = calls_ended(&mut grpc, calls) => return served,
        () = all_ended(calls) => {
            tracing::info!("all calls have ended; closing the connections that are still open");
            grpc.abort();
            return Ok(());
        }
        () = tokio::time::sleep(timeout) => {}
    }
    drain.advance(Phase::Stopping);
    // Calls end now; a connection that still does not is left to the exit.
    let _ = tokio::time::timeout(CUT_OFF_GRACE, &mut grpc).await;
    grpc.abort();
    Err(ServerError::CutOff(notice + timeout))
}

/// Completes when the gRPC port has ended, and so have the calls of the HTTP port.
pub(crate) async fn calls_ended(
    grpc: &mut JoinHandle<Result<(), tonic::transport::Error>>,
    calls: &OpenCalls,
) -> Result<(), ServerError> {
    grpc.await??;
    calls.none().await;
    Ok(())
}

/// Completes when no call is open and connections had the time to be closed in good order: a client
/// that does not answer, or watches health, would keep its own open for ever.
async fn all_ended(calls: &OpenCalls) {
    loop {
        calls.none().await;
        tokio::time::sleep(CLOSE_GRACE).await;
        if !calls.any() {
            return;
        }
    }
}

/// Waits until the worker threads have ended, but not for a run of the model that hangs: what was
/// counted is to be saved all the same.
pub(crate) async fn workers_ended(workers: ScorerHandle) {
    let (sender, joined) = oneshot::channel();
    // Not on the runtime, which would wait for it at its own end.
    std::thread::spawn(move || {
        workers.join();
        // Whoever asked may have gone on.
        let _ = sender.send(());
    });
    match tokio::time::timeout(WORKERS_MAX, joined).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => tracing::error!("a worker thread panicked"),
        Err(_) => tracing::error!("a run of the model does not end; it is left to the exit"),
    }
}

/// Waits until the log has stored what was scored, but not for ever.
pub(crate) async fn flush(writer: Writer, unsent: Option<StateDir>) {
    if tokio::time::timeout(FLUSH_MAX, writer.flushed()).await.is_ok() {
        if let Some(state) = unsent {
            // If it takes longer the file stays, and what is in it counts once.
            let _ = tokio::time::timeout(FLUSH_MAX, forget_unsent(state, writer)).await;
        }
        return;
    }
    let items = writer.unappended();
    if let Some(state) = unsent {
        let batches = writer.unsent();
        let kept = tokio::task::spawn_blocking(move || unsent::keep(&state, &batches)).await;
        match kept.map_err(std::io::Error::other).and_then(|kept| kept) {
            Ok(()) => {
                tracing::warn!(
                    items,
                    "the observation log does not answer: kept for the next start"
                );
                return;
            }
            Err(error) => tracing::error!(%error, "the state folder can't be written"),
        }
    }
    replicated::metrics::dropped(items);
    tracing::error!(lost = items, "the observation log does not answer: observations are lost");
}
