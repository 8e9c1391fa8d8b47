//! config.json becomes what to compute; what this crate does not compute is refused with the reason.
//!
//! The names of settings and tensors are those of Hugging Face's transformers.

use serde::Deserialize;

/// Widths are whole multiples of this, as the products of `pounce_kernels` want their inputs.
const WIDTH_MULTIPLE: usize = pounce_kernels::INPUTS_MULTIPLE;

/// Why a model is for another engine. Each message completes "the engine `bert` does not run it: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// An architecture that is not of the family.
    #[error("model_type is `{0}`; it runs bert, distilbert, electra, roberta and xlm-roberta")]
    Architecture(String),
    /// A feed-forward activation that is not known.
    #[error("hidden_act is `{0}`; it knows gelu, gelu_new and relu")]
    Activation(String),
    /// Positions that are not a table.
    #[error("position_embedding_type is `{0}`; it knows absolute positions")]
    Positions(String),
    /// A model that reads from left to right.
    #[error("is_decoder is set; it runs encoders")]
    Decoder,
    /// A size that is missing, zero or of no use to the products.
    #[error("{name} is {value}; it needs a multiple of {WIDTH_MULTIPLE} above zero")]
    Width {
        /// Of the setting.
        name: &'static str,
        /// What it is.
        value: usize,
    },
    /// Heads that do not share the width evenly.
    #[error("hidden_size {hidden} is not a multiple of {heads} attention heads")]
    Heads {
        /// Width of a token's vector.
        hidden: usize,
        /// Number of attention heads.
        heads: usize,
    },
    /// No layers.
    #[error("num_hidden_layers is zero")]
    NoLayers,
    /// A tensor that the architecture needs.
    #[error("model.safetensors has no tensor `{0}`")]
    Tensor(String),
    /// Numbers that are no floating-point numbers.
    #[error("tensor `{name}` holds {format}; it reads F32, F16 and BF16")]
    Format {
        /// Of the tensor.
        name: String,
        /// Its number format.
        format: String,
    },
}

/// A nonlinearity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// x * Phi(x).
    Gelu,
    /// Its approximation by a hyperbolic tangent.
    GeluTanh,
    /// max(x, 0).
    Relu,
    /// The hyperbolic tangent.
    Tanh,
}

impl Activation {
    fn parse(name: &str) -> Result<Self, Unsupported> {
        match name {
            "gelu" | "gelu_python" => Ok(Self::Gelu),
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Ok(Self::GeluTanh),
            "relu" => Ok(Self::Relu),
            other => Err(Unsupported::Activation(other.to_owned())),
        }
    }
}

/// What an architecture calls its tensors, and how its classifier differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Names {
    /// In front of the encoder's names.
    pub(crate) prefix: &'static str,
    /// In front of a layer's number.
    pub(crate) layers: &'static str,
    pub(crate) query: &'static str,
    pub(crate) key: &'static str,
    pub(crate) value: &'static str,
    pub(crate) attention_output: &'static str,
    pub(crate) attention_norm: &'static str,
    pub(crate) intermediate: &'static str,
    pub(crate) output: &'static str,
    pub(crate) output_norm: &'static str,
    /// The classifier's first linear layer.
    pub(crate) dense: &'static str,
    /// Its second one, to the labels.
    pub(crate) classifier: &'static str,
}

const BERT: Names = Names {
    prefix: "bert",
    layers: "encoder.layer",
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    intermediate: "intermediate.dense",
    output: "output.dense",
    output_norm: "output.LayerNorm",
    dense: "bert.pooler.dense",
    classifier: "classifier",
};

const ELECTRA: Names = Names {
    prefix: "electra",
    dense: "classifier.dense",
    classifier: "classifier.out_proj",
    ..BERT
};

const ROBERTA: Names = Names {
    prefix: "roberta",
    dense: "classifier.dense",
    classifier: "classifier.out_proj",
    ..BERT
};

const DISTILBERT: Names = Names {
    prefix: "distilbert",
    layers: "transformer.layer",
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    attention_output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    intermediate: "ffn.lin1",
    output: "ffn.lin2",
    output_norm: "output_layer_norm",
    dense: "pre_classifier",
    classifier: "classifier",
};

