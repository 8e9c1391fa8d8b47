//! ARM's i8mm: `usmmla` multiplies two rows of u8 by two columns of i8, eight inputs each, and adds
//! the results to the four sums of a register.
//!
//! 32 registers: 3 pairs of rows by 8 pairs of columns are summed, three hold the activations, the
//! others the weights. An odd last row is multiplied twice and stored once.
//!
//! Rust's intrinsic for the instruction, `vusmmlaq_s32`, is not stable, hence the assembler.

use std::arch::aarch64::{int8x16_t, int32x4_t, uint8x16_t, vdupq_n_s32, vdupq_n_u8};
use std::arch::asm;

use super::{Layout, tiles};
use crate::packed::Packed;

/// Pairs of rows of a tile.
const PAIRS: usize = 3;
/// Pairs of columns of a panel, each one register of weights.
const REGISTERS: usize = 8;
const COLUMNS: usize = 2 * REGISTERS;

pub(crate) const LAYOUT: Layout = Layout { panel: COLUMNS, group: 8 };

/// A panel's weights of eight inputs.
type Step = [[i8; 16]; REGISTERS];

#[target_feature(enable = "neon,i8mm")]
pub(crate) fn multiply(a: &[u8], b: &Packed, out: &mut [i32]) {
    let (inputs, columns) = (b.inputs(), b.columns());
    let rows = a.len() / inputs;
    let panels =
        b.weights().chunks_exact(b.inputs_padded() * COLUMNS).zip(b.start().chunks_exact(COLUMNS));
    for (panel, (weights, start)) in panels.enumerate() {
        let weights: &[Step] = bytemuck::cast_slice(weights);
        let start: &[[i32; 2]] = bytemuck::cast_slice(start);
        let first = panel * COLUMNS;
        for (pair, pairs) in tiles(rows.div_ceil(2), PAIRS) {
            let row = 2 * pair;
            let count = (2 * pairs).min(rows - row);
            let a = &a[row * inputs..][..count * inputs];
            let out = &mut out[row * columns..][..count * columns];
            match pairs {
                3 => tile::<3>(a, inputs, weights, start, out, first),
                2 => tile::<2>(a, inputs, weights, start, out, first),
                _ => tile::<1>(a, inputs, weights, start, out, first),
            }
        }
    }
}

/// `P` pairs of rows, of which the last may be a single row, by one panel.
#[target_feature(enable = "neon,i8mm")]
fn tile<const P: usize>(
    a: &[u8],
    inputs: usize,
    weights: &[Step],
    start: &[[i32; 2]],
    out: &mut [i32],
    first: usize,
) {
    let count = a.len() / inputs;
    let columns = out.len() / count;
    let row = |row: usize| &a[row.min(count - 1) * inputs..][..inputs];
    let whole = inputs / 8;
    let mut rows: [[&[[u8; 8]]; 2]; P] = [[&[]; 2]; P];
    for (r, eights) in rows.as_flattened_mut().iter_mut().enumerate() {
        *eights = &row(r).as_chunks().0[..whole];
    }
    let mut sums = [[vdupq_n_s32(0); REGISTERS]; P];
    for sums in &mut sums {
        for (sum, &start) in sums.iter_mut().zip(start) {
            *sum = bytemuck::cast([start; 2]);
        }
    }
    let (weights, last_weights) = weights.split_at(whole);
    for step in 0..whole {
        let mut a = [vdupq_n_u8(0); P];
        for (a, [upper, lower]) in a.iter_mut().zip(&rows) {
            *a = bytemuck::cast([upper[step], lower[step]]);
        }
        add(&mut sums, &a, &weights[step]);
    }
    if let [weights] = last_weights {
        // Four inputs are left: four more have weights of zero.
        let mut a = [[[0; 8]; 2]; P];
        for (r, eight) in a.as_flattened_mut().iter_mut().enumerate() {
            eight[..4].copy_from_slice(&row(r)[8 * whole..]);
        }
        add(&mut sums, &a.map(bytemuck::cast), weights);
    }
    let mut out = out.chunks_exact_mut(columns);
    for sums in &sums {
        for (row, out) in rows_of(sums).iter().zip(&mut out) {
            super::store(row, &mut out[first..]);
        }
    }
}

/// Eight inputs of each pair of rows.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn add<const P: usize>(
    sums: &mut [[int32x4_t; REGISTERS]; P],
    a: &[uint8x16_t; P],
    weights: &Step,
) {
    for (column, &weights) in weights.iter().enumerate() {
        let weights = bytemuck::cast(weights);
        for (sums, &a) in sums.iter_mut().zip(a) {
            sums[column] = usmmla(sums[column], a, weights);
        }
    }
}

/// The two rows of `a` by the two columns of `weights`, eight inputs each, added to `sums`, two
/// columns a row. Nothing saturates.
#[inline]
#[target_feature(enable = "neon,i8mm")]
#[allow(unsafe_code, reason = "stable Rust has no intrinsic for this instruction")]
fn usmmla(mut sums: int32x4_t, a: uint8x16_t, weights: int8x16_t) -> int32x4_t {
    // SAFETY: the processor has the instruction, since it has this function's features. It reads
    // these three registers and writes the first, and touches neither memory nor flags.
    unsafe {
        asm!(
            "usmmla {sums:v}.4s, {a:v}.16b, {weights:v}.16b",
            sums = inout(vreg) sums,
            a = in(vreg) a,
            weights = in(vreg) weights,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// The two rows of a pair's sums.
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn rows_of(sums: &[int32x4_t; REGISTERS]) -> [[i32; COLUMNS]; 2] {
    let mut rows = [[[0; 2]; REGISTERS]; 2];
    for (register, &sums) in sums.iter().enumerate() {
        let [upper, lower]: [[i32; 2]; 2] = bytemuck::cast(sums);
        rows[0][register] = upper;
        rows[1][register] = lower;
    }
    bytemuck::cast(rows)
}
