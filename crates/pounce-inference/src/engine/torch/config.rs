//! config.json as rust-bert's configurations want it.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::engine::EngineError;

/// A config.json, cleaned of what differs between versions of transformers.
#[derive(Debug, Clone)]
pub(super) struct ConfigJson {
    file: String,
    values: Map<String, Value>,
}

/// Activations under the names that rust-bert lacks, and its names for them.
const ACTIVATIONS: [(&str, &str); 5] = [
    ("silu", "swish"),
    ("gelu_python", "gelu"),
    ("gelu_fast", "gelu_new"),
    ("gelu_pytorch_tanh", "gelu_new"),
    ("linear", "identity"),
];

impl ConfigJson {
    /// Reads the file; the classifier gets `outputs` outputs.
    pub(super) fn read(file: &Path, outputs: usize) -> Result<Self, EngineError> {
        let name = file.display().to_string();
        let fault = |e: &dyn std::fmt::Display| EngineError::Load(format!("{name}: {e}"));
        let json = std::fs::read(file).map_err(|e| fault(&e))?;
        let mut values: Map<String, Value> =
            serde_json::from_slice(&json).map_err(|e| fault(&e))?;
        values.retain(|_, value| !value.is_null());
        for key in ["hidden_act", "activation", "pooler_hidden_act", "conv_act"] {
            if let Some(Value::String(name)) = values.get_mut(key)
                && let Some((_, known)) = ACTIVATIONS.iter().find(|(other, _)| other == name)
            {
                *name = (*known).to_owned();
            }
        }
        // rust-bert counts the names; which is which, `Labels` knows.
        let names = (0..outputs).map(|output| (output.to_string(), Value::String(String::new())));
        values.insert("id2label".to_owned(), Value::Object(names.collect()));
        for unused in ["label2id", "output_attentions", "output_hidden_states", "is_decoder"] {
            values.remove(unused);
        }
        Ok(Self { file: name, values })
    }

    /// An error about this file.
    pub(super) fn fault(&self, what: impl std::fmt::Display) -> EngineError {
        EngineError::Load(format!("{}: {what}", self.file))
    }

    /// A string, if it is there and one.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key)?.as_str()
    }

    /// A whole number of at least 1 and below 2^31.
    pub(super) fn size(&self, key: &str) -> Result<i32, EngineError> {
        let value = self.values.get(key).and_then(Value::as_i64);
        let size = value.and_then(|size| i32::try_from(size).ok()).filter(|&size| size > 0);
        size.ok_or_else(|| self.fault(format!("{key} must be a whole number above 0")))
    }

    /// Number of token ids.
    pub(super) fn vocab_size(&self) -> Result<i32, EngineError> {
        self.size("vocab_size")
    }

    /// A whole number, or `otherwise` where the file is silent.
    pub(super) fn number(&self, key: &str, otherwise: i64) -> i64 {
        self.values.get(key).and_then(Value::as_i64).unwrap_or(otherwise)
    }

    /// The values as a configuration of rust-bert, whose defaults fill what is missing.
    pub(super) fn parse<C>(&self) -> Result<C, EngineError>
    where
        C: Default + Serialize + DeserializeOwned,
    {
        let defaults = serde_json::to_value(C::default()).map_err(|e| self.fault(e))?;
        let Value::Object(mut merged) = defaults else {
            return Err(self.fault("no settings"));
        };
        merged.extend(self.values.clone());
        serde_json::from_value(Value::Object(merged)).map_err(|e| self.fault(e))
    }

    /// The values as a configuration with defaults of its own.
    pub(super) fn parse_as<C: DeserializeOwned>(&self) -> Result<C, EngineError> {
        C::deserialize(Value::Object(self.values.clone())).map_err(|e| self.fault(e))
    }
}
