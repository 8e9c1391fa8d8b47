//! Which model is served and how it is read.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use pounce_inference::engine::{Device, Kernel, Precision};
use pounce_inference::model::{EngineKind, ModelSpec};
use pounce_inference::normalise::Normalisation;

/// A model's folder and how to read it.
#[derive(Debug, Clone)]
pub struct ModelConfig {
    /// The folder.
    pub folder: PathBuf,
    /// What the command line says of it.
    pub spec: ModelSpec,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub(super) struct ModelFlags {
    /// Folder of the model
    #[arg(long, env = "POUNCE_MODEL", default_value = "model", value_name = "DIR")]
    model: PathBuf,
    /// Engine that runs the model [default: the fastest one that can read the folder]
    #[arg(long, env = "POUNCE_ENGINE", value_parser = engines())]
    engine: Option<EngineKind>,
    /// Processor instructions for the bert engine [default: the fastest that this processor has]
    #[arg(long, env = "POUNCE_KERNEL", value_parser = PossibleValuesParser::new(Kernel::NAMES))]
    kernel: Option<String>,
    /// Where the torch engine computes: cpu or cuda:N
    #[arg(long, env = "POUNCE_DEVICE", default_value_t = Device::Cpu, value_name = "DEVICE")]
    device: Device,
    /// Number format of the torch engine [default: bf16 where the processor has it, else fp32]
    #[arg(long, env = "POUNCE_PRECISION", value_parser = precisions())]
    precision: Option<Precision>,
    /// Names of the model's outputs, in output order, instead of config.json's
    #[arg(long, env = "POUNCE_LABELS", value_delimiter = ',', value_name = "NAME,..")]
    labels: Option<Vec<String>>,
    /// How texts are prepared [default: what config.json says; if it says nothing, texts are not
    /// changed]
    #[arg(long, env = "POUNCE_NORMALISATION", value_parser = normalisations())]
    normalisation: Option<Normalisation>,
}

impl ModelFlags {
    pub(super) fn config(self) -> ModelConfig {
        let Self { model, engine, kernel, device, precision, labels, normalisation } = self;
        let spec = ModelSpec { engine, kernel, labels, normalisation, device, precision };
        ModelConfig { folder: model, spec }
    }
}

/// Reads one of `names`, each with its help, by `parse`.
fn named<T: Clone + Send + Sync + 'static>(
    names: impl IntoIterator<Item = (&'static str, &'static str)>,
    parse: fn(&str) -> Option<T>,
) -> impl TypedValueParser<Value = T> {
    let values = names.into_iter().map(|(name, help)| PossibleValue::new(name).help(help));
    PossibleValuesParser::new(values)
        .try_map(move |name| parse(&name).ok_or("is not among the possible values"))
}

fn engines() -> impl TypedValueParser<Value = EngineKind> {
    let help = |engine| match engine {
        EngineKind::Bert => "our own, in 8 bits, on model.safetensors of the BERT family",
        EngineKind::Embedded => "rten on model.onnx",
        EngineKind::Torch => "rust-bert on model.safetensors, pytorch_model.bin or rust_model.ot",
    };
    named(EngineKind::ALL.map(|engine| (engine.name(), help(engine))), EngineKind::parse)
}

fn precisions() -> impl TypedValueParser<Value = Precision> {
    let help = |precision| match precision {
        Precision::Fp32 => "32-bit floats: the reference",
        Precision::Bf16 => "16-bit brain floats: about twice as fast on processors that have them",
    };
    named(Precision::ALL.map(|one| (one.name(), help(one))), Precision::parse)
}

fn normalisations() -> impl TypedValueParser<Value = Normalisation> {
    let help = |scheme| match scheme {
        Normalisation::None => "Texts are not changed, as in transformers' pipelines",
        Normalisation::SocialV1 => {
            "Mentions, links, e-mail addresses, long numbers, entities, emoji and white space"
        }
        Normalisation::SocialV2 => {
            "As social-v1; then without mentions in front, links at the end, quotes round it and a \
             full stop"
        }
        Normalisation::TweetEval => {
            "Mentions and links alone, as the models of the TweetEval benchmark were trained"
        }
    };
    named(Normalisation::ALL.map(|one| (one.name(), help(one))), Normalisation::parse)
}
