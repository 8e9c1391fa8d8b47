//! AVX2: `vpmaddwd` multiplies sixteen pairs of 16-bit integers and adds neighbours in 32 bits.
//!
//! AVX2 also has a product of bytes, `vpmaddubsw`, but its sums saturate at 16 bits: 255 * 127 + 255
//! * 127 does not fit, and a saturated sum is a wrong score without an error. So both factors are
//! widened to 16 bits first, the activations without their zero point: nothing can saturate.
//!
//! 16 registers: 4 rows by 3 registers of columns are summed, three hold the weights, one a row's
//! activations.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_cvtepi8_epi16, _mm256_madd_epi16, _mm256_set1_epi32,
    _mm256_setzero_si256,
};

use super::{Layout, tiles};
use crate::ZERO_POINT;
use crate::packed::Packed;

const ROWS: usize = 4;
const REGISTERS: usize = 3;
const COLUMNS: usize = REGISTERS * 8;

pub(crate) const LAYOUT: Layout = Layout { panel: COLUMNS, group: 2 };

/// Activations widened at a time: a tile's stay in the first-level cache.
const WIDENED: usize = 256;

/// A panel's weights of two inputs.
type Step = [[[i8; 16]; REGISTERS]];

#[target_feature(enable = "avx2")]
pub(crate) fn multiply(a: &[u8], b: &Packed, out: &mut [i32]) {
    let (inputs, columns) = (b.inputs(), b.columns());
    let rows = a.len() / inputs;
    for (panel, weights) in b.weights().chunks_exact(inputs * COLUMNS).enumerate() {
        let weights: &Step = bytemuck::cast_slice(weights);
        for (row, count) in tiles(rows, ROWS) {
            let a = &a[row * inputs..][..count * inputs];
            let out = &mut out[row * columns..][..count * columns];
            match count {
                4 => tile::<4>(a, weights, out, panel * COLUMNS),
                3 => tile::<3>(a, weights, out, panel * COLUMNS),
                2 => tile::<2>(a, weights, out, panel * COLUMNS),
                _ => tile::<1>(a, weights, out, panel * COLUMNS),
            }
        }
    }
}

/// `R` rows by one panel.
#[target_feature(enable = "avx2")]
fn tile<const R: usize>(a: &[u8], weights: &Step, out: &mut [i32], first: usize) {
    let inputs = 2 * weights.len();
    let mut sums = [[_mm256_setzero_si256(); REGISTERS]; R];
    let mut widened = [[0_i16; WIDENED]; R];
    for (part, weights) in weights.chunks(WIDENED / 2).enumerate() {
        for (row, widened) in a.chunks_exact(inputs).zip(&mut widened) {
            for (&a, widened) in row[part * WIDENED..].iter().zip(widened) {
                *widened = i16::from(a) - i16::from(ZERO_POINT);
            }
        }
        let rows: [&[[i16; 2]]; R] =
            widened.each_ref().map(|row| &row.as_chunks().0[..weights.len()]);
        for (step, weights) in weights.iter().enumerate() {
            let weights: [__m256i; REGISTERS] =
                weights.map(|weights| _mm256_cvtepi8_epi16(bytemuck::cast(weights)));
            for (row, sums) in rows.iter().zip(&mut sums) {
                let a = _mm256_set1_epi32(bytemuck::cast(row[step]));
                for (sum, weights) in sums.iter_mut().zip(weights) {
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(a, weights));
                }
            }
        }
    }
    let columns = out.len() / R;
    for (row, out) in sums.iter().zip(out.chunks_exact_mut(columns)) {
        let row: [i32; COLUMNS] = bytemuck::cast(*row);
        super::store(&row, &mut out[first..]);
    }
}
