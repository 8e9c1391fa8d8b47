//! The forward pass: the equations of BERT (Devlin et al., 2019) on packed posts.
//!
//! Capital letters stand for matrices of weights, small ones for vectors of tokens. Every product is
//! one of 8-bit integers: `x` is rounded where a step ends, a product's sums become numbers where
//! the next one begins (`activations.rs`).

use std::sync::Arc;

use pounce_kernels::Kernel;

use crate::activations::{Product, Quantised};
use crate::buffer::Buffer;
use crate::steps::activate::activate;
use crate::steps::attention::{self, Post, attend};
use crate::steps::embed::embed;
use crate::steps::normalise::add_and_normalise;
use crate::weights::{Layer, Weights};

/// Posts are computed together until they have so many tokens: enough for the products to run at
/// full speed, and their vectors stay in the second-level cache.
const GROUP_TOKENS: usize = 64;

/// Why posts can't be scored. Positions count from zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// The lengths do not add up to the ids.
    #[error("{ids} token ids for posts of {lengths} tokens together")]
    Lengths {
        /// Token ids given.
        ids: usize,
        /// Sum of the lengths.
        lengths: usize,
    },
    /// A post without tokens, or with more than there are positions for.
    #[error("post {post} has {tokens} tokens; from 1 to {max} can be read")]
    Tokens {
        /// Which post.
        post: usize,
        /// Its length.
        tokens: usize,
        /// The most.
        max: usize,
    },
    /// An id that is not in the vocabulary.
    #[error("token {at} has the id {id}; the vocabulary has {vocabulary} tokens")]
    Id {
        /// Which token of the batch.
        at: usize,
        /// Its id.
        id: i32,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
}

/// A classifier on one thread. Its buffers grow to the longest post seen, then nothing is allocated.
#[derive(Debug)]
pub struct Forward {
    weights: Arc<Weights>,
    buffers: Buffers,
    logits: Vec<f32>,
}

#[derive(Debug, Default)]
struct Buffers {
    /// Vectors of tokens, `tokens x hidden`; later of [CLS] alone, `posts x hidden`.
    x: Buffer<f32>,
    /// The same, rounded.
    x_rounded: Quantised,
    /// Rounded vectors of [CLS] alone, `posts x hidden`.
    first_rounded: Quantised,
    query_sums: Buffer<i32>,
    attention: attention::Buffers,
    /// What attention found, rounded.
    context: Quantised,
    /// One token's row.
    row: Buffer<f32>,
    /// Between the two layers of the feed-forward network, rounded.
    inner: Quantised,
    sums: Buffer<i32>,
}

/// Whose vectors a layer computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readers {
    /// Every token's.
    All,
    /// The first one's, [CLS]: the classifier reads no other, and a token's vector is read by others
    /// only in the next layer. Keys and values are computed of all tokens still.
    First,
}

impl Forward {
    /// A pass with buffers of its own over shared weights.
    #[must_use]
    pub fn new(weights: Arc<Weights>) -> Self {
        Self { weights, buffers: Buffers::default(), logits: Vec::new() }
    }

    /// Logits of posts, `posts x outputs`, row-major. `ids` are the posts' token ids one after the
    /// other, without padding, special tokens included; `lengths` says how many each post has.
    /// # Errors
    /// [`InputError`] if a post or an id is not within the model's limits.
    pub fn run(&mut self, ids: &[i32], lengths: &[usize]) -> Result<&[f32], InputError> {
        self.check(ids, lengths)?;
        self.logits.clear();
        let (mut ids, mut lengths) = (ids, lengths);
        while !lengths.is_empty() {
            let (posts, tokens) = group(lengths);
            self.buffers.classify(
                &self.weights,
                &ids[..tokens],
                &lengths[..posts],
                &mut self.logits,
            );
            (ids, lengths) = (&ids[tokens..], &lengths[posts..]);
        }
        Ok(&self.logits)
    }

    fn check(&self, ids: &[i32], lengths: &[usize]) -> Result<(), InputError> {
        let (max, vocabulary) = (self.weights.tokens_max(), self.weights.vocabulary());
        if let Some(post) = lengths.iter().position(|&tokens| tokens == 0 || tokens > max) {
            return Err(InputError::Tokens { post, tokens: lengths[post], max });
        }
        let sum = lengths.iter().sum();
        if sum != ids.len() {
            return Err(InputError::Lengths { ids: ids.len(), lengths: sum });
        }
        let known = |&id: &i32| usize::try_from(id).is_ok_and(|id| id < vocabulary);
        match ids.iter().position(|id| !known(id)) {
            Some(at) => Err(InputError::Id { at, id: ids[at], vocabulary }),
            None => Ok(()),
        }
    }
}

/// The first posts and their tokens, together [`GROUP_TOKENS`] or a little more.
fn group(lengths: &[usize]) -> (usize, usize) {
    let mut tokens = 0;
    let full = lengths.iter().position(|&length| {
        tokens += length;
        tokens >= GROUP_TOKENS
    });
    (full.map_or(lengths.len(), |last| last + 1), tokens)
}

