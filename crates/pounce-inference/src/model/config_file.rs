//! config.json of a model's folder: what it says of a classifier.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::error::ModelError;
use super::spec::ModelThresholds;
use crate::labels::{Answers, Labels, LabelsError};
use pounce_types::score::LabelWeights;

/// Longest text that any supported architecture reads, special tokens included.
const TOKENS_MAX: usize = 512;

/// config.json, as far as it concerns a classifier.
#[derive(Debug, Deserialize)]
pub(super) struct ConfigFile {
    #[serde(default)]
    pub(super) model_type: String,
    #[serde(default)]
    id2label: BTreeMap<u32, String>,
    #[serde(default)]
    max_position_embeddings: Option<usize>,
    #[serde(default)]
    pad_token_id: Option<i32>,
    #[serde(default)]
    problem_type: Option<String>,
    #[serde(default, rename = "_name_or_path")]
    pub(super) name_or_path: Option<String>,
    #[serde(default)]
    pub(super) pounce: PounceSection,
}

/// Our own section of config.json.
#[derive(Debug, Default, Deserialize)]
pub(super) struct PounceSection {
    pub(super) name: Option<String>,
    pub(super) revision: Option<String>,
    #[serde(default)]
    pub(super) languages: Vec<String>,
    pub(super) normalisation: Option<String>,
    pub(super) tokens_max: Option<usize>,
    pub(super) answers: Option<Answers>,
    pub(super) label_weights: Option<LabelWeights>,
    #[serde(default)]
    pub(super) thresholds: ModelThresholds,
}

impl ConfigFile {
    pub(super) fn read(file: &Path) -> Result<Self, ModelError> {
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

    pub(super) fn labels(&self, given: Option<&[String]>) -> Result<Labels, LabelsError> {
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

    pub(super) fn padding_id(&self) -> i32 {
        self.pad_token_id.unwrap_or(i32::from(self.is_roberta()))
    }

    pub(super) fn tokens_max(&self) -> usize {
        let positions = self.max_position_embeddings.unwrap_or(TOKENS_MAX);
        // RoBERTa's positions start behind its padding token.
        let offset = if self.is_roberta() { self.padding_id() + 1 } else { 0 };
        let readable = positions.saturating_sub(usize::try_from(offset).unwrap_or(0));
        readable.min(TOKENS_MAX).min(self.pounce.tokens_max.unwrap_or(TOKENS_MAX))
    }
}
