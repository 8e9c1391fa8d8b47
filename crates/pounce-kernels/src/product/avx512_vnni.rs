//! AVX512-VNNI: `vpdpbusd` adds four products u8 x i8 to each of sixteen sums.
//!
//! 32 registers: 8 rows by 3 registers of columns are summed, three hold the weights.

use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_dpbusd_epi32, _mm512_set1_epi32, _mm512_setzero_si512,
};

use super::{Layout, tiles};
use crate::packed::Packed;

const ROWS: usize = 8;
const REGISTERS: usize = 3;
const COLUMNS: usize = REGISTERS * 16;

pub(crate) const LAYOUT: Layout = Layout { panel: COLUMNS, group: 4 };

/// A panel's weights of four inputs.
type Step = [[[i8; 64]; REGISTERS]];

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(crate) fn multiply(a: &[u8], b: &Packed, out: &mut [i32]) {
    let (inputs, columns) = (b.inputs(), b.columns());
    let rows = a.len() / inputs;
    let panels = b.weights().chunks_exact(inputs * COLUMNS).zip(b.start().chunks_exact(COLUMNS));
    for (panel, (weights, start)) in panels.enumerate() {
        let weights: &Step = bytemuck::cast_slice(weights);
        let start: &[[i32; 16]] = bytemuck::cast_slice(start);
        let first = panel * COLUMNS;
        for (row, count) in tiles(rows, ROWS) {
            let a = &a[row * inputs..][..count * inputs];
            let out = &mut out[row * columns..][..count * columns];
            match count {
                8 => tile::<8, 1>(a, weights, start, out, first),
                7 => tile::<7, 1>(a, weights, start, out, first),
                6 => tile::<6, 1>(a, weights, start, out, first),
                5 => tile::<5, 1>(a, weights, start, out, first),
                4 => tile::<4, 2>(a, weights, start, out, first),
                3 => tile::<3, 2>(a, weights, start, out, first),
                2 => tile::<2, 4>(a, weights, start, out, first),
                _ => tile::<1, 4>(a, weights, start, out, first),
            }
        }
    }
}

/// `R` rows by one panel. Sums are kept `S` times, for every `S`-th step each, where few rows would
/// leave the multiplier waiting for the last sum.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn tile<const R: usize, const S: usize>(
    a: &[u8],
    weights: &Step,
    start: &[[i32; 16]],
    out: &mut [i32],
    first: usize,
) {
    let steps = weights.len();
    let (a, _) = a.as_chunks::<4>();
    let mut rows: [&[[u8; 4]]; R] = [&[]; R];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = &a[r * steps..][..steps];
    }
    let mut sums = [[[_mm512_setzero_si512(); REGISTERS]; R]; S];
    for row in &mut sums[0] {
        for (sum, start) in row.iter_mut().zip(start) {
            *sum = bytemuck::cast(*start);
        }
    }
    let whole = steps / S * S;
    let mut step = 0;
    while step < whole {
        for (s, sums) in sums.iter_mut().enumerate() {
            add(sums, &rows, weights, step + s);
        }
        step += S;
    }
    while step < steps {
        add(&mut sums[0], &rows, weights, step);
        step += 1;
    }
    let (sums, more) = sums.split_first_mut().expect("S is not zero");
    for more in more {
        for (row, more) in sums.iter_mut().zip(more) {
            for (sum, more) in row.iter_mut().zip(more) {
                *sum = _mm512_add_epi32(*sum, *more);
            }
        }
    }
    let columns = out.len() / R;
    for (row, out) in sums.iter().zip(out.chunks_exact_mut(columns)) {
        let row: [i32; COLUMNS] = bytemuck::cast(*row);
        super::store(&row, &mut out[first..]);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn add<const R: usize>(
    sums: &mut [[__m512i; REGISTERS]; R],
    rows: &[&[[u8; 4]]; R],
    weights: &Step,
    step: usize,
) {
    let weights: [__m512i; REGISTERS] = weights[step].map(|weights| bytemuck::cast(weights));
    for (row, sums) in rows.iter().zip(sums) {
        let a = _mm512_set1_epi32(i32::from_le_bytes(row[step]));
        for (sum, weights) in sums.iter_mut().zip(weights) {
            *sum = _mm512_dpbusd_epi32(*sum, a, weights);
        }
    }
}
