//! The bert engine: our own forward pass for models of the BERT family. Pure Rust, no native library.
//!
//! The only file that names `pounce_bert`.

use std::path::Path;
use std::sync::Arc;

use pounce_bert::{Forward, OpenError, Weights};

use super::{Engine, EngineError, EngineFactory, Kernel, TokenBatch};

/// Shares one model's weights between engines.
#[derive(Debug)]
pub struct BertFactory {
    weights: Arc<Weights>,
}

/// Why a folder does not run on this engine.
#[derive(Debug, thiserror::Error)]
pub enum BertError {
    /// It is for another engine; the message says why.
    #[error("{0}")]
    Unsupported(String),
    /// Its files are at fault.
    #[error(transparent)]
    Load(#[from] EngineError),
}

impl BertFactory {
    /// Loads `config.json` and `model.safetensors` of a folder, whose classifier has `outputs` outputs
    /// and reads posts of up to `tokens_max` tokens.
    /// # Errors
    /// [`BertError`].
    pub fn load(
        folder: &Path,
        outputs: usize,
        tokens_max: usize,
        kernel: Kernel,
    ) -> Result<Self, BertError> {
        let weights = Weights::open(folder, kernel).map_err(|error| match error {
            OpenError::Unsupported(reason) => BertError::Unsupported(reason.to_string()),
            OpenError::File { .. } => EngineError::Load(error.to_string()).into(),
        })?;
        let fault = |what: String| {
            let file = folder.join("model.safetensors");
            Err(EngineError::Load(format!("{}: {what}", file.display())).into())
        };
        if weights.outputs() != outputs {
            let got = weights.outputs();
            return fault(format!("its classifier has {got} outputs, config.json names {outputs}"));
        }
        if weights.tokens_max() < tokens_max {
            let got = weights.tokens_max();
            return fault(format!(
                "it has positions for {got} tokens, config.json for {tokens_max}"
            ));
        }
        Ok(Self { weights: Arc::new(weights) })
    }
}

impl EngineFactory for BertFactory {
    fn name(&self) -> &'static str {
        "bert"
    }

    fn kernel(&self) -> Option<&'static str> {
        Some(self.weights.kernel().name())
    }

    fn pads(&self) -> bool {
        false
    }

    fn build(&self) -> Result<Box<dyn Engine>, EngineError> {
        Ok(Box::new(Forward::new(Arc::clone(&self.weights))))
    }
}

impl Engine for Forward {
    fn logits(&mut self, batch: &TokenBatch) -> Result<Vec<f32>, EngineError> {
        let logits = self.run(batch.ids(), batch.lengths());
        logits.map(<[f32]>::to_vec).map_err(|error| EngineError::Run(error.to_string()))
    }
}
