//! What the queue costs a post: admission, and forming batches, with few flows and with many.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pounce_inference::admission::Admission;
use pounce_inference::batching::{BatchLimits, next_batch};
use pounce_inference::fair_queue::{FairQueue, JobId};
use pounce_inference::flow_key::{CallerId, FlowId, FlowKey};

const LIMITS: BatchLimits = BatchLimits { posts_max: 8, tokens_max: 2048, padding_max: Some(0.15) };
/// Posts in the queue, over all flows.
const POSTS: u64 = 8192;

fn key(n: u64, flows: u64, callers: u64) -> FlowKey {
    FlowKey { caller: CallerId(n % callers), flow: FlowId(n % flows) }
}

/// Lengths of posts, spread over 8 to 71 tokens.
fn length(n: u64) -> usize {
    8 + usize::try_from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58).expect("six bits")
}

fn queue(posts: u64, flows: u64, callers: u64) -> FairQueue {
    let mut queue = FairQueue::default();
    for n in 0..posts {
        queue.push(JobId(n), key(n, flows, callers), length(n));
    }
    queue
}

/// Forms a batch, and queues as many posts anew, so that the queue keeps its length.
fn batches(c: &mut Criterion) {
    let mut group = c.benchmark_group("batch and refill, a queue of 8,192");
    group.throughput(Throughput::Elements(LIMITS.posts_max as u64));
    for (flows, callers) in [(1, 1), (100, 1), (100, 100), (100_000, 1), (100_000, 100)] {
        let id = BenchmarkId::from_parameter(format!("{flows} flows of {callers} callers"));
        group.bench_function(id, |bencher| {
            let mut queue = queue(POSTS, flows, callers);
            let mut next = POSTS;
            bencher.iter(|| {
                let batch = next_batch(&mut queue, &LIMITS, 1).expect("posts wait");
                for _ in &batch.0 {
                    queue.push(JobId(next), key(next, flows, callers), length(next));
                    next += 1;
                }
                black_box(batch)
            });
        });
    }
    group.finish();
}

/// 100,000 flows of one post each pass through beside a steady stream.
fn one_shot_flows(c: &mut Criterion) {
    let mut group = c.benchmark_group("push and batch, all posts");
    group.sample_size(10);
    for flows in [100, 100_000] {
        group.throughput(Throughput::Elements(100_000));
        group.bench_function(BenchmarkId::from_parameter(format!("{flows} flows")), |bencher| {
            bencher.iter_batched(
                || queue(100_000, flows, 1),
                |mut queue| while next_batch(&mut queue, &LIMITS, 1).is_some() {},
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

/// Lets a post in and out again.
fn admission(c: &mut Criterion) {
    let mut group = c.benchmark_group("admit and release");
    group.throughput(Throughput::Elements(1));
    for (name, waiting) in [("room left", 0), ("full, 8,192 posts of 128 flows wait", 8192)] {
        group.bench_function(name, |bencher| {
            let mut admission = Admission::new(8192, 16 << 20);
            let mut held = std::collections::VecDeque::new();
            let mut n = 0;
            let mut admit = |admission: &mut Admission<()>| {
                n += 1;
                admission.try_admit(key(n, 128, 16), 100).then(|| key(n, 128, 16))
            };
            if waiting > 0 {
                while let Some(key) = admit(&mut admission) {
                    held.push_back((key, 100));
                }
                for n in 0..waiting {
                    admission.wait(key(n, 128, 16), 100, ());
                }
            }
            bencher.iter(|| {
                if waiting == 0 {
                    let key = admit(&mut admission).expect("room");
                    admission.release(key, 100);
                } else {
                    let (key, bytes) = held.pop_front().expect("it is full");
                    admission.release(key, bytes);
                    admission.wait(key, bytes, ());
                    while let Some((key, bytes, ())) = admission.admit_next() {
                        held.push_back((key, bytes));
                    }
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, batches, one_shot_flows, admission);
criterion_main!(benches);
