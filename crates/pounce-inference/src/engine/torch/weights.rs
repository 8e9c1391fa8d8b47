//! A classifier's weights: read from a file once, shared by every engine.

use std::collections::HashMap;
use std::path::Path;

use tch::nn::VarStore;
use tch::{Device, Kind, TchError, Tensor};

use crate::engine::EngineError;

/// Named tensors of one kind on one device; nothing writes to them once shared.
pub(super) struct Weights {
    file: String,
    tensors: HashMap<String, Tensor>,
}

impl Weights {
    /// Reads `.safetensors`, `.bin` (PyTorch's pickle of tensors) or `.ot` (libtorch's own).
    pub(super) fn read(file: &Path, kind: Kind, device: Device) -> Result<Self, EngineError> {
        let name = file.display().to_string();
        let fault = |e: TchError| EngineError::Load(format!("{name}: {}", first_line(&e)));
        let tensors = match file.extension().and_then(|end| end.to_str()) {
            Some("safetensors") => Tensor::read_safetensors(file),
            Some("bin") => Tensor::loadz_multi_with_device(file, Device::Cpu),
            _ => Tensor::load_multi_with_device(file, Device::Cpu),
        };
        let converted = tensors.map_err(fault)?.into_iter().map(|(tensor_name, tensor)| {
            // Position ids and the like stay whole numbers.
            let kind = if tensor.is_floating_point() { kind } else { tensor.kind() };
            let tensor = tensor.f_detach()?.f_to_kind(kind)?.f_to_device(device)?.f_contiguous()?;
            Ok((today(&tensor_name), tensor))
        });
        let tensors = converted.collect::<Result<_, TchError>>().map_err(fault)?;
        Ok(Self { file: name, tensors })
    }

    /// Compares config.json's vocab_size with the word embeddings, before anything
    /// of that size is allocated.
    pub(super) fn check_vocabulary(&self, vocab_size: i32) -> Result<(), EngineError> {
        let is_embedding = |name: &str| name.ends_with("embeddings.word_embeddings.weight");
        let Some((name, tensor)) = self.tensors.iter().find(|(name, _)| is_embedding(name)) else {
            return Err(self.fault("it has no word embeddings"));
        };
        match tensor.size().first() {
            Some(&rows) if rows == i64::from(vocab_size) => Ok(()),
            _ => Err(self.fault(format!(
                "`{name}` is {:?}, but config.json has vocab_size {vocab_size}",
                tensor.size()
            ))),
        }
    }

    /// Replaces a row of a tensor by zeros, if both are there.
    pub(super) fn clear_row(&mut self, name: &str, row: i64) {
        if let Some(tensor) = self.tensors.get_mut(name)
            && tensor.size().first().is_some_and(|&rows| (0..rows).contains(&row))
        {
            let _cleared = tensor.narrow(0, row, 1).zero_();
        }
    }

    /// Makes every variable of a model a second reference to the tensor of its name.
    pub(super) fn share_with(&self, store: &VarStore) -> Result<(), EngineError> {
        for (name, mut variable) in store.variables() {
            let Some(tensor) = self.tensors.get(&name) else {
                return Err(self.fault(format!("it has no tensor `{name}`; is it a classifier?")));
            };
            if tensor.size() != variable.size() {
                return Err(self.fault(format!(
                    "`{name}` is {:?}, but config.json makes it {:?}",
                    tensor.size(),
                    variable.size()
                )));
            }
            let _frozen = variable.set_requires_grad(false);
            variable.set_data(tensor);
        }
        Ok(())
    }

    fn fault(&self, what: impl std::fmt::Display) -> EngineError {
        EngineError::Load(format!("{}: {what}", self.file))
    }
}

/// A tensor's name of today: models converted from TensorFlow still have gamma and beta.
fn today(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((norm, "gamma")) => format!("{norm}.weight"),
        Some((norm, "beta")) => format!("{norm}.bias"),
        _ => name.to_owned(),
    }
}

/// What libtorch says, without the C++ stack behind it.
fn first_line(error: &TchError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
