//! Writes batches to the log, one after the other, each as often as it takes.
//!
//! The next batch leaves when the log has stored the one before, so that the order of a writer
//! survives a retry. Meanwhile items gather: the slower the log, the larger the batches.

use std::time::{Duration, Instant};

use super::metrics;
use super::writer::{BATCH_ITEMS, Writer};
use pounce_replication::{LogError, ObservationLog, SealedBatch};

/// Time in which a small batch may grow.
const LINGER: Duration = Duration::from_millis(1);
/// Silence of the whole log after which a replica appends a tick, so that time goes on.
const TICK: Duration = Duration::from_secs(1);
/// Replicas wait longer by up to this much, each by an amount of its own, so that one tick is
/// enough.
const TICK_SPREAD_MAX: u64 = 500;
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Appends without end. Dropping the future may leave a batch half-told: stored, or not.
pub(crate) async fn run<L: ObservationLog>(log: L, writer: Writer) {
    let silence_max = TICK + Duration::from_millis(writer.nonce() % TICK_SPREAD_MAX);
    let heartbeat = writer.membership().heartbeat();
    let mut appended_at = Instant::now();
    loop {
        tokio::select! {
            () = writer.added() => {}
            () = writer.silence(appended_at, silence_max) => {}
            // The others tick; this one must be heard of all the same.
            () = tokio::time::sleep_until((appended_at + heartbeat).into()) => {}
        }
        if (1..BATCH_ITEMS).contains(&writer.next_items()) {
            tokio::time::sleep(LINGER).await;
        }
        writer.form_known().await;
        let batch = writer.seal();
        let stored = append(&log, &writer, &batch).await;
        appended_at = Instant::now();
        writer.unseal(&batch, stored);
    }
}

/// Whether the log stored the batch, sooner or later.
async fn append<L: ObservationLog>(log: &L, writer: &Writer, batch: &SealedBatch) -> bool {
    let mut pause = PAUSE_MIN;
    // Each cause is told once.
    let mut told = None;
    loop {
        let began = Instant::now();
        let appended = tokio::select! {
            appended = log.append(batch.bytes.clone()) => appended.map(|_| ()),
            // It was read back: an answer got lost, not the batch.
            () = writer.applied(batch.number) => Ok(()),
            // A tick is of now or of no use.
            () = writer.added(), if batch.items == 0 => return false,
        };
        metrics::appended(began.elapsed(), appended.is_ok());
        match appended {
            Ok(()) => return true,
            Err(_) if batch.items == 0 => {
                tokio::time::sleep(PAUSE_MAX).await;
                return false;
            }
            Err(error @ LogError::TooLarge { .. }) => {
                tracing::error!(%error, items = batch.items, "observations are lost");
                return false;
            }
            Err(error) if told.as_ref() != Some(&error) => {
                tracing::warn!(%error, "observations wait for the log");
                told = Some(error);
            }
            Err(_) => {}
        }
        if writer.is_too_old(batch) {
            tracing::error!(items = batch.items, "observations are too old to count: dropped");
            return false;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
