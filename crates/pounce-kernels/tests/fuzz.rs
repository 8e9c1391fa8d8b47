//! Bytes that nobody chose, multiplied by every kernel of this processor: all give the plain sums.
//!
//! `cargo test` tries it for a second, `make fuzz` for as long as one likes.

use bolero::{check, generator::produce};
use pounce_kernels::{Kernel, Matrix};

/// Products are of multiples of this.
const INPUTS_UNIT: usize = 4;

#[test]
fn products() {
    let shapes = (1..=40_usize, 0..=9_usize, 1..=70_usize);
    let given = (shapes, produce::<Vec<u8>>(), produce::<Vec<u8>>());
    check!().with_generator(given).for_each(|((inputs, rows, columns), a, weights)| {
        let inputs = inputs * INPUTS_UNIT;
        let a = filled(a, rows * inputs);
        let weights: Vec<i8> =
            filled(weights, columns * inputs).iter().map(|it| it.cast_signed()).collect();
        let dot = |a: &[u8], weights: &[i8]| -> i32 {
            a.iter().zip(weights).map(|(a, w)| (i32::from(*a) - 128) * i32::from(*w)).sum()
        };
        let expected: Vec<i32> = a
            .chunks_exact(inputs)
            .flat_map(|a| weights.chunks_exact(inputs).map(move |weights| dot(a, weights)))
            .collect();
        for kernel in Kernel::available() {
            let mut out = vec![i32::MIN; expected.len()];
            Matrix::pack(kernel, &weights, inputs).multiply(&a, &mut out);
            assert_eq!(out, expected, "{kernel}: {rows} rows, {inputs} inputs, {columns} columns");
        }
    });
}

/// `bytes` over and over; none: the largest.
fn filled(bytes: &[u8], length: usize) -> Vec<u8> {
    let given = if bytes.is_empty() { &[u8::MAX] } else { bytes };
    given.iter().copied().cycle().take(length).collect()
}
