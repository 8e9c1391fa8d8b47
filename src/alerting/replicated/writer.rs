//! What this process has to tell the log, and who waits for what comes of it.
//!
//! All waiting ends at once when nothing is applied for a while (`breaker.rs`): posts are then
//! answered as not counted yet, and are counted when the log answers again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;

use super::breaker::Breaker;
use super::error::{AcknowledgeError, CaseActionError, CloseAlertError, LogSilent};
use super::metrics;
use super::outcome::{Pending, Waiting, wait};
use super::pace::Pace;
use super::unsent::UnsentBatch;
use pounce_alerts::{Acknowledged, AlertEngine, CloseAction, ClosedAlert, Signal};
use pounce_cases::{Acted, CaseAction, CaseSettings};
use pounce_replication::{
    Advocate, Applied, Disposition, EntryForm, Item, LoggedObservation, Membership, Outbox,
    OutboxLimits, Outcome, SealedBatch, WriterInFlight, WriterTicket,
};
use pounce_types::post::{Timestamp, Topic};

/// How often the breaker looks.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Entries that a process may be behind and still count as caught up ...
const BEHIND_MAX: u64 = 64;
/// ... if it was so within this time.
const BEHIND_FOR_MAX: Duration = Duration::from_secs(5);

/// A customer who waited for longer has turned elsewhere.
const CASE_AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// 64 MiB are about 500,000 observations.
fn limits(age_max: Duration) -> OutboxLimits {
    OutboxLimits { batch_items_max: 1000, batch_bytes_max: 256 << 10, bytes_max: 64 << 20, age_max }
}

/// How long an observation is worth keeping: one older than the lateness would count no more, but
/// still opens a case, if there are cases.
pub(crate) fn age_max(lateness: Duration, cases: bool) -> Duration {
    if cases { lateness.max(CASE_AGE_MAX) } else { lateness }
}

/// Takes in items for the log. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Writer {
    inner: Arc<Inner>,
}

struct Inner {
    nonce: u64,
    /// Digest of this process's settings of alerts, and of cases where there are any.
    settings: u64,
    signal: Signal,
    membership: Membership,
    /// Observations that never reached the log.
    dropped: AtomicUsize,
    // std Mutex: held for a few map operations, never across an await.
    state: Mutex<State>,
    /// When the next batch is to leave has changed.
    due: Notify,
    /// It became known which form may be written.
    form_known: Notify,
}

struct State {
    outbox: Outbox<Waiting>,
    pace: Pace,
    in_flight: WriterInFlight,
    breaker: Breaker,
    began: Instant,
    /// When this process had applied all that the log held.
    caught_up_at: Option<Instant>,
    /// The batch that is being appended.
    sealed: Option<SealedBatch>,
    /// The newest form that may be written; none until the log was read once.
    form: Option<EntryForm>,
    /// Why this process counts no further, if it does not.
    stopped: Option<String>,
}

impl State {
    /// When the next batch is to leave: none while there is none, or another is under way. A tick
    /// holds nothing up.
    fn due_at(&self) -> Option<Instant> {
        let is_free = self.sealed.as_ref().is_none_or(|batch| batch.items == 0);
        self.pace.due_at().filter(|_| is_free && self.outbox.next_items() > 0)
    }

    /// Items that the log has not stored.
    fn unappended(&self) -> usize {
        self.outbox.items() + self.sealed.as_ref().map_or(0, |batch| batch.items)
    }

    fn is_caught_up(&self, now: Instant) -> bool {
        self.caught_up_at.is_some_and(|at| now.saturating_duration_since(at) < BEHIND_FOR_MAX)
    }
}

