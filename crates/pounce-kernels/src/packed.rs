//! A matrix as the kernels read it: panels of columns, laid out step by step.

use bytemuck::{Pod, Zeroable};

/// The number of inputs of a [`Matrix`](crate::Matrix) is a multiple of this.
pub const INPUTS_MULTIPLE: usize = 4;

/// Activations are unsigned; this value stands for zero.
pub const ZERO_POINT: u8 = 128;

/// A cache line, so that vectors are loaded aligned.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [i8; 64]);

/// What a kernel's product reads.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) lines: Vec<Line>,
    /// Of each column `-ZERO_POINT * sum`, what the zero point of the activations adds; as many as
    /// the panels have columns.
    pub(crate) start: Vec<i32>,
    pub(crate) inputs: usize,
    pub(crate) inputs_padded: usize,
    pub(crate) columns: usize,
}

impl Packed {
    /// `panel`, step by step: `inputs_padded / group x columns of a panel x group`.
    pub(crate) fn weights(&self) -> &[i8] {
        &bytemuck::cast_slice(&self.lines)[..self.start.len() * self.inputs_padded()]
    }

    pub(crate) fn start(&self) -> &[i32] {
        &self.start
    }

    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Inputs with those that fill the last group, whose weights are zero: none where the size of a
    /// group divides [`INPUTS_MULTIPLE`].
    pub(crate) fn inputs_padded(&self) -> usize {
        self.inputs_padded
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }
}
