//! What a forward pass allocates, by the allocator's own counter.

use std::path::Path;
use std::sync::Arc;

use pounce_bert::{Forward, Weights};
use pounce_kernels::Kernel;
use tikv_jemalloc_ctl::thread;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Batches of a few posts and of many, of short and of long ones.
const BATCHES: [&[usize]; 6] = [&[25; 8], &[1], &[128], &[3, 90, 12, 40], &[30; 64], &[2; 100]];

#[test]
fn nothing_is_allocated_once_the_buffers_have_grown() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../model");
    let weights = Weights::open(&model, Kernel::best()).expect("the default model");
    let mut forward = Forward::new(Arc::new(weights));
    let ids: Vec<i32> = (0..2000).map(|at| 1000 + at % 900).collect();
    let allocated = thread::allocatedp::read().expect("jemalloc counts");

    let mut run = || {
        let before = allocated.get();
        for lengths in BATCHES {
            let tokens: usize = lengths.iter().sum();
            forward.run(&ids[..tokens], lengths).expect("they are within the limits");
        }
        allocated.get() - before
    };
    assert!(run() > 0, "the counter does not count");
    for round in 1..20 {
        assert_eq!(run(), 0, "bytes allocated in round {round}");
    }
}
