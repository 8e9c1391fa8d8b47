//! AVX-VNNI: `vpdpbusd` on 256 bits adds four products u8 x i8 to each of eight sums. For
//! processors without AVX-512, such as Intel's since Alder Lake.
//!
//! 16 registers: 4 rows by 3 registers of columns are summed, three hold the weights, one a row's
//! activations.

use std::arch::x86_64::{
    __m256i, _mm256_dpbusd_avx_epi32, _mm256_set1_epi32, _mm256_setzero_si256,
};

use super::{Layout, tiles};
use crate::packed::Packed;

const ROWS: usize = 4;
const REGISTERS: usize = 3;
const COLUMNS: usize = REGISTERS * 8;

pub(crate) const LAYOUT: Layout = Layout { panel: COLUMNS, group: 4 };

/// A panel's weights of four inputs.
type Step = [[[i8; 32]; REGISTERS]];

#[target_feature(enable = "avx2,avxvnni")]
pub(crate) fn multiply(a: &[u8], b: &Packed, out: &mut [i32]) {
    let (inputs, columns) = (b.inputs(), b.columns());
    let rows = a.len() / inputs;
    let panels = b.weights().chunks_exact(inputs * COLUMNS).zip(b.start().chunks_exact(COLUMNS));
    for (panel, (weights, start)) in panels.enumerate() {
        let weights: &Step = bytemuck::cast_slice(weights);
        let start: &[[i32; 8]] = bytemuck::cast_slice(start);
        let first = panel * COLUMNS;
        for (row, count) in tiles(rows, ROWS) {
            let a = &a[row * inputs..][..count * inputs];
            let out = &mut out[row * columns..][..count * columns];
            match count {
                4 => tile::<4>(a, weights, start, out, first),
                3 => tile::<3>(a, weights, start, out, first),
                2 => tile::<2>(a, weights, start, out, first),
                _ => tile::<1>(a, weights, start, out, first),
            }
        }
    }
}

/// `R` rows by one panel.
#[target_feature(enable = "avx2,avxvnni")]
fn tile<const R: usize>(
    a: &[u8],
    weights: &Step,
    start: &[[i32; 8]],
    out: &mut [i32],
    first: usize,
) {
    let steps = weights.len();
    let (a, _) = a.as_chunks::<4>();
    let mut rows: [&[[u8; 4]]; R] = [&[]; R];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = &a[r * steps..][..steps];
    }
    let mut sums = [[_mm256_setzero_si256(); REGISTERS]; R];
    for row in &mut sums {
        for (sum, start) in row.iter_mut().zip(start) {
            *sum = bytemuck::cast(*start);
        }
    }
    for step in 0..steps {
        let weights: [__m256i; REGISTERS] = weights[step].map(|weights| bytemuck::cast(weights));
        for (row, sums) in rows.iter().zip(&mut sums) {
            let a = _mm256_set1_epi32(i32::from_le_bytes(row[step]));
            for (sum, weights) in sums.iter_mut().zip(weights) {
                *sum = _mm256_dpbusd_avx_epi32(*sum, a, weights);
            }
        }
    }
    let columns = out.len() / R;
    for (row, out) in sums.iter().zip(out.chunks_exact_mut(columns)) {
        let row: [i32; COLUMNS] = bytemuck::cast(*row);
        super::store(&row, &mut out[first..]);
    }
}
