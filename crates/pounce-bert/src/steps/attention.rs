//! Scaled dot-product attention in several heads, within one post.
//!
//! Attention(Q, K, V) = softmax(Q K^T / sqrt(width of a head)) V (Vaswani et al., "Attention Is All
//! You Need", 2017, equation 1). The root is part of the queries' weights already.

use pounce_kernels::Kernel;

use crate::activations::{Product, Quantised, quantise};
use crate::buffer::Buffer;
use crate::lanes::{LANES, Lanes, weighted_sums};
use crate::math::{exp, max};

/// Keys, then queries, computed side by side, so that what they are multiplied with is loaded once for
/// all of them.
const SIDE: usize = 4;

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
    /// The queries' sums transposed, `head x queries`, the number of queries rounded up to [`LANES`].
    query_sums: Buffer<[i32; LANES]>,
    /// The queries that they mean.
    queries: Buffer<[f32; LANES]>,
    /// `tokens x head`, the width of a head rounded up to [`LANES`].
    keys: Buffer<[f32; LANES]>,
    /// The same.
    values: Buffer<[f32; LANES]>,
    /// `tokens x queries`, rounded up as the queries: every step of the softmax is one of whole
    /// registers.
    weights: Buffer<[f32; LANES]>,
    /// 1 / the sum of each query's weights.
    inverse_sums: Buffer<[f32; LANES]>,
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
    let Buffers { query_sums, queries, keys, values, weights, inverse_sums, context } = buffers;
    let (count, tokens) = (post.queries.row_scales.len(), post.keys_values.row_scales.len());
    let (query_lanes, head_lanes) = (count.div_ceil(LANES), head.div_ceil(LANES));
    transposed(post.queries, at, head, query_sums, queries);
    vectors(post.keys_values, at, head, keys);
    vectors(post.keys_values, hidden + at, head, values);
    weights.resize(tokens * query_lanes);
    inverse_sums.resize(query_lanes);
    // K Q^T
    for first in (0..tokens).step_by(SIDE) {
        // The last keys may be fewer: the last one is then computed again, and not kept.
        let key = |i: usize| {
            let vector = &keys[(first + i).min(tokens - 1) * head_lanes..][..head_lanes];
            &vector.as_flattened()[..head]
        };
        let keys = key(0).iter().zip(key(1)).zip(key(2)).zip(key(3));
        weighted_sums(
            queries,
            query_lanes,
            keys.map(|(((a, b), c), d)| [a, b, c, d]),
            #[inline(always)]
            |key, lane, scores| {
                if first + key < tokens {
                    weights[(first + key) * query_lanes + lane] = scores.0;
                }
            },
        );
    }
    softmax(weights, inverse_sums);
    // softmax V
    for first in (0..count).step_by(SIDE) {
        let (lane, within) = (first / LANES, first % LANES);
        let inverse_sums = &inverse_sums[lane][within..][..SIDE];
        let weights = weights[lane..].chunks(query_lanes);
        weighted_sums(
            values,
            head_lanes,
            weights.map(|row| {
                let row = &row[0][within..][..SIDE];
                [&row[0], &row[1], &row[2], &row[3]]
            }),
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

/// e^(score - the query's largest score) in place, for scores of `tokens x queries`; writes 1 / the
/// sum of each query's.
#[inline(always)]
fn softmax(scores: &mut [[f32; LANES]], inverse_sums: &mut [[f32; LANES]]) {
    let lanes = inverse_sums.len();
    for (lane, inverse_sums) in inverse_sums.iter_mut().enumerate() {
        let lowest = Lanes([f32::MIN; LANES]);
        let scores = &mut scores[lane..];
        let largest = scores.chunks(lanes).fold(lowest, |a, b| a.zip(Lanes(b[0]), max));
        let mut sums = Lanes::default();
        for score in scores.chunks_mut(lanes) {
            let weights = Lanes(score[0]).zip(largest, |score, largest| exp(score - largest));
            sums = sums.zip(weights, |sum, weight| sum + weight);
            score[0] = weights.0;
        }
        *inverse_sums = sums.map(|sum| 1.0 / sum).0;
    }
}