/// What to compute.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    pub(crate) names: Names,
    /// Width of a token's vector.
    pub(crate) hidden: usize,
    /// Width of an embedding; another one than `hidden` is projected to it.
    pub(crate) embedding: usize,
    /// Width of the feed-forward layer.
    pub(crate) intermediate: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    pub(crate) activation: Activation,
    /// Between the classifier's two linear layers.
    pub(crate) classifier_activation: Activation,
    pub(crate) epsilon: f32,
    /// Position of the first token in the table of positions.
    pub(crate) first_position: usize,
    /// Whether tokens are of types; all of a post's are of the first.
    pub(crate) token_types: bool,
}

/// config.json, as far as it says what to compute; under the names of DistilBERT too.
#[derive(Debug, Deserialize)]
struct File {
    #[serde(alias = "dim")]
    hidden_size: usize,
    #[serde(alias = "n_layers")]
    num_hidden_layers: usize,
    #[serde(alias = "n_heads")]
    num_attention_heads: usize,
    #[serde(alias = "hidden_dim")]
    intermediate_size: usize,
    #[serde(alias = "activation", default = "gelu")]
    hidden_act: String,
    embedding_size: Option<usize>,
    #[serde(default = "epsilon")]
    layer_norm_eps: f32,
    pad_token_id: Option<usize>,
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
}

fn gelu() -> String {
    "gelu".to_owned()
}

fn epsilon() -> f32 {
    1e-12
}

impl Config {
    /// Reads config.json's bytes.
    pub(crate) fn parse(json: &[u8]) -> Result<Result<Self, Unsupported>, serde_json::Error> {
        /// What any architecture's file has.
        #[derive(Deserialize)]
        struct Kind {
            #[serde(default)]
            model_type: String,
        }
        let Kind { model_type } = serde_json::from_slice(json)?;
        // The other settings of another architecture may be called otherwise.
        match names(&model_type) {
            Some(names) => Ok(Self::checked(names, serde_json::from_slice(json)?)),
            None => Ok(Err(Unsupported::Architecture(model_type))),
        }
    }

    fn checked(names: Names, file: File) -> Result<Self, Unsupported> {
        let embedding = file.embedding_size.filter(|_| names == ELECTRA);
        let embedding = embedding.unwrap_or(file.hidden_size);
        for (name, value) in [
            ("hidden_size", file.hidden_size),
            ("embedding_size", embedding),
            ("intermediate_size", file.intermediate_size),
        ] {
            if value == 0 || !value.is_multiple_of(WIDTH_MULTIPLE) {
                return Err(Unsupported::Width { name, value });
            }
        }
        let (hidden, heads) = (file.hidden_size, file.num_attention_heads);
        if heads == 0 || !hidden.is_multiple_of(heads) {
            return Err(Unsupported::Heads { hidden, heads });
        }
        if file.num_hidden_layers == 0 {
            return Err(Unsupported::NoLayers);
        }
        if let Some(kind) = file.position_embedding_type.filter(|kind| kind != "absolute") {
            return Err(Unsupported::Positions(kind));
        }
        if file.is_decoder {
            return Err(Unsupported::Decoder);
        }
        Ok(Self {
            names,
            hidden,
            embedding,
            intermediate: file.intermediate_size,
            layers: file.num_hidden_layers,
            heads,
            activation: Activation::parse(&file.hidden_act)?,
            classifier_activation: match names {
                ELECTRA => Activation::Gelu,
                DISTILBERT => Activation::Relu,
                _ => Activation::Tanh,
            },
            epsilon: if names == DISTILBERT { epsilon() } else { file.layer_norm_eps },
            // RoBERTa's positions start behind its padding token.
            first_position: if names == ROBERTA { file.pad_token_id.unwrap_or(1) + 1 } else { 0 },
            token_types: names != DISTILBERT,
        })
    }

    /// Width of an attention head.
    pub(crate) fn head(&self) -> usize {
        self.hidden / self.heads
    }
}

fn names(model_type: &str) -> Option<Names> {
    match model_type {
        "bert" => Some(BERT),
        "electra" => Some(ELECTRA),
        "distilbert" => Some(DISTILBERT),
        "roberta" | "xlm-roberta" | "camembert" => Some(ROBERTA),
        _ => None,
    }
}
