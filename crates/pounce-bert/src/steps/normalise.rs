//! LayerNorm, alone and after a residual connection.
//!
//! LayerNorm(x) = (x - mean) / sqrt(variance + epsilon) * weight + bias, over a token's vector (Ba,
//! Kiros and Hinton, "Layer Normalization", 2016).

use pounce_kernels::Kernel;

use crate::activations::{Product, Quantised, quantise};
use crate::lanes::sum;
use crate::weights::LayerNorm;

/// x = LayerNorm(x + y) for each row of `x` (`rows x width`), both as numbers and rounded.
pub(crate) fn add_and_normalise(
    kernel: Kernel,
    y: Product,
    norm: &LayerNorm,
    x: &mut [f32],
    rounded: &mut Quantised,
) {
    let width = norm.weight.len();
    rounded.resize(x.len() / width, width);
    kernel.run(
        #[inline(always)]
        || {
            let rounded = rounded.rows_mut(width);
            for ((x, y), (values, scale)) in x.chunks_exact_mut(width).zip(y.rows()).zip(rounded) {
                for (x, y) in x.iter_mut().zip(y.numbers()) {
                    *x += y;
                }
                normalise(norm, x);
                *scale = quantise(x, values);
            }
        },
    );
}

/// One row in place.
#[inline(always)]
#[allow(clippy::cast_precision_loss, reason = "a width is far below 2^23")]
pub(crate) fn normalise(norm: &LayerNorm, x: &mut [f32]) {
    let count = x.len() as f32;
    let mean = sum(x, |x| x) / count;
    let variance = sum(x, |x| (x - mean) * (x - mean)) / count;
    let scale = 1.0 / (variance + norm.epsilon).sqrt();
    for ((x, weight), bias) in x.iter_mut().zip(&norm.weight).zip(&norm.bias) {
        *x = (*x - mean) * scale * weight + bias;
    }
}