impl Buffers {
    /// logits = f(x_[CLS] D + d) C + c, with D, d the pooler's.
    fn classify(&mut self, w: &Weights, ids: &[i32], lengths: &[usize], logits: &mut Vec<f32>) {
        self.embed(w, ids, lengths);
        let (last, others) =
            w.layers.split_last().expect("config.rs refuses models without layers");
        for layer in others {
            self.layer(w, layer, lengths, Readers::All);
        }
        self.layer(w, last, lengths, Readers::First);

        let dense = Product::of(&self.x_rounded, &w.dense, &mut self.sums);
        let f = w.config.classifier_activation;
        activate(w.kernel, dense, f, &mut self.row, &mut self.context);
        let product = Product::of(&self.context, &w.classifier, &mut self.sums);
        product.dequantise(w.kernel, &mut self.row);
        logits.extend_from_slice(&self.row);
    }

    /// x = LayerNorm(word + position + type), where embeddings are narrower than layers times P + p.
    fn embed(&mut self, w: &Weights, ids: &[i32], lengths: &[usize]) {
        let first_position = w.config.first_position;
        let x = (&mut self.x, &mut self.row);
        embed(w.kernel, &w.embeddings, first_position, ids, lengths, x, &mut self.x_rounded);
        if let Some(projection) = &w.embeddings.projection {
            let product = Product::of(&self.x_rounded, projection, &mut self.sums);
            product.dequantise(w.kernel, &mut self.x);
            round(w.kernel, &self.x, w.config.hidden, &mut self.x_rounded);
        }
    }

    /// One encoder layer (Vaswani et al., 2017, section 3.1).
    fn layer(&mut self, w: &Weights, layer: &Layer, lengths: &[usize], readers: Readers) {
        self.attention(w, layer, lengths, readers);
        self.feed_forward(w, layer);
    }

    /// x = LayerNorm(x + Attention(x Q + q, x K + k, x V + v) O + o)
    fn attention(&mut self, w: &Weights, layer: &Layer, lengths: &[usize], readers: Readers) {
        let (heads, hidden) = (w.config.heads, w.config.hidden);
        let keys_values = Product::of(&self.x_rounded, &layer.key_value, &mut self.sums);
        let readers_rounded = match readers {
            Readers::All => &self.x_rounded,
            Readers::First => {
                keep_first(&mut self.x, lengths, hidden);
                copy_first(&self.x_rounded, lengths, hidden, &mut self.first_rounded);
                &self.first_rounded
            }
        };
        let queries = Product::of(readers_rounded, &layer.query, &mut self.query_sums);

        self.context.resize(readers_rounded.scales.len(), hidden);
        let (mut query, mut token) = (0, 0);
        for &length in lengths {
            let count = if readers == Readers::All { length } else { 1 };
            let post = Post {
                queries: queries.of_rows(query..query + count),
                keys_values: keys_values.of_rows(token..token + length),
            };
            attend(w.kernel, (heads, hidden), post, &mut self.attention, &mut self.context, query);
            query += count;
            token += length;
        }

        let output = Product::of(&self.context, &layer.attention_output, &mut self.sums);
        let norm = &layer.attention_norm;
        add_and_normalise(w.kernel, output, norm, &mut self.x, &mut self.x_rounded);
    }

    /// x = LayerNorm(x + f(x U + u) D + d)
    fn feed_forward(&mut self, w: &Weights, layer: &Layer) {
        let up = Product::of(&self.x_rounded, &layer.intermediate, &mut self.sums);
        activate(w.kernel, up, w.config.activation, &mut self.row, &mut self.inner);
        let down = Product::of(&self.inner, &layer.output, &mut self.sums);
        add_and_normalise(w.kernel, down, &layer.output_norm, &mut self.x, &mut self.x_rounded);
    }
}

/// Where each post's first row is.
fn firsts(lengths: &[usize]) -> impl Iterator<Item = usize> {
    lengths.iter().scan(0, |tokens, length| {
        let first = *tokens;
        *tokens += length;
        Some(first)
    })
}

/// Moves each post's first row to the front and forgets the others.
fn keep_first(x: &mut Buffer<f32>, lengths: &[usize], hidden: usize) {
    for (post, first) in firsts(lengths).enumerate() {
        x.copy_within(first * hidden..(first + 1) * hidden, post * hidden);
    }
    x.resize(lengths.len() * hidden);
}

/// Copies each post's first row.
fn copy_first(from: &Quantised, lengths: &[usize], hidden: usize, to: &mut Quantised) {
    to.resize(lengths.len(), hidden);
    for (first, (values, scale)) in firsts(lengths).zip(to.rows_mut(hidden)) {
        values.copy_from_slice(&from.values[first * hidden..][..hidden]);
        *scale = from.scales[first];
    }
}

/// Rounds the rows of `x`, each `width` wide.
fn round(kernel: Kernel, x: &[f32], width: usize, rounded: &mut Quantised) {
    rounded.resize(x.len() / width, width);
    kernel.run(
        #[inline(always)]
        || {
            for (x, (values, scale)) in x.chunks_exact(width).zip(rounded.rows_mut(width)) {
                *scale = crate::activations::quantise(x, values);
            }
        },
    );
}
