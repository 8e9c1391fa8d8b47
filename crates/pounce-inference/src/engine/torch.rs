//! The torch engine: Hugging Face classifiers through rust-bert on libtorch.
//!
//! This file and its folder are the only place that names rust-bert and tch.

mod classifier;
mod config;
mod deberta;
mod head;
mod roberta;
mod weights;

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use tch::nn::VarStore;
use tch::{Cuda, Kind, Tensor};

use self::classifier::{Architecture, Forward};
use self::config::ConfigJson;
use self::weights::Weights;
use super::{Device, Engine, EngineError, EngineFactory, Precision, TokenBatch};

/// Holds a classifier's weights once, for the engines of all workers.
///
/// Engines read the same memory: a `Tensor` is a counted reference that may move
/// between threads, and nothing writes to a weight after [`TorchFactory::load`].
pub struct TorchFactory {
    architecture: Architecture,
    config: ConfigJson,
    limits: Limits,
    device: tch::Device,
    /// Taken while an engine is built, so that engines are built one at a time:
    /// each needs room for a second set of weights until it has taken these.
    weights: Mutex<Weights>,
}

/// What a batch must keep to; libtorch panics on one that does not.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Tokens of a row.
    width_max: usize,
    /// Token ids are below this.
    vocabulary: i32,
    /// Outputs a row.
    outputs: usize,
}

impl TorchFactory {
    /// Loads the classifier of a folder: config.json and `file`, its weights
    /// (`.safetensors`, `.bin` or `.ot`). Without a `precision`, bf16 is taken on
    /// processors that compute in it and fp32 elsewhere.
    /// # Errors
    /// [`EngineError::Load`] naming the file at fault, or a device that is not there.
    pub fn load(
        folder: &Path,
        file: &Path,
        outputs: usize,
        device: Device,
        precision: Option<Precision>,
    ) -> Result<Self, EngineError> {
        tch::set_num_threads(1);
        let device = available(device)?;
        let precision = precision.unwrap_or_else(|| default_precision(device));
        let config = ConfigJson::read(&folder.join("config.json"), outputs)?;
        let architecture = Architecture::of(&config)?;
        let kind = match precision {
            Precision::Fp32 => Kind::Float,
            Precision::Bf16 => Kind::BFloat16,
        };
        let mut weights = Weights::read(file, kind, device)?;
        weights.check_vocabulary(config.vocab_size()?)?;
        architecture.adapt(&config, &mut weights);
        let limits = Limits {
            width_max: architecture.width_max(&config)?,
            vocabulary: config.vocab_size()?,
            outputs,
        };
        let factory = Self { architecture, config, limits, device, weights: Mutex::new(weights) };
        // Weights that don't fit are an error at start, not on a worker.
        factory.engine()?;
        tracing::info!(
            architecture = factory.architecture.name(),
            ?device,
            precision = precision.name(),
            "loaded a torch classifier"
        );
        Ok(factory)
    }

    fn engine(&self) -> Result<Torch, EngineError> {
        // Per thread in libtorch; one a worker, as workers are what scales.
        tch::set_num_threads(1);
        let weights = self.weights.lock().unwrap_or_else(PoisonError::into_inner);
        let store = VarStore::new(self.device);
        let forward = self.architecture.build(&store.root(), &self.config)?;
        weights.share_with(&store)?;
        Ok(Torch { forward, limits: self.limits, device: self.device })
    }
}

impl EngineFactory for TorchFactory {
    fn name(&self) -> &'static str {
        "torch"
    }

    fn build(&self) -> Result<Box<dyn Engine>, EngineError> {
        Ok(Box::new(self.engine()?))
    }
}

struct Torch {
    forward: Forward,
    limits: Limits,
    device: tch::Device,
}

impl Engine for Torch {
    fn logits(&mut self, batch: &TokenBatch) -> Result<Vec<f32>, EngineError> {
        self.limits.check(batch)?;
        let fault = |e: tch::TchError| EngineError::Run(e.to_string());
        let matrix = |numbers: &[i32]| -> Result<Tensor, tch::TchError> {
            let shape = [as_i64(batch.rows()), as_i64(batch.width())];
            Tensor::f_from_slice(numbers)?
                .f_view(shape)?
                .f_to_device(self.device)?
                .f_to_kind(Kind::Int64)
        };
        let ids = matrix(&batch.padded()).map_err(fault)?;
        let mask = matrix(&batch.mask().collect::<Vec<i32>>()).map_err(fault)?;
        let logits = tch::no_grad(|| (self.forward)(&ids, &mask))?;
        let logits = logits.f_to_kind(Kind::Float).and_then(|logits| logits.f_contiguous());
        let logits = logits.and_then(|logits| logits.f_view(-1)).map_err(fault)?;
        let logits = Vec::<f32>::try_from(&logits).map_err(fault)?;
        if logits.len() != batch.rows() * self.limits.outputs {
            return Err(EngineError::Shape {
                got: logits.len(),
                rows: batch.rows(),
                outputs: self.limits.outputs,
            });
        }
        Ok(logits)
    }
}

impl Limits {
    fn check(&self, batch: &TokenBatch) -> Result<(), EngineError> {
        let fault = |what: String| Err(EngineError::Run(what));
        if batch.rows() == 0 || batch.width() == 0 {
            return fault("the batch is empty".to_owned());
        }
        if batch.width() > self.width_max {
            return fault(format!("a post of {} tokens, limit {}", batch.width(), self.width_max));
        }
        match batch.ids().iter().find(|id| !(0..self.vocabulary).contains(id)) {
            Some(id) => fault(format!(
                "token {id} is not below vocab_size {}: the tokenizer is another model's",
                self.vocabulary
            )),
            None => Ok(()),
        }
    }
}

/// The device in tch's terms, once it is known to be there.
fn available(device: Device) -> Result<tch::Device, EngineError> {
    let Device::Cuda(number) = device else { return Ok(tch::Device::Cpu) };
    let count = usize::try_from(Cuda::device_count()).unwrap_or(0);
    if number < count && Cuda::is_available() {
        return Ok(tch::Device::Cuda(number));
    }
    let found = match count {
        0 => "libtorch sees no CUDA device (is it a CUDA build, and is there a driver?)".to_owned(),
        1 => "the only CUDA device is cuda:0".to_owned(),
        _ => format!("the CUDA devices are cuda:0 to cuda:{}", count - 1),
    };
    Err(EngineError::Load(format!("device {device} is not available: {found}")))
}

fn default_precision(device: tch::Device) -> Precision {
    if device == tch::Device::Cpu && computes_in_bf16() { Precision::Bf16 } else { Precision::Fp32 }
}

/// Whether this processor multiplies bf16; others would emulate it slowly.
fn computes_in_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx512bf16")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

fn as_i64(number: usize) -> i64 {
    i64::try_from(number).expect("lengths fit into 63 bits")
}
