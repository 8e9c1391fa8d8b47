//! Sixteen numbers computed side by side: a whole number of vector registers on every kernel.
//!
//! Sums are kept apart in lanes and added up in one order, so that every kernel gives the same bits.

use crate::math::max;

/// Numbers side by side.
pub(crate) const LANES: usize = 16;

/// Numbers side by side.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Lanes(pub(crate) [f32; LANES]);

impl Lanes {
    /// See [`load`].
    #[inline(always)]
    pub(crate) fn load(x: &[f32]) -> Self {
        Self(load(x))
    }

    /// A product's sums as numbers.
    #[inline(always)]
    #[allow(clippy::cast_precision_loss, reason = "a sum's rounding is far below a step of 8 bits")]
    pub(crate) fn of_sums(sums: [i32; LANES]) -> Self {
        let mut lanes = Self::default();
        for (lane, sum) in lanes.0.iter_mut().zip(&sums) {
            *lane = *sum as f32;
        }
        lanes
    }

    /// Writes to the first numbers of `x`; what has no place there is dropped.
    #[inline(always)]
    pub(crate) fn store(self, x: &mut [f32]) {
        if let Some(x) = x.first_chunk_mut() {
            *x = self.0;
            return;
        }
        let count = x.len();
        x.copy_from_slice(&whole(self.0)[..count]);
    }

    /// Lane by lane.
    #[inline(always)]
    pub(crate) fn map(mut self, f: impl Fn(f32) -> f32) -> Self {
        for lane in 0..LANES {
            self.0[lane] = f(self.0[lane]);
        }
        self
    }

    /// Lane by lane with another's.
    #[inline(always)]
    pub(crate) fn zip(mut self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        for lane in 0..LANES {
            self.0[lane] = f(self.0[lane], other.0[lane]);
        }
        self
    }

    /// Sum of all lanes, as a tree.
    #[inline(always)]
    pub(crate) fn sum(self) -> f32 {
        self.fold(|a, b| a + b)
    }

    /// The largest lane.
    #[inline(always)]
    pub(crate) fn largest(self) -> f32 {
        self.fold(max)
    }

    #[inline(always)]
    fn fold(self, f: impl Fn(f32, f32) -> f32) -> f32 {
        let eight: [f32; 8] = halve(&whole(self.0), &f);
        let four: [f32; 4] = halve(&eight, &f);
        let [a, b] = halve(&four, &f);
        f(a, b)
    }
}

/// The same, where lanes are about to be used one by one: seeing that, the compiler would take them
/// apart where they are computed too.
#[inline(always)]
fn whole<T>(lanes: [T; LANES]) -> [T; LANES] {
    std::hint::black_box(lanes)
}

/// The first numbers of `x`; where they are fewer, zeros follow.
#[inline(always)]
pub(crate) fn load<T: Copy + Default>(x: &[T]) -> [T; LANES] {
    if let Some(x) = x.first_chunk() {
        return *x;
    }
    let mut lanes = [T::default(); LANES];
    lanes[..x.len()].copy_from_slice(x);
    whole(lanes)
}

/// The first half of `x` with the second.
#[inline(always)]
fn halve<const HALF: usize>(x: &[f32], f: impl Fn(f32, f32) -> f32) -> [f32; HALF] {
    let mut halves = [0.0; HALF];
    for lane in 0..HALF {
        halves[lane] = f(x[lane], x[lane + HALF]);
    }
    halves
}

/// Folds a row into lanes, each the numbers that are [`LANES`] apart, from zero.
#[inline(always)]
fn fold(x: &[f32], f: impl Fn(f32, f32) -> f32) -> Lanes {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut lanes = Lanes::default();
    for chunk in chunks {
        lanes = lanes.zip(Lanes(*chunk), &f);
    }
    for (lane, &x) in lanes.0.iter_mut().zip(rest) {
        *lane = f(*lane, x);
    }
    lanes
}

/// Sum over a row of `of` each number.
#[inline(always)]
pub(crate) fn sum(x: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    fold(x, |sum, x| sum + of(x)).sum()
}

/// The largest absolute value of a row.
#[inline(always)]
pub(crate) fn largest(x: &[f32]) -> f32 {
    fold(x, |largest, x| max(x.abs(), largest)).largest()
}

/// `weights` (`4 x rows`, four of a row side by side) times `vectors` (`rows x width`, a width counted
/// in [`Lanes`]); hands each result's row and place in the width to `write`.
#[inline(always)]
pub(crate) fn weighted_sums<'a>(
    vectors: &[[f32; LANES]],
    width: usize,
    weights: impl Iterator<Item = [&'a f32; 4]> + Clone,
    mut write: impl FnMut(usize, usize, Lanes),
) {
    let mut at = 0;
    while at + 2 <= width {
        columns::<2>(vectors, width, at, weights.clone(), &mut write);
        at += 2;
    }
    if at < width {
        columns::<1>(vectors, width, at, weights, &mut write);
    }
}

/// `N` places of the width from `at` on: their sums are kept in registers.
#[inline(always)]
fn columns<'a, const N: usize>(
    vectors: &[[f32; LANES]],
    width: usize,
    at: usize,
    weights: impl Iterator<Item = [&'a f32; 4]>,
    write: &mut impl FnMut(usize, usize, Lanes),
) {
    let mut sums = [[Lanes::default(); N]; 4];
    for (vectors, [a, b, c, d]) in vectors[at..].chunks(width).zip(weights) {
        let vectors: &[[f32; LANES]; N] = vectors.first_chunk().expect("within the width");
        for n in 0..N {
            let vector = Lanes(vectors[n]);
            sums[0][n] = sums[0][n].zip(vector, |sum, x| x.mul_add(*a, sum));
            sums[1][n] = sums[1][n].zip(vector, |sum, x| x.mul_add(*b, sum));
            sums[2][n] = sums[2][n].zip(vector, |sum, x| x.mul_add(*c, sum));
            sums[3][n] = sums[3][n].zip(vector, |sum, x| x.mul_add(*d, sum));
        }
    }
    // One after the other: in a loop over rows the sums would leave their registers.
    let [a, b, c, d] = sums;
    for n in 0..N {
        write(0, at + n, a[n]);
        write(1, at + n, b[n]);
        write(2, at + n, c[n]);
        write(3, at + n, d[n]);
    }
}
