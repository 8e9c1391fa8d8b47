//! Threads for work on long texts, so that it holds up no thread that serves sockets.
//!
//! Work is done in fair order between callers and flows. It is bounded by whoever submits
//! it: each piece holds what was admitted with it.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::fair_queue::{FairQueue, JobId};
use crate::flow_key::FlowKey;

type Work = Box<dyn FnOnce() + Send>;

/// Runs work on a few threads.
pub(crate) struct TextPool {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    order: FairQueue,
    work: HashMap<JobId, Work>,
    submitted: u64,
    closed: bool,
}

impl TextPool {
    /// Starts `threads` threads that run until [`TextPool::close`].
    /// # Errors
    /// If the system gives no more threads; those that were started end.
    pub(crate) fn start(threads: usize) -> std::io::Result<(Arc<Self>, Vec<JoinHandle<()>>)> {
        let pool = Arc::new(Self { state: Mutex::default(), arrived: Condvar::new() });
        let thread = |index| {
            let pool = Arc::clone(&pool);
            std::thread::Builder::new()
                .name(format!("pounce-text-{index}"))
                .spawn(move || pool.run_all())
        };
        let threads: Result<Vec<_>, _> = (0..threads).map(thread).collect();
        match threads {
            Ok(threads) => Ok((pool, threads)),
            Err(error) => {
                pool.close();
                Err(error)
            }
        }
    }

    /// Runs `work`, of a text of `bytes`, on one of the threads. `None` if it panicked or the
    /// pool is closed. Dropping the future leaves the work in its place; it is skipped when
    /// its turn comes, and only then dropped with all that it holds.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        key: FlowKey,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, result) = oneshot::channel();
        let work = move || {
            if !done.is_closed() {
                // Whoever stopped waiting meanwhile needs no result.
                let _ = done.send(work());
            }
        };
        {
            let mut state = self.state();
            if state.closed {
                return None;
            }
            state.submitted += 1;
            let job = JobId(state.submitted);
            state.order.push(job, key, bytes);
            state.work.insert(job, Box::new(work));
        }
        self.arrived.notify_one();
        result.await.ok()
    }

    /// Lets the threads end once their work is done.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_all();
    }

    fn run_all(&self) {
        while let Some(work) = self.next() {
            // The panic was logged by the hook; whoever waits hears that there is no result.
            let _ = catch_unwind(AssertUnwindSafe(work));
        }
    }

    fn next(&self) -> Option<Work> {
        let mut state = self.state();
        loop {
            if let Some((job, _)) = state.order.pop() {
                return state.work.remove(&job);
            }
            if state.closed {
                return None;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock, so a poisoned state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow_key::CallerId;

    const FLOW: FlowKey = FlowKey::shared(CallerId(0));

    #[tokio::test]
    async fn work_runs_on_a_thread_of_the_pool_and_survives_a_panic() {
        let (pool, threads) = TextPool::start(1).expect("a thread");
        let panicked = pool.run(FLOW, 1, || -> u8 { panic!("boom") }).await;
        assert_eq!(panicked, None);
        let name = || std::thread::current().name().map(str::to_owned);
        assert_eq!(pool.run(FLOW, 1, name).await, Some(Some("pounce-text-0".to_owned())));
        pool.close();
        assert_eq!(pool.run(FLOW, 1, || 1).await, None);
        for thread in threads {
            thread.join().expect("no panic");
        }
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_is_skipped() {
        let (pool, threads) = TextPool::start(1).expect("a thread");
        let (release, held) = std::sync::mpsc::channel::<()>();
        let first = pool.run(FLOW, 1, move || held.recv().is_err());
        let second = pool.run(FLOW, 1, || panic!("it was given up"));
        let mut second = Box::pin(second);
        let mut first = Box::pin(first);
        assert!(futures::poll!(first.as_mut()).is_pending());
        assert!(futures::poll!(second.as_mut()).is_pending());
        drop(second);
        drop(release);
        assert_eq!(first.await, Some(true));
        pool.close();
        for thread in threads {
            thread.join().expect("no panic");
        }
    }
}
