//! What stands between two products: rows of numbers rounded to 8 bits, and sums of products.

use pounce_kernels::{Kernel, ZERO_POINT};

use crate::lanes::largest;
use crate::math::{ROUND, max};
use crate::weights::Linear;

/// Vectors of tokens in 8 bits, each with a scale of its own: `x = (value - 128) * scale`.
///
/// A token's scale depends on that token alone, so that a post's score does not depend on the posts
/// beside it. The same rule as `training/quantise.py` writes into the ONNX graph.
#[derive(Debug, Default)]
pub(crate) struct Quantised {
    pub(crate) values: Vec<u8>,
    pub(crate) scales: Vec<f32>,
}

impl Quantised {
    /// Room for `rows x width`; nothing is allocated once it was as large.
    pub(crate) fn resize(&mut self, rows: usize, width: usize) {
        self.values.resize(rows * width, ZERO_POINT);
        self.scales.resize(rows, 0.0);
    }
}

/// Sums of products of [`Quantised`] rows and a [`Linear`] layer's matrix, not yet numbers.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a> {
    /// `rows x columns`.
    pub(crate) sums: &'a [i32],
    /// One a row: what the activations were divided by.
    pub(crate) row_scales: &'a [f32],
    /// Whose scales and bias make numbers of the sums.
    pub(crate) linear: &'a Linear,
}

impl<'a> Product<'a> {
    /// x W, for `x` of whole rows; the sums are kept at the front of `sums`, which never shrinks: a
    /// wider product after a narrower one would clear what it is about to overwrite.
    pub(crate) fn of(x: &'a Quantised, linear: &'a Linear, sums: &'a mut Vec<i32>) -> Self {
        let count = x.scales.len() * linear.matrix.columns();
        if sums.len() < count {
            sums.resize(count, 0);
        }
        let sums = &mut sums[..count];
        linear.matrix.multiply(&x.values, sums);
        Self { sums, row_scales: &x.scales, linear }
    }

    /// The rows, as [`ProductRow`]s.
    #[inline(always)]
    pub(crate) fn rows(self) -> impl Iterator<Item = ProductRow<'a>> {
        let rows = self.sums.chunks_exact(self.linear.matrix.columns()).zip(self.row_scales);
        rows.map(move |(sums, &scale)| ProductRow { sums, scale, linear: self.linear })
    }

    /// Writes x W + b, `rows x columns`.
    pub(crate) fn dequantise(self, kernel: Kernel, out: &mut Vec<f32>) {
        out.resize(self.sums.len(), 0.0);
        kernel.run(
            #[inline(always)]
            || {
                let columns = self.linear.matrix.columns();
                for (row, out) in self.rows().zip(out.chunks_exact_mut(columns)) {
                    for (out, number) in out.iter_mut().zip(row.numbers()) {
                        *out = number;
                    }
                }
            },
        );
    }
}

/// One token's row of a [`Product`].
#[derive(Clone, Copy)]
pub(crate) struct ProductRow<'a> {
    sums: &'a [i32],
    scale: f32,
    linear: &'a Linear,
}

impl<'a> ProductRow<'a> {
    /// sum * scale of the column * scale of the row + bias, for each column.
    #[inline(always)]
    #[allow(clippy::cast_precision_loss, reason = "a sum's rounding is far below a step of 8 bits")]
    pub(crate) fn numbers(self) -> impl Iterator<Item = f32> + 'a {
        let columns = self.sums.iter().zip(&self.linear.scales).zip(&self.linear.bias);
        columns.map(move |((&sum, &scale), &bias)| sum as f32 * scale * self.scale + bias)
    }
}

/// Rounds one token's vector to 8 bits around 128; returns its scale, the largest absolute value /
/// 127.
#[inline(always)]
pub(crate) fn quantise(x: &[f32], values: &mut [u8]) -> f32 {
    /// Keeps the scale of a vector of zeros above zero.
    const TINY: f32 = 1e-9;
    let range = max(largest(x), TINY);
    let steps = (1.0 / range) * 127.0;
    for (value, x) in values.iter_mut().zip(x) {
        // The number rounded, plus 128, stands in the low bits.
        *value = ((x * steps + (ROUND + 128.0)).to_bits() & 0xff) as u8;
    }
    range * (1.0 / 127.0)
}