impl Writer {
    /// A writer for an engine like this one, with a nonce that nobody else has. Its decisions of
    /// discontent rest on `signal`, which it tells first, after what an earlier process left. With
    /// `cases`, its posts may open cases. Nobody waits for a log that is silent for `silence_max`.
    /// # Errors
    /// If the system has no random bytes.
    pub(crate) fn of(
        engine: &AlertEngine,
        signal: Signal,
        cases: Option<CaseSettings>,
        membership: Membership,
        silence_max: Duration,
        unsent: &[UnsentBatch],
    ) -> std::io::Result<Self> {
        let nonce = getrandom::u64()?;
        let settings = engine.settings_digest() ^ cases.map_or(0, |cases| cases.digest());
        let limits = limits(age_max(engine.lateness(), cases.is_some()));
        let mut outbox = Outbox::new(membership.reads, nonce, settings, limits);
        let (mut pace, now) = (Pace::default(), Instant::now());
        for batch in unsent {
            outbox.put_back(&batch.bytes, batch.form, batch.items, now);
            pace.came(outbox.next_items(), now);
        }
        let state = State {
            outbox,
            pace,
            in_flight: WriterInFlight::default(),
            breaker: Breaker::new(silence_max, now),
            began: now,
            caught_up_at: None,
            sealed: None,
            form: None,
            stopped: None,
        };
        let inner = Inner {
            nonce,
            settings,
            signal,
            membership,
            dropped: AtomicUsize::new(0),
            state: Mutex::new(state),
            due: Notify::new(),
            form_known: Notify::new(),
        };
        let writer = Self { inner: Arc::new(inner) };
        writer.tell_signal();
        Ok(writer)
    }

    /// Tells the others what this process's decisions of discontent rest on.
    pub(super) fn tell_signal(&self) {
        drop(self.push(&mut self.state(), &Item::Signal(self.inner.signal.clone())));
    }

    /// What this process's decisions of discontent rest on.
    pub(super) fn signal(&self) -> &Signal {
        &self.inner.signal
    }

    /// Registers a post of `topic` that arrived: unless it is `late`, every replica's watermark waits
    /// for it.
    pub(super) fn register(&self, topic: &Topic, at: Timestamp, late: bool) -> WriterTicket {
        self.state().in_flight.admit(topic, at, late)
    }

    /// Has a registered post counted; nothing else comes between it and what is told of those that
    /// stay.
    pub(super) fn observe(
        &self,
        ticket: &WriterTicket,
        logged: impl FnOnce(Option<Timestamp>) -> LoggedObservation,
    ) -> Pending {
        let mut state = self.state();
        let oldest_in_flight = state.in_flight.append(ticket);
        self.push(&mut state, &Item::Observation(logged(oldest_in_flight)))
    }

    /// A registered post will not be counted.
    pub(super) fn withdraw(&self, ticket: &WriterTicket) {
        let mut state = self.state();
        if let Some((topic, oldest_in_flight)) = state.in_flight.withdraw(ticket) {
            drop(self.push(&mut state, &Item::Release { topic, oldest_in_flight }));
        }
    }

    /// Tells of an advocate whose post counts for no topic.
    pub(crate) fn tell(&self, advocate: Advocate) {
        drop(self.push(&mut self.state(), &Item::Advocate(advocate)));
    }

    /// Takes an alert on every replica.
    pub(crate) async fn acknowledge(
        &self,
        id: &str,
        by: &str,
        note: &str,
    ) -> Result<Acknowledged, AcknowledgeError> {
        let (id, by, note) = (id.to_owned(), by.to_owned(), note.to_owned());
        let item = Item::Acknowledge { id, by, note };
        let pending = self.push(&mut self.state(), &item);
        match pending.outcome().await {
            Ok(Outcome::Acknowledged(acknowledged)) => Ok(*acknowledged?),
            Ok(_) | Err(LogSilent) => Err(AcknowledgeError::LogSilent),
        }
    }

    /// Closes an alert on every replica.
    pub(crate) async fn close_alert(
        &self,
        action: CloseAction,
    ) -> Result<ClosedAlert, CloseAlertError> {
        let pending = self.act(&Item::CloseAlert(action)).ok_or(CloseAlertError::OlderReplicas)?;
        match pending.outcome().await {
            Ok(Outcome::Closed(closed)) => Ok(*closed?),
            Ok(_) | Err(LogSilent) => Err(CloseAlertError::LogSilent),
        }
    }

    /// Does something with a case on every replica.
    pub(crate) async fn act_on_case(&self, action: CaseAction) -> Result<Acted, CaseActionError> {
        let pending = self.act(&Item::Case(action)).ok_or(CaseActionError::OlderReplicas)?;
        match pending.outcome().await {
            Ok(Outcome::Case(acted)) => Ok(*acted?),
            Ok(_) | Err(LogSilent) => Err(CaseActionError::LogSilent),
        }
    }

