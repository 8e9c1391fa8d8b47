//! A model's folder, checked: config.json, tokenizer and weights.
//!
//! Knows the Hugging Face layout and our own `pounce` section of config.json.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::engine::bert::{BertError, BertFactory};
use super::engine::{Device, EngineError, EngineFactory, Kernel, KernelError, Precision};
use super::labels::{Answers, Labels, LabelsError};
use super::normalise::Normalisation;
use super::tokens::{TextTokenizer, TokenizerError};
use pounce_types::score::LabelWeights;

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
    /// From which probabilities its folder would flag a post.
    pub thresholds: ModelThresholds,
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
    /// Why this engine, for people.
    pub engine_reason: String,
}

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
    #[serde(default)]
    problem_type: Option<String>,
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
    answers: Option<Answers>,
    label_weights: Option<LabelWeights>,
    #[serde(default)]
    thresholds: ModelThresholds,
}

impl Model {
    /// Opens a Hugging Face folder: config.json, the tokenizer's files, and the
    /// weights of the engine.
    /// # Errors
    /// [`ModelError`], one clear line each.
    pub fn open(folder: &Path, spec: &ModelSpec) -> Result<Self, ModelError> {
        if !folder.is_dir() {
            return Err(ModelError::NoFolder(folder.display().to_string()));
        }
        let config = ConfigFile::read(&folder.join("config.json"))?;
        let weights = config.pounce.label_weights.unwrap_or(LabelWeights::EQUAL);
        let labels = config.labels(spec.labels.as_deref())?.weighed(weights);
        let (tokens_max, padding_id) = (config.tokens_max(), config.padding_id());
        let tokenizer = TextTokenizer::open(folder, &config.model_type, tokens_max)?;
        let (outputs, kind) = (labels.outputs(), spec.engine);
        let Chosen { engine, weights, reason } =
            Opening { folder, spec, outputs, tokens_max }.engine(kind)?;
        let revision = match config.pounce.revision {
            Some(revision) => revision,
            None => revision_of(&weights)?,
        };
        let normalisation = match spec.normalisation {
            Some(normalisation) => normalisation,
            None => normalisation(folder, config.pounce.normalisation.as_deref())?,
        };
        let name = config.pounce.name.or(config.name_or_path).filter(|name| !name.is_empty());
        let name = name.or_else(|| Some(folder.file_name()?.to_str()?.to_owned()));
        Ok(Self {
            name: name.unwrap_or_else(|| "model".to_owned()),
            revision,
            languages: config.pounce.languages,
            labels,
            thresholds: config.pounce.thresholds,
            normalisation,
            tokens_max,
            padding_id,
            tokenizer,
            engine,
            engine_reason: reason,
        })
    }
}

impl ConfigFile {
    fn read(file: &Path) -> Result<Self, ModelError> {
        let fault = |reason: String| ModelError::File { file: file.display().to_string(), reason };
        let json = std::fs::read(file).map_err(|e| fault(e.to_string()))?;
        let config: Self = serde_json::from_slice(&json).map_err(|e| fault(e.to_string()))?;
        match config.problem_type.as_deref() {
            None | Some("single_label_classification") => Ok(config),
            // Their outputs are no shares of one whole: a softmax would make up a score.
            Some(other) => Err(fault(format!(
                "problem_type is `{other}`; classifiers of one label a text can be served"
            ))),
        }
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
        match &self.pounce.answers {
            Some(answers) => Labels::parse_answers(names, answers),
            None => Labels::parse(names),
        }
    }

    fn is_roberta(&self) -> bool {
        ["roberta", "xlm-roberta", "camembert"].contains(&self.model_type.as_str())
    }

    fn padding_id(&self) -> i32 {
        self.pad_token_id.unwrap_or(i32::from(self.is_roberta()))
    }

