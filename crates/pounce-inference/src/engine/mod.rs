//! What runs a model: token ids in, logits out.
//!
//! The one seam between the worker pool and a library that does arithmetic.
//! An engine is built, used and dropped on one thread.

pub mod bert;
#[cfg(feature = "embedded")]
pub mod embedded;
#[cfg(feature = "torch")]
pub mod torch;

pub use pounce_kernels::{Kernel, KernelError};

/// Where an engine computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The CUDA device of this number.
    Cuda(usize),
}

impl std::str::FromStr for Device {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let cuda = |number: &str| number.parse().ok().map(Self::Cuda);
        let device = match name {
            "cpu" => Some(Self::Cpu),
            "cuda" => Some(Self::Cuda(0)),
            _ => name.strip_prefix("cuda:").and_then(cuda),
        };
        device.ok_or_else(|| format!("`{name}` is no device; known are cpu, cuda and cuda:N"))
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

/// Number format of weights and activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats: the reference.
    Fp32,
    /// 16-bit brain floats: about twice as fast where the processor has them.
    Bf16,
}

impl Precision {
    /// Every format.
    pub const ALL: [Self; 2] = [Self::Fp32, Self::Bf16];

    /// Reads a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|precision| precision.name() == name)
    }

    /// Name for people, flags and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Bf16 => "bf16",
        }
    }
}

/// Token ids of several posts, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBatch {
    ids: Vec<i32>,
    lengths: Vec<usize>,
    padding_id: i32,
}

impl TokenBatch {
    /// Packs `rows`; `padding_id` is what engines pad them with that need one width.
    pub fn new<'a>(rows: impl IntoIterator<Item = &'a [i32]>, padding_id: i32) -> Self {
        let mut batch = Self { ids: Vec::new(), lengths: Vec::new(), padding_id };
        for row in rows {
            batch.ids.extend_from_slice(row);
            batch.lengths.push(row.len());
        }
        batch
    }

    /// Number of posts.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.lengths.len()
    }

    /// Tokens of the longest post.
    #[must_use]
    pub fn width(&self) -> usize {
        self.lengths.iter().copied().max().unwrap_or(0)
    }

    /// Token ids, one post's after the other's, without padding.
    #[must_use]
    pub fn ids(&self) -> &[i32] {
        &self.ids
    }

    /// Tokens of each post.
    #[must_use]
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Token ids, `rows x width`, row-major, each row padded on the right.
    #[must_use]
    pub fn padded(&self) -> Vec<i32> {
        let width = self.width();
        let mut padded = Vec::with_capacity(self.rows() * width);
        let mut ids = self.ids.as_slice();
        for &length in &self.lengths {
            let (row, rest) = ids.split_at(length);
            padded.extend_from_slice(row);
            padded.resize(padded.len() + width - length, self.padding_id);
            ids = rest;
        }
        padded
    }

    /// Attention mask of [`TokenBatch::padded`]: 1 = token, 0 = padding.
    pub fn mask(&self) -> impl Iterator<Item = i32> + '_ {
        let width = self.width();
        self.lengths
            .iter()
            .flat_map(move |&length| (0..width).map(move |column| i32::from(column < length)))
    }

    /// Tokens that are not padding.
    #[must_use]
    pub fn real_tokens(&self) -> usize {
        self.ids.len()
    }
}

/// Why a batch got no logits.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The files of the model can't be read or make no sense.
    #[error("{0}")]
    Load(String),
    /// The library refused to run the batch.
    #[error("the model failed: {0}")]
    Run(String),
    /// The model's output is not `rows x outputs`.
    #[error("the model gave {got} numbers for {rows} posts and {outputs} labels")]
    Shape {
        /// Numbers that came.
        got: usize,
        /// Posts in the batch.
        rows: usize,
        /// Outputs a post that the labels ask for.
        outputs: usize,
    },
}

/// Runs a model on one thread.
pub trait Engine {
    /// Scores a batch. Returns `rows x outputs` logits,
    /// row-major, in row order and in the order of the model's outputs. A row's
    /// logits do not depend on the other rows beyond rounding (1e-4).
    /// # Errors
    /// [`EngineError::Run`] or [`EngineError::Shape`]; the engine can be used again.
    fn logits(&mut self, batch: &TokenBatch) -> Result<Vec<f32>, EngineError>;
}

/// Builds engines, one on each worker's own thread.
pub trait EngineFactory: Send + Sync {
    /// Name for people and metrics: `bert`, `embedded` or `torch`.
    fn name(&self) -> &'static str;

    /// Name of the processor's instructions that it computes with, if it chose them itself.
    fn kernel(&self) -> Option<&'static str> {
        None
    }

    /// Whether its posts are padded to one width, so that batches of like length pay.
    fn pads(&self) -> bool {
        true
    }

    /// Builds an engine; what workers can share is shared by the factory.
    /// # Errors
    /// [`EngineError::Load`] naming the file at fault.
    fn build(&self) -> Result<Box<dyn Engine>, EngineError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_named_as_in_torch() {
        assert_eq!("cpu".parse(), Ok(Device::Cpu));
        assert_eq!("cuda".parse(), Ok(Device::Cuda(0)));
        assert_eq!("cuda:3".parse().map(|device: Device| device.to_string()), Ok("cuda:3".into()));
        assert!("cuda:".parse::<Device>().is_err() && "gpu".parse::<Device>().is_err());
    }

    #[test]
    fn a_batch_pads_to_its_longest_post_and_masks_the_padding() {
        let batch = TokenBatch::new([&[1, 2, 3][..], &[4][..]], 9);
        assert_eq!((batch.rows(), batch.width(), batch.real_tokens()), (2, 3, 4));
        assert_eq!(batch.ids(), [1, 2, 3, 4]);
        assert_eq!(batch.padded(), [1, 2, 3, 4, 9, 9]);
        assert_eq!(batch.mask().collect::<Vec<_>>(), [1, 1, 1, 1, 0, 0]);
    }
}
