//! The classification head of RoBERTa and ELECTRA: the first token through two layers.

use tch::{Kind, Tensor, nn};

/// A dense layer, an activation, and the output layer, as transformers names them.
pub(super) struct Head {
    dense: nn::Linear,
    out_proj: nn::Linear,
}

impl Head {
    pub(super) fn new(path: &nn::Path<'_>, width: i64, outputs: usize) -> Self {
        let outputs = i64::try_from(outputs).expect("a count of labels fits into 63 bits");
        Self {
            dense: nn::linear(path / "dense", width, width, nn::LinearConfig::default()),
            out_proj: nn::linear(path / "out_proj", width, outputs, nn::LinearConfig::default()),
        }
    }

    /// Number format of the weights.
    pub(super) fn kind(&self) -> Kind {
        self.dense.ws.kind()
    }

    /// `rows x width x hidden` states to `rows x outputs` logits.
    pub(super) fn forward(&self, states: &Tensor, activate: impl Fn(&Tensor) -> Tensor) -> Tensor {
        activate(&states.select(1, 0).apply(&self.dense)).apply(&self.out_proj)
    }
}
