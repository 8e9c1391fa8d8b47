//! Scaled dot-product attention in several heads, within one post.
//!
//! Attention(Q, K, V) = softmax(Q K^T / sqrt(width of a head)) V (Vaswani et al., "Attention Is All
//! You Need", 2017, equation 1). The root is part of the queries' weights already.

use pounce_kernels::Kernel;

use crate::activations::{Product, Quantised, quantise};
use crate::buffer::Buffer;
use crate::lanes::{LANES, Lanes, weighted_sums};
use crate::math::{exp, max, min};

/// Queries computed side by side, so that a key is loaded once for all of them.
const QUERIES: usize = 4;

/// A post's products with an attention layer's matrices.
#[derive(Clone, Copy)]
pub(crate) struct Post<'a> {
    /// `queries x hidden`; all tokens' or [CLS]'s alone.
    pub(crate) queries: Product<'a>,
    /// `tokens x 2 hidden`: a token's key, then its value.
    pub(crate) keys_values: Product<'a>,
}

/// Buffers for one head of one post.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// `queries x head`, the width of a head rounded up to [`LANES`].
    queries: Buffer<[f32; LANES]>,
    /// The keys' sums transposed, `head x tokens`, the number of tokens rounded up to [`LANES`].
    key_sums: Buffer<[i32; LANES]>,
    /// The keys that they mean.
    keys: Buffer<[f32; LANES]>,
    /// `tokens x head`, rounded up as the queries'.
    values: Buffer<[f32; LANES]>,
    /// `QUERIES x tokens`, rounded up as the keys'.
    weights: Buffer<f32>,
    /// `queries x hidden`: what attention found.
    context: Buffer<f32>,
}

/// Writes the heads' results side by side, `queries x hidden`, rounded, to rows `first..` of
/// `rounded`.
pub(crate) fn attend(
    kernel: Kernel,
    (heads, hidden): (usize, usize),
    post: Post,
    buffers: &mut Buffers,
    rounded: &mut Quantised,
    first: usize,
) {
    buffers.context.resize(post.queries.row_scales.len() * hidden);
    kernel.run(
        #[inline(always)]
        || {
            for head in 0..heads {
                attend_head(post, hidden, head * (hidden / heads), hidden / heads, buffers);
            }
            let rounded = rounded.rows_mut(hidden).skip(first);
            for (x, (values, scale)) in buffers.context.chunks_exact(hidden).zip(rounded) {
                *scale = quantise(x, values);
            }
        },
    );
}

/// One head: columns `at..at + head` of the vectors.
#[inline(always)]
fn attend_head(post: Post, hidden: usize, at: usize, head: usize, buffers: &mut Buffers) {
    let Buffers { queries, key_sums, keys, values, weights, context } = buffers;
    let (count, tokens) = (post.queries.row_scales.len(), post.keys_values.row_scales.len());
    let lanes = tokens.div_ceil(LANES);
    let width = lanes * LANES;
    vectors(post.queries, at, head, queries);
    transposed(post.keys_values, at, head, key_sums, keys);
    vectors(post.keys_values, hidden + at, head, values);
    weights.resize(QUERIES * width);
    let bounds = bounds(tokens);
    for first in (0..count).step_by(QUERIES) {
        let (scores, _) = weights.as_chunks_mut();
        // The last queries may be fewer: the last one is then computed again, and not kept.
        let head_lanes = head.div_ceil(LANES);
        let query = |i: usize| {
            let vector = &queries[(first + i).min(count - 1) * head_lanes..][..head_lanes];
            &vector.as_flattened()[..head]
        };
        let queries = [query(0), query(1), query(2), query(3)];
        // Q K^T
        weighted_sums(
            keys,
            lanes,
            queries,
            #[inline(always)]
            |query, lane, sums| scores[query * lanes + lane] = sums.0,
        );
        let mut inverse_sums = [0.0; QUERIES];
        for (scores, inverse) in weights.chunks_exact_mut(width).zip(&mut inverse_sums) {
            *inverse = softmax(scores, bounds);
        }
        // softmax V
        let weight = |i: usize| &weights[i * width..][..tokens];
        let weights = [weight(0), weight(1), weight(2), weight(3)];
        weighted_sums(
            values,
            head_lanes,
            weights,
            #[inline(always)]
            |query, lane, sums| {
                if first + query < count {
                    let row = &mut context[(first + query) * hidden + at..][..head];
                    sums.map(|sum| sum * inverse_sums[query]).store(&mut row[lane * LANES..]);
                }
            },
        );
    }
}

