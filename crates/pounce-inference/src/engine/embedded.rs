//! The embedded engine: rten on an ONNX file. Pure Rust, no native library.
//!
//! The only file that names rten.

use std::path::Path;
use std::sync::Arc;

use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, ValueOrView};
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;

use super::{Engine, EngineError, EngineFactory, TokenBatch};

/// Shares one read-only model between engines.
pub struct EmbeddedFactory {
    model: Arc<Model>,
    inputs: Inputs,
    output: NodeId,
    outputs: usize,
}

#[derive(Clone, Copy)]
struct Inputs {
    ids: NodeId,
    mask: NodeId,
    types: Option<NodeId>,
}

impl EmbeddedFactory {
    /// Loads an ONNX file whose inputs are `input_ids`, `attention_mask` and
    /// perhaps `token_type_ids` (all `rows x width`) and whose output `logits`
    /// is `rows x outputs`.
    /// # Errors
    /// [`EngineError::Load`] if the file is missing, damaged or of another form.
    pub fn load(file: &Path, outputs: usize) -> Result<Self, EngineError> {
        let fault = |what: String| EngineError::Load(format!("{}: {what}", file.display()));
        let mut options = ModelOptions::with_all_ops();
        options.prepack_weights(true);
        let model = options.load_file(file).map_err(|e| fault(e.to_string()))?;
        let node = |name: &str| {
            model.find_node(name).ok_or_else(|| fault(format!("it has no tensor `{name}`")))
        };
        let inputs = Inputs {
            ids: node("input_ids")?,
            mask: node("attention_mask")?,
            types: model.find_node("token_type_ids"),
        };
        let output = node("logits")?;
        Ok(Self { inputs, output, outputs, model: Arc::new(model) })
    }
}

impl EngineFactory for EmbeddedFactory {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn build(&self) -> Result<Box<dyn Engine>, EngineError> {
        Ok(Box::new(Embedded {
            model: Arc::clone(&self.model),
            inputs: self.inputs,
            output: self.output,
            outputs: self.outputs,
            // One thread a worker: two workers on two cores scale linearly,
            // two threads on one batch of this size do not.
            threads: Arc::new(ThreadPool::with_num_threads(1)),
        }))
    }
}

struct Embedded {
    model: Arc<Model>,
    inputs: Inputs,
    output: NodeId,
    outputs: usize,
    threads: Arc<ThreadPool>,
}

impl Engine for Embedded {
    fn logits(&mut self, batch: &TokenBatch) -> Result<Vec<f32>, EngineError> {
        let shape = [batch.rows(), batch.width()];
        let ids = NdTensor::from_data(shape, batch.padded());
        let mask = NdTensor::from_data(shape, batch.mask().collect::<Vec<i32>>());
        let mut inputs: Vec<(NodeId, ValueOrView)> =
            vec![(self.inputs.ids, ids.into()), (self.inputs.mask, mask.into())];
        if let Some(types) = self.inputs.types {
            inputs.push((types, NdTensor::<i32, 2>::zeros(shape).into()));
        }
        let mut options = RunOptions::default();
        options.thread_pool = Some(Arc::clone(&self.threads));
        let [logits] = self
            .model
            .run_n(inputs, [self.output], Some(options))
            .map_err(|e| EngineError::Run(e.to_string()))?;
        let logits: NdTensor<f32, 2> = logits
            .try_into()
            .map_err(|_| EngineError::Run("`logits` is not a matrix of f32".to_owned()))?;
        if logits.shape() != [batch.rows(), self.outputs] {
            return Err(EngineError::Shape {
                got: logits.len(),
                rows: batch.rows(),
                outputs: self.outputs,
            });
        }
        Ok(logits.to_vec())
    }
}
