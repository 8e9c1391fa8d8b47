//! Why a model can't be served.

use crate::engine::{EngineError, KernelError};
use crate::labels::LabelsError;
use crate::tokens::TokenizerError;

/// Why a folder can't be served; each message is one line and names the file.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// There is no such folder.
    #[error("there is no model folder {0}")]
    NoFolder(String),
    /// A file that can't be read.
    #[error("{file}: {reason}")]
    File {
        /// Its path.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No weights for any engine.
    #[error(
        "{0} holds neither model.onnx (embedded engine) nor, in one file, model.safetensors (bert \
         and torch engines), pytorch_model.bin or rust_model.ot (torch engine)"
    )]
    NoWeights(String),
    /// An engine that was not compiled in.
    #[error(
        "this pounce was built without the {0} engine; build it with --features {0} \
         (`make serve ENGINE={0}` does, with all that it needs)"
    )]
    EngineNotBuilt(&'static str),
    /// A model that only an engine could run that was not compiled in.
    #[error(
        "the bert engine does not run this model: {0}. The folder has no model.onnx, and this \
         pounce was built without the torch engine; build it with --features torch \
         (`make serve ENGINE=torch` does, with all that it needs)"
    )]
    BertUnsupported(String),
    /// A setting that the engine can't follow.
    #[error(
        "{0} needs the torch engine: the {1} engine computes on the processor, in 8 bits or as \
             model.onnx says"
    )]
    TorchOnly(&'static str, &'static str),
    /// A setting of the bert engine for another.
    #[error("--kernel needs the bert engine, and the {0} engine runs: {1}")]
    BertOnly(&'static str, String),
    /// A kernel that can't be had.
    #[error("--kernel: {0}")]
    Kernel(#[from] KernelError),
    /// Labels that are no sentiment.
    #[error(transparent)]
    Labels(#[from] LabelsError),
    /// A tokenizer of no use.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// Weights of no use.
    #[error(transparent)]
    Engine(#[from] EngineError),
}