    fn tokens_max(&self) -> usize {
        let positions = self.max_position_embeddings.unwrap_or(TOKENS_MAX);
        // RoBERTa's positions start behind its padding token.
        let offset = if self.is_roberta() { self.padding_id() + 1 } else { 0 };
        let readable = positions.saturating_sub(usize::try_from(offset).unwrap_or(0));
        readable.min(TOKENS_MAX).min(self.pounce.tokens_max.unwrap_or(TOKENS_MAX))
    }
}

fn normalisation(folder: &Path, name: Option<&str>) -> Result<Normalisation, ModelError> {
    // A model that says nothing comes from the hub, and is scored as it is there.
    let Some(name) = name else { return Ok(Normalisation::None) };
    Normalisation::parse(name).ok_or_else(|| {
        let known = Normalisation::ALL.map(Normalisation::name).join(", ");
        ModelError::File {
            file: folder.join("config.json").display().to_string(),
            reason: format!("pounce.normalisation is `{name}`; known are {known}"),
        }
    })
}

/// The embedded engine's graph.
const ONNX: &str = "model.onnx";

/// The bert engine's weights.
const SAFETENSORS: &str = "model.safetensors";

/// The torch engine's weights, the preferred form first.
const TORCH_WEIGHTS: [&str; 3] = [SAFETENSORS, "pytorch_model.bin", "rust_model.ot"];

/// The engines that are built in and whose weights a folder holds, the reference first.
#[must_use]
pub fn engines_in(folder: &Path) -> Vec<EngineKind> {
    let holds = |name: &str| folder.join(name).is_file();
    let torch = cfg!(feature = "torch") && TORCH_WEIGHTS.into_iter().any(holds);
    let embedded = cfg!(feature = "embedded") && holds(ONNX);
    let bert = holds(SAFETENSORS) && pounce_bert::supports(folder);
    let engines =
        [(torch, EngineKind::Torch), (embedded, EngineKind::Embedded), (bert, EngineKind::Bert)];
    engines.into_iter().filter_map(|(there, engine)| there.then_some(engine)).collect()
}

/// An engine, and why it.
struct Chosen {
    engine: Arc<dyn EngineFactory>,
    /// The file its weights came from.
    weights: PathBuf,
    reason: String,
}

/// What engines are opened with.
#[derive(Clone, Copy)]
struct Opening<'a> {
    folder: &'a Path,
    spec: &'a ModelSpec,
    outputs: usize,
    tokens_max: usize,
}

