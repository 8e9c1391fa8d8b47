//! What depends on the processor: products of 8-bit integers, and loops compiled for its vectors.
//!
//! A [`Kernel`] is a set of instructions that this processor has; it can't be had otherwise.
//! [`Matrix`] multiplies with it, and [`Kernel::run`] runs plain loops compiled for it.
//!
//! Every kernel gives the same bits. The products are sums of integers that can't overflow, and the
//! loops are plain Rust, whose floating-point operations are rounded as IEEE 754 says: the compiler
//! fuses nothing that is not written as `mul_add`, nor does it reorder a sum.
//!
//! This is the only crate of the workspace with `unsafe` code: in `dispatch.rs` the calls from code
//! for any processor into code for one that has certain instructions, and in `product/i8mm.rs` one
//! instruction that has no stable intrinsic.

mod dispatch;
mod matrix;
mod packed;
mod product;

pub use dispatch::{Kernel, KernelError};
pub use matrix::Matrix;
pub use packed::{INPUTS_MULTIPLE, ZERO_POINT};
