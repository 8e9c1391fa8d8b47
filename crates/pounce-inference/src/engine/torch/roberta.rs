//! RoBERTa, XLM-RoBERTa and CamemBERT.
//!
//! rust-bert's encoder with embeddings of our own. Its RoBERTa normalises them with
//! epsilon 1e-12, while the models were trained with 1e-5 (logits up to 6e-4 from
//! PyTorch's, against 4e-6 here), and takes the padding token to be 1 always.

use std::borrow::Borrow;

use rust_bert::RustBertError;
use rust_bert::bert::{BertConfig, BertEmbedding, BertModel};
use tch::nn::{self, LayerNormConfig};
use tch::{Kind, Tensor};

use super::head::Head;

const EPSILON: f64 = 1e-5;

pub(super) struct Roberta {
    encoder: BertModel<Embeddings>,
    head: Head,
}

impl Roberta {
    pub(super) fn new(root: &nn::Path<'_>, config: &BertConfig) -> Self {
        let outputs = config.id2label.as_ref().map_or(0, std::collections::HashMap::len);
        Self {
            encoder: BertModel::new_with_optional_pooler(root / "roberta", config, false),
            head: Head::new(&(root / "classifier"), config.hidden_size, outputs),
        }
    }

    pub(super) fn forward(
        &self,
        ids: &Tensor,
        mask: &Tensor,
        padding_id: i64,
    ) -> Result<Tensor, RustBertError> {
        // Tokens count from behind the padding's id, which stands for padding itself.
        let real = ids.ne(padding_id).to_kind(Kind::Int64);
        let positions = real.cumsum(1, Kind::Int64) * real + padding_id;
        let (ids, mask, positions) = (Some(ids), Some(mask), Some(&positions));
        let output = self.encoder.forward_t(ids, mask, None, positions, None, None, None, false)?;
        Ok(self.head.forward(&output.hidden_state, Tensor::tanh))
    }
}

struct Embeddings {
    words: nn::Embedding,
    positions: nn::Embedding,
    types: nn::Embedding,
    norm: nn::LayerNorm,
}

impl BertEmbedding for Embeddings {
    fn new<'p, P: Borrow<nn::Path<'p>>>(path: P, config: &BertConfig) -> Self {
        let path = path.borrow();
        let width = config.hidden_size;
        let table = |name, rows| nn::embedding(path / name, rows, width, Default::default());
        let norm = LayerNormConfig { eps: EPSILON, ..LayerNormConfig::default() };
        Self {
            words: table("word_embeddings", config.vocab_size),
            positions: table("position_embeddings", config.max_position_embeddings),
            types: table("token_type_embeddings", config.type_vocab_size),
            norm: nn::layer_norm(path / "LayerNorm", vec![width], norm),
        }
    }

    fn forward_t(
        &self,
        ids: Option<&Tensor>,
        _types: Option<&Tensor>,
        positions: Option<&Tensor>,
        _embeddings: Option<&Tensor>,
        _train: bool,
    ) -> Result<Tensor, RustBertError> {
        let (Some(ids), Some(positions)) = (ids, positions) else {
            return Err(RustBertError::ValueError("ids and positions are needed".to_owned()));
        };
        // Every token of a lone text is of type 0.
        let types = self.types.ws.narrow(0, 0, 1);
        let sum = ids.apply(&self.words) + positions.apply(&self.positions) + types;
        Ok(sum.apply(&self.norm))
    }
}
