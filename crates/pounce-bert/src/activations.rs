//! What stands between two products: rows of numbers rounded to 8 bits, and sums of products.

use std::ops::Range;

use pounce_kernels::Kernel;

use crate::buffer::Buffer;
use crate::lanes::{LANES, Lanes, largest, load};
use crate::math::{ROUND, max};
use crate::weights::Linear;

/// Vectors of tokens in 8 bits, each with a scale of its own: `x = (value - 128) * scale`.
///
/// A token's scale depends on that token alone, so that a post's score does not depend on the posts
/// beside it. The same rule as `training/quantise.py` writes into the ONNX graph.
#[derive(Debug, Default)]
pub(crate) struct Quantised {
    pub(crate) values: Buffer<u8>,
    pub(crate) scales: Buffer<f32>,
}

impl Quantised {
    /// Room for `rows x width`.
    pub(crate) fn resize(&mut self, rows: usize, width: usize) {
        self.values.resize(rows * width);
        self.scales.resize(rows);
    }

    /// Each token's values, `width` of them, and its scale.
    #[inline(always)]
    pub(crate) fn rows_mut(&mut self, width: usize) -> impl Iterator<Item = (&mut [u8], &mut f32)> {
        self.values.chunks_exact_mut(width).zip(self.scales.iter_mut())
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
    /// x W, for `x` of whole rows; the sums are kept in `sums`.
    pub(crate) fn of(x: &'a Quantised, linear: &'a Linear, sums: &'a mut Buffer<i32>) -> Self {
        sums.resize(x.scales.len() * linear.matrix.columns());
        linear.matrix.multiply(&x.values, sums);
        Self { sums, row_scales: &x.scales, linear }
    }

    /// Some of the rows.
    pub(crate) fn of_rows(self, rows: Range<usize>) -> Self {
        let columns = self.linear.matrix.columns();
        let sums = &self.sums[rows.start * columns..rows.end * columns];
        Self { sums, row_scales: &self.row_scales[rows], ..self }
    }

    /// The rows, as [`ProductRow`]s.
    #[inline(always)]
    pub(crate) fn rows(self) -> impl Iterator<Item = ProductRow<'a>> {
        let rows = self.sums.chunks_exact(self.linear.matrix.columns()).zip(self.row_scales);
        rows.map(move |(sums, &scale)| ProductRow { sums, scale, linear: self.linear })
    }

    /// Writes x W + b, `rows x columns`.
    pub(crate) fn dequantise(self, kernel: Kernel, out: &mut Buffer<f32>) {
        out.resize(self.sums.len());
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

    /// The same of the columns from `at` on, as many as there are lanes.
    #[inline(always)]
    pub(crate) fn lanes(self, at: usize) -> Lanes {
        let numbers = |sums: [i32; LANES], scales, bias| {
            Lanes::of_sums(sums)
                .zip(Lanes(scales), |sum, scale| sum * scale)
                .map(|number| number * self.scale)
                .zip(Lanes(bias), |number, bias| number + bias)
        };
        let (sums, scales) = (&self.sums[at..], &self.linear.scales[at..]);
        let bias = &self.linear.bias[at..];
        match (sums.first_chunk(), scales.first_chunk(), bias.first_chunk()) {
            (Some(sums), Some(scales), Some(bias)) => numbers(*sums, *scales, *bias),
            _ => numbers(load(sums), load(scales), load(bias)),
        }
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
