//! A model's folder, checked: config.json, tokenizer and weights.
//!
//! Knows the Hugging Face layout and our own `pounce` section of config.json.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::engine::{EngineError, EngineFactory};
use super::labels::{Labels, LabelsError};
use super::normalise::Normalisation;
use super::tokens::{TextTokenizer, TokenizerError};

/// Longest text that any supported architecture reads, special tokens included.
const TOKENS_MAX: usize = 512;

/// A model that can be served.
pub struct Model {
    /// Name for people and metrics.
    pub name: String,
    /// Identifies the weights: equal revisions give equal scores.
    pub revision: String,
    /// Primary BCP 47 languages it knows; empty when it does not say.
    pub languages: Vec<String>,
    /// Which output is which class.
    pub labels: Labels,
    /// How texts are prepared.
    pub normalisation: Normalisation,
    /// Tokens of a text that it reads, special tokens included.
    pub tokens_max: usize,
    /// Token id that fills rows of unequal length.
    pub padding_id: i32,
    /// Splits texts.
    pub tokenizer: TextTokenizer,
    /// Builds engines.
    pub engine: Arc<dyn EngineFactory>,
}

/// What the command line says of a model.
#[derive(Debug, Clone, Default)]
pub struct ModelSpec {
    /// Which engine; `None`: what the folder holds.
    pub engine: Option<EngineKind>,
    /// Names of the outputs in output order instead of config.json's.
    pub labels: Option<Vec<String>>,
}

/// The engines there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineKind {
    /// rten on `model.onnx`.
    Embedded,
    /// rust-bert on `model.safetensors`.
    Torch,
}

