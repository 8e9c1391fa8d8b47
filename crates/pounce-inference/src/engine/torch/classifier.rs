//! The architectures there are, and what rust-bert needs to run each right.
//!
//! Where rust-bert's own classifier gives other logits than PyTorch, or knows no
//! classifier, the difference is made up for here and in the files beside.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rust_bert::RustBertError;
use rust_bert::albert::{AlbertConfig, AlbertForSequenceClassification};
use rust_bert::bert::{BertConfig, BertForSequenceClassification};
use rust_bert::distilbert::{DistilBertConfig, DistilBertModelClassifier};
use rust_bert::electra::{ElectraConfig, ElectraModel};
use rust_bert::mobilebert::{MobileBertConfig, MobileBertForSequenceClassification};
use tch::{Kind, Tensor, nn};

use super::config::ConfigJson;
use super::deberta::{self, Deberta};
use super::head::Head;
use super::roberta::Roberta;
use super::weights::Weights;
use crate::engine::EngineError;

/// Logits (`rows x outputs`) of token ids and their mask (both `rows x width`,
/// Int64; mask 1 = token, 0 = padding).
pub(super) type Forward = Box<dyn Fn(&Tensor, &Tensor) -> Result<Tensor, EngineError>>;

/// What is added to the attention scores of padding; e to this power is 0.
const MASKED: f64 = -10_000.0;

/// A kind of classifier, under transformers' name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Architecture {
    Bert,
    DistilBert,
    Roberta,
    Albert,
    Electra,
    MobileBert,
    Deberta,
    DebertaV2,
}

/// config.json's model_type, and the architecture that runs it.
const MODEL_TYPES: [(&str, Architecture); 10] = [
    ("bert", Architecture::Bert),
    ("distilbert", Architecture::DistilBert),
    ("roberta", Architecture::Roberta),
    ("xlm-roberta", Architecture::Roberta),
    ("camembert", Architecture::Roberta),
    ("albert", Architecture::Albert),
    ("electra", Architecture::Electra),
    ("mobilebert", Architecture::MobileBert),
    ("deberta", Architecture::Deberta),
    ("deberta-v2", Architecture::DebertaV2),
];

impl Architecture {
    /// Reads model_type and checks what the architecture can't do without.
    pub(super) fn of(config: &ConfigJson) -> Result<Self, EngineError> {
        let name = config.text("model_type").unwrap_or_default();
        let Some((_, architecture)) = MODEL_TYPES.iter().find(|(known, _)| *known == name) else {
            let known = MODEL_TYPES.map(|(name, _)| name).join(", ");
            return Err(
                config.fault(format!("model_type is `{name}`; the torch engine runs {known}"))
            );
        };
        architecture.check(config)?;
        Ok(*architecture)
    }

    /// Name for logs.
    pub(super) fn name(self) -> &'static str {
        let known = MODEL_TYPES.iter().find(|(_, architecture)| *architecture == self);
        known.map_or("", |(name, _)| name)
    }

    fn check(self, config: &ConfigJson) -> Result<(), EngineError> {
        let [width, heads, layers] = match self {
            Self::DistilBert => ["dim", "n_heads", "n_layers"],
            _ => ["hidden_size", "num_attention_heads", "num_hidden_layers"],
        };
        config.size(layers)?;
        if config.size(width)? % config.size(heads)? != 0 {
            return Err(config.fault(format!("{width} must be a multiple of {heads}")));
        }
        let positions = config.text("position_embedding_type").unwrap_or("absolute");
        if positions != "absolute" {
            return Err(config.fault(format!("position_embedding_type `{positions}` is not known")));
        }
        if self == Self::Albert
            && ["num_hidden_groups", "inner_group_num"].iter().any(|key| config.number(key, 1) != 1)
        {
            return Err(config.fault("num_hidden_groups and inner_group_num must be 1"));
        }
        Ok(())
    }

    /// Tokens that a row may have.
    pub(super) fn width_max(self, config: &ConfigJson) -> Result<usize, EngineError> {
        let positions = i64::from(config.size("max_position_embeddings")?);
        let first = if self == Self::Roberta { first_position(config) } else { 0 };
        let width = usize::try_from(positions - first).ok().filter(|&width| width > 0);
        width.ok_or_else(|| config.fault("max_position_embeddings leaves no position for a token"))
    }

    /// Changes weights that would make a post's score depend on its batch-mates.
    pub(super) fn adapt(self, config: &ConfigJson, weights: &mut Weights) {
        if self == Self::MobileBert {
            // A token's embedding holds its neighbours'. A lone post's last token
            // has zeros at its right; one that is padded must have the same.
            let padding = config.number("pad_token_id", 0);
            weights.clear_row("mobilebert.embeddings.word_embeddings.weight", padding);
        }
    }

    /// Lays out the model's variables below `root`, with weights of no meaning yet.
    pub(super) fn build(
        self,
        root: &nn::Path<'_>,
        config: &ConfigJson,
    ) -> Result<Forward, EngineError> {
        // tch panics where libtorch refuses a tensor, as of 10^12 elements.
        let built = catch_unwind(AssertUnwindSafe(|| match self {
            Self::Bert => bert(root, config),
            Self::DistilBert => distilbert(root, config),
            Self::Roberta => roberta(root, config),
            Self::Albert => albert(root, config),
            Self::Electra => electra(root, config),
            Self::MobileBert => mobilebert(root, config),
            Self::Deberta => deberta(root, config, deberta::Version::One),
            Self::DebertaV2 => deberta(root, config, deberta::Version::Two),
        }));
        built.unwrap_or_else(|panic| {
            let reason = panic.downcast_ref::<String>().map_or("", String::as_str);
            // A TchError as unwrap shows it, with the C++ stack behind the first line.
            let reason = reason.split("Torch(\"").last().unwrap_or_default();
            let reason = reason.split("\\n").next().unwrap_or_default();
            Err(config.fault(format!("libtorch can't build this model: {reason}")))
        })
    }
}

