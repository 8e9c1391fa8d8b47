//! Writes batches to the log, one after the other, each as often as it takes.
//!
//! The next batch leaves when the one before was read back, or the log has said that it stored it, so
//! that the order of a writer survives a retry. Meanwhile items gather: the slower the log, the larger
//! the batches.
//!
//! Every batch is read back in any case, and that is all the answer it needs: the log is asked for
//! one of its own only where a batch does not come back, which then tells why.

use std::time::{Duration, Instant};

use super::metrics;
use super::writer::Writer;
use pounce_replication::{LogError, ObservationLog, SealedBatch};

/// A batch that was sent is read back within this time, or the log is asked whether it stored it ...
const READ_BACK_MAX: Duration = Duration::from_millis(100);
/// ... and so for the batches after it for this long: a replica that reads late sends few of them twice.
const ASK_FOR: Duration = Duration::from_secs(10);
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
    let mut sealed_at = Instant::now();
    let mut appender = Appender { log, writer: writer.clone(), ask_until: sealed_at };
    loop {
        tokio::select! {
            () = writer.due() => {}
            () = writer.silence(sealed_at, silence_max) => {}
            // The others tick; this one must be heard of all the same.
            () = tokio::time::sleep_until((sealed_at + heartbeat).into()) => {}
        }
        writer.form_known().await;
        let batch = writer.seal();
        sealed_at = batch.sealed_at;
        let stored = appender.append(&batch).await;
        writer.unseal(&batch, stored);
    }
}

struct Appender<L> {
    log: L,
    writer: Writer,
    /// Until then the log is asked whether it stored a batch.
    ask_until: Instant,
}

impl<L: ObservationLog> Appender<L> {
    /// Whether the log stored the batch, sooner or later. Completes no sooner than it has to: there
    /// is more to append, or the log answered.
    async fn append(&mut self, batch: &SealedBatch) -> bool {
        let writer = self.writer.clone();
        let mut pause = PAUSE_MIN;
        // Each cause is told once.
        let mut told = None;
        while !writer.is_read_back() {
            let began = Instant::now();
            let stored = tokio::select! {
                // The batch was read back. Or it is a tick, which is of now or of no use.
                () = writer.due() => return batch.items > 0,
                stored = self.stored(batch) => stored,
            };
            let Err(error) = stored else { return true };
            if writer.is_read_back() {
                break;
            }
            metrics::append_failed(began.elapsed());
            if batch.items == 0 {
                tokio::time::sleep(PAUSE_MAX).await;
                return false;
            }
            if matches!(error, LogError::TooLarge { .. }) {
                tracing::error!(%error, items = batch.items, "observations are lost");
                return false;
            }
            if told.as_ref() != Some(&error) {
                tracing::warn!(%error, "observations wait for the log");
                told = Some(error);
            }
            if writer.is_too_old(batch) {
                tracing::error!(items = batch.items, "observations are too old to count: dropped");
                return false;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        true
    }

    /// Completes when the batch was stored, though not as soon as it is read back.
    async fn stored(&mut self, batch: &SealedBatch) -> Result<(), LogError> {
        if self.writer.is_caught_up() && Instant::now() >= self.ask_until {
            self.log.send(batch.bytes.clone()).await?;
            tokio::time::sleep(READ_BACK_MAX).await;
            if self.writer.is_read_back() {
                return Ok(());
            }
            self.ask_until = Instant::now() + ASK_FOR;
        }
        self.log.append(batch.bytes.clone()).await.map(drop)
    }
}
