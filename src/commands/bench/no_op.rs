//! What the service costs a post without a model: an engine that computes nothing.

use pounce_inference::engine::{Engine, EngineError, EngineFactory, TokenBatch};

/// Gives every post the same logits at once.
pub(super) struct NoOp {
    /// Logits of a post.
    pub(super) outputs: usize,
}

impl EngineFactory for NoOp {
    fn name(&self) -> &'static str {
        "no-op"
    }

    fn pads(&self) -> bool {
        false
    }

    fn build(&self) -> Result<Box<dyn Engine>, EngineError> {
        Ok(Box::new(Self { outputs: self.outputs }))
    }
}

impl Engine for NoOp {
    fn logits(&mut self, batch: &TokenBatch) -> Result<Vec<f32>, EngineError> {
        Ok(vec![0.0; batch.rows() * self.outputs])
    }
}
