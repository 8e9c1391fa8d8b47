//! What can be said of a model: by its folder, and by the command line.

use serde::Deserialize;

use crate::engine::{Device, Precision};
use crate::normalise::Normalisation;

/// What a model's folder says of flags, unchecked; what is not set is the service's to say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelThresholds {
    /// P(discontent) of each severity.
    pub discontent: Option<ModelSeverities>,
    /// P(positive) of an advocate.
    pub advocate: Option<f64>,
}

/// P(discontent) from which a post is flagged.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSeverities {
    /// Worth a look.
    pub low: f64,
    /// Worth an answer.
    pub medium: f64,
    /// Worth an answer now.
    pub high: f64,
}

/// What the command line says of a model.
#[derive(Debug, Clone, Default)]
pub struct ModelSpec {
    /// Which engine; `None`: what the folder holds.
    pub engine: Option<EngineKind>,
    /// Name of the bert engine's kernel; `None`: the fastest that the processor has.
    pub kernel: Option<String>,
    /// Names of the outputs in output order instead of config.json's.
    pub labels: Option<Vec<String>>,
    /// How to prepare texts instead of what config.json says.
    pub normalisation: Option<Normalisation>,
    /// Where to compute; only the torch engine knows more than the processor.
    pub device: Device,
    /// Number format of the torch engine; `None`: what suits the device.
    pub precision: Option<Precision>,
}

/// The engines there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// Our own, on `model.safetensors` of the BERT family.
    Bert,
    /// rten on `model.onnx`.
    Embedded,
    /// rust-bert on `model.safetensors`, `pytorch_model.bin` or `rust_model.ot`.
    Torch,
}

impl EngineKind {
    /// Every engine, built in or not.
    pub const ALL: [Self; 3] = [Self::Bert, Self::Embedded, Self::Torch];

    /// Reads a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|engine| engine.name() == name)
    }

    /// Name for people, flags and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bert => "bert",
            Self::Embedded => "embedded",
            Self::Torch => "torch",
        }
    }
}