/// Why a folder can't be served; each message is one line and names the file.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// There is no such folder.
    #[error("there is no model folder {0}")]
    NoFolder(String),
    /// A file that can't be read.
    #[error("{file}: {reason}")]
    File {
        /// Which.
        file: String,
        /// Why.
        reason: String,
    },
    /// No weights for any engine.
    #[error("{0} holds neither model.onnx (embedded engine) nor model.safetensors (torch engine)")]
    NoWeights(String),
    /// An engine that was not compiled in.
    #[error("this pounce was built without the {0} engine; build it with --features {0}")]
    EngineNotBuilt(&'static str),
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

/// config.json, as far as it concerns a classifier.
#[derive(Debug, Deserialize)]
struct ConfigFile {
    #[serde(default)]
    model_type: String,
    #[serde(default)]
    id2label: BTreeMap<u32, String>,
    #[serde(default)]
    max_position_embeddings: Option<usize>,
    #[serde(default)]
    pad_token_id: Option<i32>,
    #[serde(default, rename = "_name_or_path")]
    name_or_path: Option<String>,
    #[serde(default)]
    pounce: PounceSection,
}

/// Our own section of config.json.
#[derive(Debug, Default, Deserialize)]
struct PounceSection {
    name: Option<String>,
    revision: Option<String>,
    #[serde(default)]
    languages: Vec<String>,
    normalisation: Option<String>,
    tokens_max: Option<usize>,
}

impl Model {
    /// Opens a Hugging Face folder: config.json, tokenizer.json, and the weights
    /// of the engine.
    /// # Errors
    /// [`ModelError`], one clear line each.
    pub fn open(folder: &Path, spec: &ModelSpec) -> Result<Self, ModelError> {
        if !folder.is_dir() {
            return Err(ModelError::NoFolder(folder.display().to_string()));
        }
        let config = ConfigFile::read(&folder.join("config.json"))?;
        let labels = config.labels(spec.labels.as_deref())?;
        let tokens_max = config.tokens_max();
        let tokenizer = TextTokenizer::load(&folder.join("tokenizer.json"), tokens_max)?;
        let (engine, weights) = open_engine(folder, spec.engine, labels.outputs())?;
        let revision = match config.pounce.revision {
            Some(revision) => revision,
            None => revision_of(&weights)?,
        };
        let name = config.pounce.name.or(config.name_or_path);
        let name = name.or_else(|| Some(folder.file_name()?.to_str()?.to_owned()));
        Ok(Self {
            name: name.unwrap_or_else(|| "model".to_owned()),
            revision,
            languages: config.pounce.languages,
            labels,
            normalisation: normalisation(folder, config.pounce.normalisation.as_deref())?,
            tokens_max,
            padding_id: config.pad_token_id.unwrap_or(0),
            tokenizer,
            engine,
        })
    }
}

impl ConfigFile {
    fn read(file: &Path) -> Result<Self, ModelError> {
        let fault = |reason: String| ModelError::File { file: file.display().to_string(), reason };
        let json = std::fs::read(file).map_err(|e| fault(e.to_string()))?;
        serde_json::from_slice(&json).map_err(|e| fault(e.to_string()))
    }

    fn labels(&self, given: Option<&[String]>) -> Result<Labels, LabelsError> {
        // Without id2label, transformers takes two outputs named LABEL_0 and LABEL_1.
        let outputs = if self.id2label.is_empty() { 2 } else { self.id2label.len() };
        let names = match given {
            Some(names) if names.len() != outputs => {
                return Err(LabelsError::Count { given: names.len(), outputs });
            }
            Some(names) => names.to_vec(),
            None if self.id2label.is_empty() => vec!["LABEL_0".to_owned(), "LABEL_1".to_owned()],
            None => self.id2label.values().cloned().collect(),
        };
        Labels::parse(names)
    }

    fn tokens_max(&self) -> usize {
        let positions = self.max_position_embeddings.unwrap_or(TOKENS_MAX);
        // RoBERTa's positions start behind its padding token.
        let roberta = ["roberta", "xlm-roberta", "camembert"].contains(&self.model_type.as_str());
        let offset = if roberta { self.pad_token_id.unwrap_or(1) + 1 } else { 0 };
        let readable = positions.saturating_sub(usize::try_from(offset).unwrap_or(0));
        readable.min(TOKENS_MAX).min(self.pounce.tokens_max.unwrap_or(TOKENS_MAX))
    }
}

fn normalisation(folder: &Path, name: Option<&str>) -> Result<Normalisation, ModelError> {
    let Some(name) = name else { return Ok(Normalisation::default()) };
    Normalisation::parse(name).ok_or_else(|| ModelError::File {
        file: folder.join("config.json").display().to_string(),
        reason: format!("pounce.normalisation is `{name}`; known are social-v1 and none"),
    })
}

fn open_engine(
    folder: &Path,
    wanted: Option<EngineKind>,
    outputs: usize,
) -> Result<(Arc<dyn EngineFactory>, std::path::PathBuf), ModelError> {
    let onnx = folder.join("model.onnx");
    let torch = ["model.safetensors", "pytorch_model.bin", "rust_model.ot"]
        .map(|name| folder.join(name))
        .into_iter()
        .find(|file| file.is_file());
    let kind = match (wanted, onnx.is_file(), &torch) {
        (Some(kind), _, _) => kind,
        (None, true, _) => EngineKind::Embedded,
        (None, false, Some(_)) => EngineKind::Torch,
        (None, false, None) => return Err(ModelError::NoWeights(folder.display().to_string())),
    };
    match kind {
        #[cfg(feature = "embedded")]
        EngineKind::Embedded => {
            let factory = super::engine::embedded::EmbeddedFactory::load(&onnx, outputs)?;
            Ok((Arc::new(factory), onnx))
        }
        #[cfg(not(feature = "embedded"))]
        EngineKind::Embedded => Err(ModelError::EngineNotBuilt("embedded")),
        EngineKind::Torch => Err(ModelError::EngineNotBuilt("torch")),
    }
}

/// Names weights that have no name of their own: a hash of the file.
fn revision_of(weights: &Path) -> Result<String, ModelError> {
    let fault = |e: std::io::Error| ModelError::File {
        file: weights.display().to_string(),
        reason: e.to_string(),
    };
    let mut hasher = blake3::Hasher::new();
    let file = std::fs::File::open(weights).map_err(fault)?;
    hasher.update_reader(file).map_err(fault)?;
    Ok(hasher.finalize().to_hex()[..12].to_owned())
}
