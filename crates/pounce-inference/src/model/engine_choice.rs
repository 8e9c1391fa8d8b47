//! Which engine runs a model: the one that is asked for, else the best for what its folder holds.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::ModelError;
use super::spec::{EngineKind, ModelSpec};
use crate::engine::bert::{BertError, BertFactory};
use crate::engine::{Device, EngineFactory, Kernel};

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
pub(super) struct ChosenEngine {
    pub(super) engine: Arc<dyn EngineFactory>,
    /// The file its weights came from.
    pub(super) weights: PathBuf,
    pub(super) reason: String,
}

/// What engines are opened with.
#[derive(Clone, Copy)]
pub(super) struct EngineOpener<'a> {
    pub(super) folder: &'a Path,
    pub(super) spec: &'a ModelSpec,
    pub(super) outputs: usize,
    pub(super) tokens_max: usize,
}

impl EngineOpener<'_> {
    pub(super) fn engine(self, kind: Option<EngineKind>) -> Result<ChosenEngine, ModelError> {
        const ASKED: &str = "--engine asks for it";
        match kind {
            Some(EngineKind::Bert) => self.bert(ASKED)?.map_err(ModelError::BertUnsupported),
            Some(EngineKind::Embedded) => self.embedded(ASKED.to_owned()),
            Some(EngineKind::Torch) => self.torch(ASKED.to_owned()),
            None => self.preferred(),
        }
    }

    /// The engine of choice for what the folder holds.
    fn preferred(self) -> Result<ChosenEngine, ModelError> {
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
    fn bert(self, reason: &str) -> Result<Result<ChosenEngine, String>, ModelError> {
        self.processor_only("bert")?;
        let kernel = self.spec.kernel.as_deref().map(Kernel::named).transpose()?;
        let kernel = kernel.unwrap_or_else(Kernel::best);
        match BertFactory::load(self.folder, self.outputs, self.tokens_max, kernel) {
            Ok(factory) => Ok(Ok(ChosenEngine {
                engine: Arc::new(factory),
                weights: self.folder.join(SAFETENSORS),
                reason: reason.to_owned(),
            })),
            Err(BertError::Unsupported(reason)) => Ok(Err(reason)),
            Err(BertError::Load(error)) => Err(error.into()),
        }
    }

    #[cfg_attr(not(feature = "embedded"), expect(unused_variables, reason = "nothing to build"))]
    fn embedded(self, reason: String) -> Result<ChosenEngine, ModelError> {
        #[cfg(feature = "embedded")]
        {
            self.processor_only("embedded")?;
            self.no_kernel("embedded", &reason)?;
            let weights = self.folder.join(ONNX);
            let factory = crate::engine::embedded::EmbeddedFactory::load(&weights, self.outputs)?;
            Ok(ChosenEngine { engine: Arc::new(factory), weights, reason })
        }
        #[cfg(not(feature = "embedded"))]
        Err(ModelError::EngineNotBuilt("embedded"))
    }

    #[cfg_attr(not(feature = "torch"), expect(unused_variables, reason = "nothing to build"))]
    fn torch(self, reason: String) -> Result<ChosenEngine, ModelError> {
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
            let factory = crate::engine::torch::TorchFactory::load(
                self.folder,
                &weights,
                self.outputs,
                self.spec.device,
                self.spec.precision,
            )?;
            Ok(ChosenEngine { engine: Arc::new(factory), weights, reason })
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
