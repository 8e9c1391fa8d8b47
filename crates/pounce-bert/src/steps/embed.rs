//! A token's first vector: its word's, its position's and its type's, added and normalised
//! (Devlin et al., "BERT", 2019, figure 2).

use pounce_kernels::Kernel;

use super::normalise::normalise;
use crate::activations::{Quantised, quantise};
use crate::buffer::Buffer;
use crate::weights::Embeddings;

/// LayerNorm(word + position + type) for each token of the packed posts: `x` (`tokens x width`), and
/// rounded.
pub(crate) fn embed(
    kernel: Kernel,
    embeddings: &Embeddings,
    first_position: usize,
    ids: &[i32],
    lengths: &[usize],
    (x, position): (&mut Buffer<f32>, &mut Buffer<f32>),
    rounded: &mut Quantised,
) {
    let width = embeddings.token_type.len();
    x.resize(ids.len() * width);
    position.resize(width);
    rounded.resize(ids.len(), width);
    kernel.run(
        #[inline(always)]
        || {
            let positions =
                lengths.iter().flat_map(|&length| first_position..first_position + length);
            let rounded = rounded.rows_mut(width);
            let rows = x.chunks_exact_mut(width).zip(rounded).zip(ids.iter().zip(positions));
            for ((x, (values, scale)), (&id, at)) in rows {
                // Ids were checked to be within the vocabulary.
                embeddings.words.read(usize::try_from(id).unwrap_or(0), x);
                embeddings.positions.read(at, position);
                let others = position.iter().zip(&embeddings.token_type);
                for (x, (position, token_type)) in x.iter_mut().zip(others) {
                    *x = *x + position + token_type;
                }
                normalise(&embeddings.norm, x);
                *scale = quantise(x, values);
            }
        },
    );
}
