//! Scheduler and gate under many orders in which threads may run. shuttle finds a wake-up that is
//! lost as a deadlock, and repeats what it found from the schedule that it prints.

use std::sync::Arc;

use shuttle::{check_pct, check_random, future, thread};

use crate::batching::BatchLimits;
use crate::flow_key::{CallerId, FlowId, FlowKey};
use crate::gate::{Gate, Permit};
use crate::limits::ScorerLimits;
use crate::scheduler::{Forward, Scheduler, TextKey};
use pounce_types::score::Probabilities;

/// Orders that each test tries, and the most that one of them may change at a time.
const ORDERS: usize = 20_000;
const DEPTH: usize = 4;

const LIMITS: ScorerLimits = ScorerLimits {
    workers: 2,
    queue_posts_max: 8,
    queue_bytes_max: 800,
    cache_bytes_max: 1 << 10,
    batch: BatchLimits { posts_max: 2, tokens_max: 64, padding_max: None },
};

/// At random, and by priorities (Burckhardt et al., ASPLOS 2010), which finds rare orders sooner.
fn check(work: fn()) {
    check_random(work, ORDERS);
    check_pct(work, ORDERS, DEPTH);
}

fn key(caller: u64) -> FlowKey {
    FlowKey { caller: CallerId(caller), flow: FlowId(caller) }
}

fn score() -> Forward {
    let even = Probabilities { negative: 0.5, neutral: 0.25, positive: 0.25, discontent: 0.5 };
    let (started, infer) = (std::time::Instant::now(), std::time::Duration::ZERO);
    Forward { probabilities: even, started, infer, span: None }
}

/// Two workers, one of which returns its first batch and ends, as if its engine could not be built
/// anew; two callers whose texts are partly the same, and one of them loses interest in one. Every
/// other ticket is answered, while the scheduler is open.
fn every_ticket_is_answered() {
    let scheduler = Arc::new(Scheduler::new(&LIMITS));
    let workers: Vec<_> = [true, false]
        .into_iter()
        .map(|breaks| {
            let scheduler = Arc::clone(&scheduler);
            thread::spawn(move || {
                while let Some(jobs) = scheduler.take() {
                    if breaks {
                        return scheduler.put_back(jobs);
                    }
                    let answers = jobs.into_iter().map(|job| (job, Some(score())));
                    scheduler.finish(answers.collect()).deliver();
                }
            })
        })
        .collect();
    let callers: Vec<_> = (0..2)
        .map(|caller: u64| {
            let scheduler = Arc::clone(&scheduler);
            thread::spawn(move || {
                let texts = ["the same", if caller == 0 { "one" } else { "two" }, "again the same"];
                let ask =
                    |text| scheduler.enqueue(TextKey::of(text), vec![1; 3], 3, key(caller), None);
                let mut tickets: Vec<_> = texts.into_iter().map(ask).collect();
                if caller == 1 {
                    let unwanted = tickets.remove(0);
                    scheduler.leave(unwanted.job, unwanted.waiter);
                }
                for ticket in tickets {
                    let answer = future::block_on(ticket.answer).expect("nobody drops it");
                    assert!(answer.is_some());
                }
            })
        })
        .collect();
    for caller in callers {
        caller.join().expect("no panic");
    }
    scheduler.close();
    for worker in workers {
        worker.join().expect("no panic");
    }
}

#[test]
fn interleavings_of_workers_and_callers() {
    check(every_ticket_is_answered);
}

/// Three callers for two places; one gives up while it waits. All others get in, and all room is
/// given back.
fn everybody_gets_in() {
    let gate = Arc::new(Gate::new(2, 200));
    let enter = |caller: u64| {
        let gate = Arc::clone(&gate);
        thread::spawn(move || {
            for _ in 0..2 {
                let permit: Permit =
                    future::block_on(gate.enter(key(caller), 100)).expect("it is open");
                thread::yield_now();
                drop(permit);
            }
        })
    };
    let callers: Vec<_> = (0..3).map(enter).collect();
    let gives_up = {
        let gate = Arc::clone(&gate);
        thread::spawn(move || {
            let waiting = future::spawn(async move { gate.enter(key(9), 100).await.map(drop) });
            thread::yield_now();
            waiting.abort();
        })
    };
    for thread in callers.into_iter().chain([gives_up]) {
        thread.join().expect("no panic");
    }
    // The one that was aborted may be dropped last.
    while gate.posts_held() > 0 {
        thread::yield_now();
    }
}

#[test]
fn interleavings_of_the_gate() {
    check(everybody_gets_in);
}

/// A gate that closes leaves nobody waiting.
fn nobody_waits_at_a_closed_gate() {
    let gate = Arc::new(Gate::new(1, 100));
    let callers: Vec<_> = (0..3)
        .map(|caller| {
            let gate = Arc::clone(&gate);
            thread::spawn(move || future::block_on(gate.enter(key(caller), 100)).map(drop))
        })
        .collect();
    gate.close();
    for caller in callers {
        // Let in before it closed, or turned away.
        let _ = caller.join().expect("no panic");
    }
    assert_eq!(gate.posts_held(), 0);
}

#[test]
fn interleavings_of_closing() {
    check(nobody_waits_at_a_closed_gate);
}
