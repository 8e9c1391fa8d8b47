//! One file a product: u8 activations times i8 weights, summed in i32.
//!
//! Each computes a tile of the result at a time, some rows by the columns of a panel, with its sums
//! in registers. Rows are spread evenly over tiles: 25 rows in tiles of up to 8 are 7 + 6 + 6 + 6,
//! since a tile of one row waits for memory and for its own sums.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512_vnni;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx_vnni;
#[cfg(target_arch = "aarch64")]
pub(crate) mod i8mm;
pub(crate) mod portable;

/// How a product wants its matrix, see `matrix.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Columns of a panel.
    pub(crate) panel: usize,
    /// Inputs of a column side by side.
    pub(crate) group: usize,
}

/// Splits `rows` into as few tiles of at most `tile` rows as there can be, evenly.
/// Yields each tile's first row and number of rows.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
fn tiles(rows: usize, tile: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = rows.div_ceil(tile);
    let edge = move |tile: usize| tile * rows / count;
    (0..count).map(move |tile| (edge(tile), edge(tile + 1) - edge(tile)))
}

/// Writes a tile's row where it belongs, `out`: a last panel may be wider than what is left.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
fn store<const COLUMNS: usize>(row: &[i32; COLUMNS], out: &mut [i32]) {
    match out.first_chunk_mut() {
        Some(out) => *out = *row,
        None => out.copy_from_slice(&row[..out.len()]),
    }
}
