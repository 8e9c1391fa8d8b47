//! A matrix of 8-bit weights, laid out once for a kernel's product.
//!
//! Columns are grouped in panels as wide as the kernel's tile, so that a tile reads its part of the
//! matrix front to back (Goto and van de Geijn, "Anatomy of High-Performance Matrix
//! Multiplication", 2008). Within a panel come the inputs, some at a time; within these the columns;
//! and of each column as many inputs as one instruction multiplies and adds up. Weights of zero fill
//! the last of these.

use bytemuck::Zeroable;

use crate::dispatch::Kernel;
use crate::packed::{INPUTS_MULTIPLE, Line, Packed, ZERO_POINT};
use crate::product::Layout;

/// Longest sum that can't overflow: 2^31 / (128 * 128).
const INPUTS_MAX: usize = 1 << 17;

/// Weights, `inputs x columns`, symmetric 8-bit integers, for one kernel.
#[derive(Debug)]
pub struct Matrix {
    kernel: Kernel,
    packed: Packed,
}

impl Matrix {
    /// Lays out weights given column by column, `columns x inputs`, as PyTorch stores a linear
    /// layer.
    /// # Panics
    /// If `inputs` is zero, more than 131,072 or no multiple of [`INPUTS_MULTIPLE`], or if `weights`
    /// is empty or no multiple of it.
    #[must_use]
    pub fn pack(kernel: Kernel, weights: &[i8], inputs: usize) -> Self {
        assert!(inputs > 0 && inputs <= INPUTS_MAX && inputs.is_multiple_of(INPUTS_MULTIPLE));
        assert!(!weights.is_empty() && weights.len().is_multiple_of(inputs));
        let columns = weights.len() / inputs;
        let Layout { panel, group } = kernel.layout();
        let panels = columns.div_ceil(panel);
        let inputs_padded = inputs.next_multiple_of(group);
        let bytes = panels * panel * inputs_padded;
        let mut lines = vec![Line::zeroed(); bytes.div_ceil(size_of::<Line>())];
        let mut start = vec![0; panels * panel];
        let packed: &mut [i8] = bytemuck::cast_slice_mut(&mut lines);
        for (column, weights) in weights.chunks_exact(inputs).enumerate() {
            let (at, within) = (column / panel * panel * inputs_padded, column % panel);
            for (step, weights) in weights.chunks(group).enumerate() {
                let at = at + (step * panel + within) * group;
                packed[at..][..weights.len()].copy_from_slice(weights);
            }
            let sum: i32 = weights.iter().map(|&weight| i32::from(weight)).sum();
            start[column] = -i32::from(ZERO_POINT) * sum;
        }
        Self { kernel, packed: Packed { lines, start, inputs, inputs_padded, columns } }
    }

    /// Rows of the matrix: values of an activation.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.packed.inputs
    }

    /// Columns of the matrix: values of a result.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.packed.columns
    }

    /// `out` (`rows x columns`) = (`a` - [`ZERO_POINT`]) * self, for `a` of `rows x inputs`, both
    /// row-major. Exact: nothing saturates. A row's result does not depend on the other rows.
    /// # Panics
    /// If `a` and `out` do not have the same number of whole rows.
    pub fn multiply(&self, a: &[u8], out: &mut [i32]) {
        let rows = a.len() / self.inputs();
        assert_eq!((a.len(), out.len()), (rows * self.inputs(), rows * self.columns()));
        self.kernel.multiply(a, &self.packed, out);
    }
}