impl Opening<'_> {
    fn engine(self, kind: Option<EngineKind>) -> Result<Chosen, ModelError> {
        const ASKED: &str = "--engine asks for it";
        match kind {
            Some(EngineKind::Bert) => self.bert(ASKED)?.map_err(ModelError::BertUnsupported),
            Some(EngineKind::Embedded) => self.embedded(ASKED.to_owned()),
            Some(EngineKind::Torch) => self.torch(ASKED.to_owned()),
            None => self.preferred(),
        }
    }

    /// The engine of choice for what the folder holds.
    fn preferred(self) -> Result<Chosen, ModelError> {
        let holds = |name: &str| self.folder.join(name).is_file();
        let (onnx, torch) = (holds(ONNX), TORCH_WEIGHTS.into_iter().any(holds));
        let torch_is_asked = self.spec.device != Device::Cpu || self.spec.precision.is_some();
        let why_not_bert = if !holds(SAFETENSORS) {
            "there is no model.safetensors".to_owned()
        } else if torch_is_asked {
            "--device or --precision is set".to_owned()
        } else if cfg!(feature = "torch") && !onnx {
            // Whoever built torch in and brings a model that nobody rounded to 8 bits wants it whole.
            "the folder has no 8-bit model.onnx, and the torch engine is built in".to_owned()
        } else if onnx && !Kernel::best().is_vectorised() && self.spec.kernel.is_none() {
            "it has no kernel for this processor's vectors".to_owned()
        } else {
            match self.bert("model.safetensors is of the BERT family")? {
                Ok(chosen) => return Ok(chosen),
                Err(reason) => reason,
            }
        };
        let reason = format!("the bert engine does not run it: {why_not_bert}");
        match (onnx, torch) {
            (true, _) if cfg!(feature = "embedded") && !torch_is_asked => self.embedded(reason),
            (_, true) if cfg!(feature = "torch") => self.torch(reason),
            (true, false) => self.embedded(reason),
            (_, true) if holds(SAFETENSORS) && !torch_is_asked => {
                Err(ModelError::BertUnsupported(why_not_bert))
            }
            (_, true) => Err(ModelError::EngineNotBuilt("torch")),
            (false, false) => Err(ModelError::NoWeights(self.folder.display().to_string())),
        }
    }

    /// The bert engine, or why the model is not for it.
    fn bert(self, reason: &str) -> Result<Result<Chosen, String>, ModelError> {
        self.processor_only("bert")?;
        let kernel = self.spec.kernel.as_deref().map(Kernel::named).transpose()?;
        let kernel = kernel.unwrap_or_else(Kernel::best);
        match BertFactory::load(self.folder, self.outputs, self.tokens_max, kernel) {
            Ok(factory) => Ok(Ok(Chosen {
                engine: Arc::new(factory),
                weights: self.folder.join(SAFETENSORS),
                reason: reason.to_owned(),
            })),
            Err(BertError::Unsupported(reason)) => Ok(Err(reason)),
            Err(BertError::Load(error)) => Err(error.into()),
        }
    }

    #[cfg_attr(not(feature = "embedded"), expect(unused_variables, reason = "nothing to build"))]
    fn embedded(self, reason: String) -> Result<Chosen, ModelError> {
        #[cfg(feature = "embedded")]
        {
            self.processor_only("embedded")?;
            self.no_kernel("embedded", &reason)?;
            let weights = self.folder.join(ONNX);
            let factory = super::engine::embedded::EmbeddedFactory::load(&weights, self.outputs)?;
            Ok(Chosen { engine: Arc::new(factory), weights, reason })
        }
        #[cfg(not(feature = "embedded"))]
        Err(ModelError::EngineNotBuilt("embedded"))
    }

    #[cfg_attr(not(feature = "torch"), expect(unused_variables, reason = "nothing to build"))]
    fn torch(self, reason: String) -> Result<Chosen, ModelError> {
        let weights = TORCH_WEIGHTS.map(|name| self.folder.join(name));
        let Some(weights) = weights.into_iter().find(|file| file.is_file()) else {
            return Err(ModelError::File {
                file: self.folder.join(SAFETENSORS).display().to_string(),
                reason:
                    "it is missing, and so are pytorch_model.bin and rust_model.ot; weights in \
                         several files must be saved as one"
                        .to_owned(),
            });
        };
        #[cfg(feature = "torch")]
        {
            self.no_kernel("torch", &reason)?;
            let factory = super::engine::torch::TorchFactory::load(
                self.folder,
                &weights,
                self.outputs,
                self.spec.device,
                self.spec.precision,
            )?;
            Ok(Chosen { engine: Arc::new(factory), weights, reason })
        }
        #[cfg(not(feature = "torch"))]
        Err(ModelError::EngineNotBuilt("torch"))
    }

    /// Refuses settings of the torch engine.
    fn processor_only(self, engine: &'static str) -> Result<(), ModelError> {
        if self.spec.device != Device::Cpu {
            return Err(ModelError::TorchOnly("--device cuda", engine));
        }
        match self.spec.precision {
            Some(_) => Err(ModelError::TorchOnly("--precision", engine)),
            None => Ok(()),
        }
    }

    /// Refuses a setting of the bert engine.
    #[cfg(any(feature = "embedded", feature = "torch"))]
    fn no_kernel(self, engine: &'static str, reason: &str) -> Result<(), ModelError> {
        match self.spec.kernel {
            Some(_) => Err(ModelError::BertOnly(engine, reason.to_owned())),
            None => Ok(()),
        }
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