/// RoBERTa's positions start behind the padding token's id.
fn first_position(config: &ConfigJson) -> i64 {
    config.number("pad_token_id", 1) + 1
}

fn run_fault(error: RustBertError) -> EngineError {
    EngineError::Run(error.to_string())
}

fn bert(root: &nn::Path<'_>, config: &ConfigJson) -> Result<Forward, EngineError> {
    let model = BertForSequenceClassification::new(root, &config.parse::<BertConfig>()?);
    let model = model.map_err(|e| config.fault(e))?;
    Ok(Box::new(move |ids, mask| {
        Ok(model.forward_t(Some(ids), Some(mask), None, None, None, false).logits)
    }))
}

fn distilbert(root: &nn::Path<'_>, config: &ConfigJson) -> Result<Forward, EngineError> {
    let model = DistilBertModelClassifier::new(root, &config.parse::<DistilBertConfig>()?);
    let model = model.map_err(|e| config.fault(e))?;
    Ok(Box::new(move |ids, mask| {
        let output = model.forward_t(Some(ids), Some(mask), None, false);
        Ok(output.map_err(run_fault)?.logits)
    }))
}

fn roberta(root: &nn::Path<'_>, config: &ConfigJson) -> Result<Forward, EngineError> {
    let model = Roberta::new(root, &config.parse::<BertConfig>()?);
    let padding = config.number("pad_token_id", 1);
    Ok(Box::new(move |ids, mask| model.forward(ids, mask, padding).map_err(run_fault)))
}

fn albert(root: &nn::Path<'_>, config: &ConfigJson) -> Result<Forward, EngineError> {
    let model = AlbertForSequenceClassification::new(root, &config.parse::<AlbertConfig>()?);
    let model = model.map_err(|e| config.fault(e))?;
    Ok(Box::new(move |ids, mask| {
        Ok(model.forward_t(Some(ids), Some(mask), None, None, None, false).logits)
    }))
}

/// rust-bert has ELECTRA's encoder but no classifier.
fn electra(root: &nn::Path<'_>, config: &ConfigJson) -> Result<Forward, EngineError> {
    let settings: ElectraConfig = config.parse()?;
    let outputs = settings.id2label.as_ref().map_or(0, std::collections::HashMap::len);
    let model = ElectraModel::new(root / "electra", &settings);
    let head = Head::new(&(root / "classifier"), settings.hidden_size, outputs);
    Ok(Box::new(move |ids, mask| {
        // rust-bert adds this mask to the scores as it is: 1 and 0 would let padding in.
        let mask = (mask.ones_like() - mask).to_kind(head.kind()) * MASKED;
        let output = model.forward_t(Some(ids), Some(&mask), None, None, None, false);
        Ok(head.forward(&output.map_err(run_fault)?.hidden_state, |hidden| hidden.gelu("none")))
    }))
}

fn mobilebert(root: &nn::Path<'_>, config: &ConfigJson) -> Result<Forward, EngineError> {
    let model =
        MobileBertForSequenceClassification::new(root, &config.parse::<MobileBertConfig>()?);
    let model = model.map_err(|e| config.fault(e))?;
    Ok(Box::new(move |ids, mask| {
        let output = model.forward_t(Some(ids), None, None, None, Some(mask), false);
        Ok(output.map_err(run_fault)?.logits)
    }))
}

fn deberta(
    root: &nn::Path<'_>,
    config: &ConfigJson,
    version: deberta::Version,
) -> Result<Forward, EngineError> {
    let settings: deberta::Config = config.parse_as()?;
    settings.check().map_err(|reason| config.fault(reason))?;
    let model = Deberta::new(root, &settings, version);
    Ok(Box::new(move |ids, mask| Ok(model.forward(ids, &mask.to_kind(Kind::Bool)))))
}
