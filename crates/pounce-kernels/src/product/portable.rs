//! Plain loops, for processors that no other product is for, and what the others are tested by.
//!
//! The compiler turns the sum into the vector instructions of the target it compiles for.

use super::Layout;
use crate::packed::Packed;
use crate::packed::ZERO_POINT;

/// Each column's inputs side by side, as they came.
pub(crate) const LAYOUT: Layout = Layout { panel: 1, group: crate::packed::INPUTS_MULTIPLE };

#[inline(always)]
pub(crate) fn multiply(a: &[u8], b: &Packed, out: &mut [i32]) {
    let rows = a.chunks_exact(b.inputs()).zip(out.chunks_exact_mut(b.columns()));
    for (a, out) in rows {
        for (weights, out) in b.weights().chunks_exact(b.inputs()).zip(out) {
            *out = dot(a, weights);
        }
    }
}

/// The same, compiled for the dot product of four bytes that ARM has since v8.2.
#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon,dotprod")]
pub(crate) fn multiply_dotprod(a: &[u8], b: &Packed, out: &mut [i32]) {
    multiply(a, b, out);
}

#[inline(always)]
fn dot(a: &[u8], weights: &[i8]) -> i32 {
    // With its highest bit turned over, a u8 around 128 is an i8 around zero.
    let signed = |a: u8| i32::from((a ^ ZERO_POINT).cast_signed());
    a.iter().zip(weights).map(|(&a, &weight)| signed(a) * i32::from(weight)).sum()
}
