//! Scaled dot-product attention in several heads, within one post.
//!
//! Attention(Q, K, V) = softmax(Q K^T / sqrt(width of a head)) V (Vaswani et al., "Attention Is All
//! You Need", 2017, equation 1). The root is part of the queries' weights already.

use pounce_kernels::Kernel;

use crate::activations::{Quantised, quantise};
use crate::lanes::{LANES, Lanes, sum, weighted_sums};
use crate::math::{exp, max};

/// Queries computed side by side, so that a key is loaded once for all of them.
const QUERIES: usize = 4;

/// A post's vectors, row-major.
#[derive(Clone, Copy)]
pub(crate) struct Post<'a> {
    /// `queries x hidden`; all tokens' or [CLS]'s alone.
    pub(crate) queries: &'a [f32],
    /// `tokens x 2 hidden`: a token's key, then its value.
    pub(crate) keys_values: &'a [f32],
}

/// Buffers for one head of one post.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// Keys transposed, `head x tokens`, the number of tokens rounded up to [`LANES`].
    keys: Vec<Lanes>,
    /// `tokens x head`, the width of a head rounded up to [`LANES`].
    values: Vec<Lanes>,
    /// `QUERIES x tokens`, rounded up as the keys'.
    weights: Vec<f32>,
    /// `queries x hidden`: what attention found.
    context: Vec<f32>,
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
    let queries = post.queries.len() / hidden;
    buffers.context.resize(queries * hidden, 0.0);
    let values = rounded.values[first * hidden..].chunks_exact_mut(hidden);
    let scales = &mut rounded.scales[first..];
    kernel.run(
        #[inline(always)]
        || {
            for head in 0..heads {
                attend_head(post, hidden, head * (hidden / heads), hidden / heads, buffers);
            }
            for ((x, values), scale) in buffers.context.chunks_exact(hidden).zip(values).zip(scales)
            {
                *scale = quantise(x, values);
            }
        },
    );
}

/// One head: columns `at..at + head` of the vectors.
#[inline(always)]
fn attend_head(post: Post, hidden: usize, at: usize, head: usize, buffers: &mut Buffers) {
    let Buffers { keys, values, weights, context } = buffers;
    let tokens = post.keys_values.len() / (2 * hidden);
    let (token_lanes, head_lanes) = (tokens.div_ceil(LANES), head.div_ceil(LANES));
    transpose_keys(post.keys_values, hidden, at, head, keys);
    copy_values(post.keys_values, hidden, at, head, values);
    let row = token_lanes * LANES;
    weights.resize(QUERIES * row, 0.0);
    let count = post.queries.len() / hidden;
    for first in (0..count).step_by(QUERIES) {
        // The last queries may be fewer: the last one is then computed again, and not kept.
        let query = |i: usize| &post.queries[(first + i).min(count - 1) * hidden + at..][..head];
        let queries = [query(0), query(1), query(2), query(3)];
        // Q K^T
        weighted_sums(
            keys,
            token_lanes,
            queries,
            #[inline(always)]
            |query, lane, scores| {
                scores.store(&mut weights[query * row + lane * LANES..]);
            },
        );
        let mut inverse_sums = [0.0; QUERIES];
        for (scores, inverse) in weights.chunks_exact_mut(row).zip(&mut inverse_sums) {
            *inverse = softmax(scores, tokens);
        }
        // softmax V
        let weight = |i: usize| &weights[i * row..][..tokens];
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

#[inline(always)]
fn transpose_keys(from: &[f32], hidden: usize, at: usize, head: usize, keys: &mut Vec<Lanes>) {
    /// Tokens and columns turned over together, in registers.
    const SIDE: usize = 4;
    let lanes = (from.len() / (2 * hidden)).div_ceil(LANES);
    keys.resize(head * lanes, Lanes::default());
    for (block, rows) in from.chunks(SIDE * 2 * hidden).enumerate() {
        let (lane, within) = (block * SIDE / LANES, block * SIDE % LANES);
        let count = rows.len() / (2 * hidden);
        // The last tokens may be fewer: the last one then stands in for the others.
        let row = |i: usize| &rows[i.min(count - 1) * 2 * hidden + at..][..head];
        let [a, b, c, d] = [row(0), row(1), row(2), row(3)];
        for column in 0..head {
            let keys = &mut keys[column * lanes + lane].0[within..][..SIDE];
            keys.copy_from_slice(&[a[column], b[column], c[column], d[column]]);
        }
    }
}

#[inline(always)]
fn copy_values(from: &[f32], hidden: usize, at: usize, head: usize, values: &mut Vec<Lanes>) {
    let rows = from.chunks_exact(2 * hidden);
    let lanes = head.div_ceil(LANES);
    values.resize(rows.len() * lanes, Lanes::default());
    for (value, row) in values.chunks_exact_mut(lanes).zip(rows) {
        for (lane, value) in value.iter_mut().enumerate() {
            *value = Lanes::load(&row[hidden + at..][..head][lane * LANES..]);
        }
    }
}

/// e^(score - the largest score) in place, for scores of so many `tokens` and any numbers behind them;
/// returns 1 / the sum.
#[inline(always)]
fn softmax(scores: &mut [f32], tokens: usize) -> f32 {
    let (scores, _) = scores.as_chunks_mut::<LANES>();
    if let Some((last, others)) = scores.split_last_mut() {
        for lane in 0..LANES {
            last[lane] = if others.len() * LANES + lane < tokens { last[lane] } else { f32::MIN };
        }
    }
    let lowest = Lanes([f32::MIN; LANES]);
    let largest = scores.iter().fold(lowest, |a, &b| a.zip(Lanes(b), max)).largest();
    for scores in &mut *scores {
        *scores = Lanes(*scores).map(|score| exp(score - largest)).0;
    }
    // Behind the tokens this adds e^-87: too little to change a sum of at least 1.
    1.0 / sum(scores.as_flattened(), |weight| weight)
}
