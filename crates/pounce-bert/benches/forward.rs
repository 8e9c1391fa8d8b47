//! Tokens a second of a forward pass of the default model, with every kernel that this processor has:
//! `cargo bench -p pounce-bert`.

#![allow(missing_docs, reason = "criterion's macros write public items")]

use std::path::Path;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pounce_bert::{Forward, Weights};
use pounce_kernels::Kernel;

/// Lengths of posts: a tweet alone, a batch of tweets, and one that fills what is read of a post.
const BATCHES: [(&str, &[usize]); 3] =
    [("one", &[25]), ("batch", &[12, 33, 21, 45, 18, 28, 9, 38]), ("long", &[128])];

fn passes(criterion: &mut Criterion) {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../model");
    let ids: Vec<i32> = (0..256).map(|at| 1000 + at * 31 % 900).collect();
    for (name, lengths) in BATCHES {
        let tokens: usize = lengths.iter().sum();
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(tokens as u64));
        for kernel in Kernel::available().filter(|kernel| kernel.is_vectorised()) {
            let weights = Weights::open(&model, kernel).expect("the default model");
            let mut forward = Forward::new(Arc::new(weights));
            group.bench_function(BenchmarkId::from_parameter(kernel), |bencher| {
                bencher.iter(|| forward.run(&ids[..tokens], lengths).map(<[f32]>::len));
            });
        }
    }
}

criterion_group!(benches, passes);
criterion_main!(benches);