/// Columns `at..at + head` of a product, as numbers.
#[inline(always)]
fn vectors(of: Product, at: usize, head: usize, vectors: &mut Buffer<[f32; LANES]>) {
    let lanes = head.div_ceil(LANES);
    vectors.resize(of.row_scales.len() * lanes);
    for (vector, row) in vectors.chunks_exact_mut(lanes).zip(of.rows()) {
        for (lane, vector) in vector.iter_mut().enumerate() {
            *vector = row.lanes(at + lane * LANES).0;
        }
    }
}

/// The same turned over.
#[inline(always)]
fn transposed(
    of: Product,
    at: usize,
    head: usize,
    sums: &mut Buffer<[i32; LANES]>,
    vectors: &mut Buffer<[f32; LANES]>,
) {
    /// Rows and columns turned over together, in registers.
    const SIDE: usize = 4;
    let width = of.linear.matrix.columns();
    let lanes = of.row_scales.len().div_ceil(LANES);
    sums.resize(head * lanes);
    for (block, rows) in of.sums.chunks(SIDE * width).enumerate() {
        let (lane, within) = (block * SIDE / LANES, block * SIDE % LANES);
        let count = rows.len() / width;
        // The last rows may be fewer: the last one then stands in for the others.
        let row = |i: usize| &rows[i.min(count - 1) * width + at..][..head];
        let columns = row(0).iter().zip(row(1)).zip(row(2)).zip(row(3));
        for (sums, (((a, b), c), d)) in sums[lane..].chunks_mut(lanes).zip(columns) {
            sums[0][within..][..SIDE].copy_from_slice(&[*a, *b, *c, *d]);
        }
    }
    vectors.resize(head * lanes);
    for (lane, row_scales) in of.row_scales.chunks(LANES).enumerate() {
        let row_scales = Lanes::load(row_scales);
        let columns = of.linear.scales[at..].iter().zip(&of.linear.bias[at..]);
        let places = vectors[lane..].chunks_mut(lanes).zip(sums[lane..].chunks(lanes));
        for ((vectors, sums), (scale, bias)) in places.zip(columns) {
            vectors[0] = Lanes::of_sums(sums[0])
                .map(|sum| sum * scale)
                .zip(row_scales, |number, row_scale| number * row_scale)
                .map(|number| number + bias)
                .0;
        }
    }
}

/// The largest score that each of the last lanes may have: of places behind the tokens the lowest.
#[inline(always)]
fn bounds(tokens: usize) -> Lanes {
    let mut bounds = Lanes([f32::MAX; LANES]);
    let within = (tokens - 1) % LANES + 1;
    bounds.0[within..].fill(f32::MIN);
    bounds
}

/// e^(score - the largest score) in place, for scores whose last lanes are within `bounds`; returns 1 /
/// the sum.
#[inline(always)]
fn softmax(scores: &mut [f32], bounds: Lanes) -> f32 {
    let (scores, _) = scores.as_chunks_mut::<LANES>();
    if let Some(last) = scores.last_mut() {
        *last = Lanes(*last).zip(bounds, min).0;
    }
    let lowest = Lanes([f32::MIN; LANES]);
    let largest = scores.iter().fold(lowest, |a, &b| a.zip(Lanes(b), max)).largest();
    let mut sums = Lanes::default();
    for scores in scores {
        let weights = Lanes(*scores).map(|score| exp(score - largest));
        sums = sums.zip(weights, |sum, weight| sum + weight);
        *scores = weights.0;
    }
    // Behind the tokens this adds e^-87: too little to change a sum of at least 1.
    1.0 / sums.sum()
}
