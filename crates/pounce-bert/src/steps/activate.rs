//! The nonlinearity between two linear layers.

use pounce_kernels::Kernel;

use crate::activations::{Product, Quantised, quantise};
use crate::buffer::Buffer;
use crate::config::Activation;
use crate::math;

/// f(x) for each row of `x`, rounded; `row` is a buffer for one of them.
pub(crate) fn activate(
    kernel: Kernel,
    x: Product,
    activation: Activation,
    row: &mut Buffer<f32>,
    rounded: &mut Quantised,
) {
    match activation {
        Activation::Gelu => rows(kernel, x, math::gelu, row, rounded),
        Activation::GeluTanh => rows(kernel, x, math::gelu_tanh, row, rounded),
        Activation::Relu => rows(kernel, x, math::relu, row, rounded),
        Activation::Tanh => rows(kernel, x, math::tanh, row, rounded),
    }
}

fn rows(
    kernel: Kernel,
    x: Product,
    f: impl Fn(f32) -> f32,
    row: &mut Buffer<f32>,
    rounded: &mut Quantised,
) {
    let width = x.linear.matrix.columns();
    row.resize(width);
    rounded.resize(x.row_scales.len(), width);
    kernel.run(
        #[inline(always)]
        || {
            for (x, (values, scale)) in x.rows().zip(rounded.rows_mut(width)) {
                for (y, x) in row.iter_mut().zip(x.numbers()) {
                    *y = f(x);
                }
                *scale = quantise(row, values);
            }
        },
    );
}
