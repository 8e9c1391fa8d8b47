//! Multiply-adds a second of every kernel that this processor has, at the default model's shapes:
//! `cargo bench -p pounce-kernels`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pounce_kernels::{Kernel, Matrix};

fn products(criterion: &mut Criterion) {
    // Tokens of a short post, of eight, and [CLS] alone; queries, keys and values; the feed-forward.
    for (rows, inputs, columns) in
        [(25, 384, 1152), (200, 384, 1152), (25, 1536, 384), (1, 384, 384)]
    {
        let mut group = criterion.benchmark_group(format!("{rows}x{inputs}x{columns}"));
        group.throughput(Throughput::Elements((rows * inputs * columns) as u64));
        let a: Vec<u8> = (0..rows * inputs).map(|i| (i * 31 % 251) as u8).collect();
        let weights: Vec<i8> = (0..inputs * columns).map(|i| (i * 17 % 255) as u8 as i8).collect();
        let mut out = vec![0; rows * columns];
        for kernel in Kernel::available() {
            let matrix = Matrix::pack(kernel, &weights, inputs);
            group.bench_function(BenchmarkId::from_parameter(kernel), |bencher| {
                bencher.iter(|| matrix.multiply(&a, &mut out));
            });
        }
    }
}

criterion_group!(benches, products);
criterion_main!(benches);
