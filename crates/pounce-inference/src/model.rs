//! A model's folder, opened and checked: config.json, tokenizer and weights.
//!
//! Knows the Hugging Face layout and our own `pounce` section of config.json.

mod config_file;
mod engine_choice;
mod error;
mod spec;

use std::path::Path;
use std::sync::Arc;

use self::config_file::ConfigFile;
pub use self::engine_choice::engines_in;
use self::engine_choice::{ChosenEngine, EngineOpener};
pub use self::error::ModelError;
pub use self::spec::{EngineKind, ModelSeverities, ModelSpec, ModelThresholds};
use super::engine::EngineFactory;
use super::labels::Labels;
use super::normalise::Normalisation;
use super::tokens::TextTokenizer;
use pounce_types::score::LabelWeights;

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
        let ChosenEngine { engine, weights, reason } =
            EngineOpener { folder, spec, outputs, tokens_max }.engine(kind)?;
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