    /// Whether this process has applied all that the log holds, or nearly so.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.state().is_caught_up(Instant::now())
    }

    /// What is to be told of it beside its health.
    pub(crate) fn standing(&self) -> String {
        let state = self.state();
        let read = match &state.stopped {
            _ if state.is_caught_up(Instant::now()) => "read to its end",
            Some(stopped) => stopped,
            None => "not read to its end",
        };
        let replies = if state.breaker.is_open() { "do not wait" } else { "wait" };
        let (waiting, dropped) = (state.unappended(), self.inner.dropped.load(Ordering::Relaxed));
        format!(
            "observation log: {read}; replies {replies} for their counts; observations: {waiting} wait \
             for it, {dropped} dropped\n"
        )
    }

    pub(super) fn membership(&self) -> &Membership {
        &self.inner.membership
    }

    /// The newest form that may be written.
    pub(super) fn use_form(&self, form: EntryForm) {
        let before = self.state().form.replace(form);
        if before == Some(form) {
            return;
        }
        self.inner.form_known.notify_waiters();
        metrics::form(form);
        let (reads, version) = (self.inner.membership.reads, form.version());
        if form < reads {
            tracing::warn!(
                version,
                "replicas of an older release are in the fleet: entries of the observation log keep \
                 the form that they read"
            );
        } else {
            tracing::info!(version, "all replicas read this form of the observation log");
        }
    }

    /// This process counts no further, until an entry is applied again.
    pub(super) fn stop(&self, reason: String) {
        self.state().stopped = Some(reason);
    }

    /// Completes when it is known which form the next batch may have. Safe to drop.
    pub(super) async fn form_known(&self) {
        loop {
            let known = self.inner.form_known.notified();
            {
                let state = self.state();
                if state.form.is_some() || state.outbox.next_form() == EntryForm::OLDEST {
                    return;
                }
            }
            known.await;
        }
    }

    pub(super) fn nonce(&self) -> u64 {
        self.inner.nonce
    }

    pub(super) fn settings(&self) -> u64 {
        self.inner.settings
    }

    /// Completes when nothing was applied, and since `sealed_at` nothing sent, for `max`. Safe
    /// to drop.
    pub(super) async fn silence(&self, sealed_at: Instant, max: Duration) {
        loop {
            let until = self.state().breaker.applied_at().max(sealed_at) + max;
            if Instant::now() >= until {
                return;
            }
            tokio::time::sleep_until(until.into()).await;
        }
    }

    /// Completes when the next batch is to leave, and no items are on their way. Safe to drop.
    pub(super) async fn due(&self) {
        loop {
            let changed = self.inner.due.notified();
            let due_at = self.state().due_at();
            match due_at {
                None => changed.await,
                Some(due_at) if due_at <= Instant::now() => return,
                Some(due_at) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(due_at.into()) => {}
                },
            }
        }
    }

    /// Takes out the oldest batch, or a tick if there is none.
    pub(super) fn seal(&self) -> SealedBatch {
        let mut state = self.state();
        let now = Instant::now();
        let expired = state.outbox.expire(now);
        self.dropped(expired);
        // Unknown: the batch is of the oldest.
        let form = state.form.unwrap_or(EntryForm::OLDEST);
        let sealed = state.outbox.seal(form, now);
        metrics::left_out(sealed.left_out);
        let more = state.outbox.next_items() > 0;
        state.pace.left(more, now);
        state.sealed = Some(sealed.clone());
        sealed
    }

    /// The batch was stored by the log, or given up.
    pub(super) fn unseal(&self, batch: &SealedBatch, stored: bool) {
        let mut state = self.state();
        let read_back = state.sealed.take().is_none();
        if !stored {
            state.outbox.applied(batch.number);
            self.dropped(batch.items);
        } else if !read_back {
            metrics::appended(batch.sealed_at.elapsed());
        }
    }

    /// Whether the batch that was sealed was applied.
    pub(super) fn is_read_back(&self) -> bool {
        self.state().sealed.is_none()
    }

    /// Whether the items of a batch are too old to count.
    pub(super) fn is_too_old(&self, batch: &SealedBatch) -> bool {
        self.state().outbox.is_too_old(batch.newest_at, Instant::now())
    }

    /// An entry was applied, after which the log has `behind` more. Tells those who wait what
    /// came of their items.
    pub(super) fn applied_entry(&self, applied: Option<Applied>, behind: u64) {
        let mut state = self.state();
        let now = Instant::now();
        state.breaker.applied(now);
        state.stopped = None;
        if behind <= BEHIND_MAX {
            state.caught_up_at = Some(now);
        }
        if let Some(applied) = applied {
            self.resolve(&mut state, applied);
        }
        let (caught_up, oldest) = (state.is_caught_up(now), state.outbox.oldest_waiting());
        if state.breaker.closes(caught_up, oldest, now) {
            metrics::breaker(false);
            tracing::info!("the observation log answers: replies wait for their counts again");
        }
    }

    fn resolve(&self, state: &mut State, applied: Applied) {
        if applied.writer == self.inner.nonce && applied.disposition == Disposition::Counted {
            let waiting = state.outbox.applied(applied.number);
            state.outbox.forget_before(applied.number);
            for (outcome, waiting) in applied.outcomes.into_iter().zip(waiting) {
                // Whoever waited may have left.
                let _ = waiting.map(|waiting| waiting.send(outcome));
            }
            let sealed = &mut state.sealed;
            if let Some(batch) = sealed.take_if(|batch| batch.number == applied.number) {
                metrics::appended(batch.sealed_at.elapsed());
                self.wake_appender(None, state);
            }
        }
    }

    /// Ends all waiting if the log does not answer. Due every [`CHECK_INTERVAL`].
    pub(super) fn look(&self) {
        let mut state = self.state();
        let now = Instant::now();
        metrics::buffer(state.unappended(), state.outbox.bytes());
        metrics::behind(now.saturating_duration_since(state.caught_up_at.unwrap_or(state.began)));
        if state.breaker.is_open() {
            let expired = state.outbox.expire(now);
            self.dropped(expired);
            return;
        }
        let Some(oldest) = state.outbox.oldest_waiting() else { return };
        if state.breaker.opens(oldest, now) {
            let waited = now.saturating_duration_since(oldest);
            metrics::breaker(true);
            for waiting in state.outbox.waiting_mut() {
                *waiting = None;
            }
            tracing::warn!(
                ?waited,
                "the observation log does not answer: posts are answered as not counted yet"
            );
        }
    }

    /// Completes when everything was stored by the log. Safe to drop.
    pub(crate) async fn flushed(&self) {
        loop {
            if self.unappended() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Items that the log has not stored.
    pub(crate) fn unappended(&self) -> usize {
        self.state().unappended()
    }

    /// Whether the log has not stored all that an earlier process left.
    pub(crate) fn holds_earlier(&self) -> bool {
        let state = self.state();
        state.outbox.holds_foreign() || state.sealed.as_ref().is_some_and(SealedBatch::is_foreign)
    }

    /// The batches that the log has not stored.
    pub(crate) fn unsent(&self) -> Vec<Bytes> {
        let state = self.state();
        let sealed = state.sealed.iter().filter(|batch| batch.items > 0);
        sealed.map(|batch| batch.bytes.clone()).chain(state.outbox.unsent()).collect()
    }

    /// Adds what somebody wants done; none if not all replicas could read it.
    fn act(&self, item: &Item) -> Option<Pending> {
        let mut state = self.state();
        let fits = state.form.is_none_or(|form| item.form() <= form);
        fits.then(|| self.push(&mut state, item))
    }

    fn push(&self, state: &mut State, item: &Item) -> Pending {
        let (waiting, pending) =
            if state.breaker.is_open() { (None, Pending::nobody()) } else { wait() };
        let (now, due_before) = (Instant::now(), state.due_at());
        let dropped = state.outbox.push(item, waiting, now);
        self.dropped(dropped);
        state.pace.came(state.outbox.next_items(), now);
        self.wake_appender(due_before, state);
        pending
    }

    /// Each wake costs a replica that is not busy some of a processor: none is for nothing.
    fn wake_appender(&self, due_before: Option<Instant>, state: &State) {
        let due_at = state.due_at();
        if due_at.is_some() && due_at != due_before {
            self.inner.due.notify_waiters();
        }
    }

    /// Observations never reached the log.
    fn dropped(&self, items: usize) {
        metrics::dropped(items);
        self.inner.dropped.fetch_add(items, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
