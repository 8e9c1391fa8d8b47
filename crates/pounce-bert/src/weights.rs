//! The model's numbers: matrices and large tables in 8 bits, the rest in 32-bit floats.
//!
//! Weights are symmetric 8-bit integers with one scale an output, large tables with one scale a row,
//! by the rule of `training/quantise.py`: the integers are those of the exported `model.onnx`.

use std::path::Path;

use pounce_kernels::{Kernel, Matrix};

use crate::checkpoint::Checkpoint;
use crate::config::{Config, Unsupported};
use crate::error::OpenError;

/// Values from which on a table is kept in 8 bits; as in `training/quantise.py`.
const TABLE_8_BIT_MIN: usize = 1 << 18;

/// A classifier's weights, laid out for one kernel; shared by all threads.
#[derive(Debug)]
pub struct Weights {
    pub(crate) kernel: Kernel,
    pub(crate) config: Config,
    pub(crate) embeddings: Embeddings,
    pub(crate) layers: Vec<Layer>,
    pub(crate) dense: Linear,
    pub(crate) classifier: Linear,
}

/// The first vectors of tokens.
#[derive(Debug)]
pub(crate) struct Embeddings {
    pub(crate) words: Table,
    pub(crate) positions: Table,
    /// Of the first token type; zeros where there are no types.
    pub(crate) token_type: Vec<f32>,
    pub(crate) norm: LayerNorm,
    /// From the embeddings' width to the layers', where they differ (ELECTRA).
    pub(crate) projection: Option<Linear>,
}

/// One encoder layer.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) query: Linear,
    /// Keys and values side by side.
    pub(crate) key_value: Linear,
    pub(crate) attention_output: Linear,
    pub(crate) attention_norm: LayerNorm,
    pub(crate) intermediate: Linear,
    pub(crate) output: Linear,
    pub(crate) output_norm: LayerNorm,
}

/// x W + b.
#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) matrix: Matrix,
    /// One a column: weight = integer * scale.
    pub(crate) scales: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

/// LayerNorm's parameters.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    pub(crate) epsilon: f32,
}

/// One vector an id.
#[derive(Debug)]
pub(crate) enum Table {
    Float {
        numbers: Vec<f32>,
        width: usize,
    },
    /// With one scale a row.
    Integer {
        values: Vec<i8>,
        scales: Vec<f32>,
        width: usize,
    },
}

/// Whether a folder's config.json is of a model that this crate computes; its weights are not read.
#[must_use]
pub fn supports(folder: &Path) -> bool {
    read_config(folder).is_ok()
}

fn read_config(folder: &Path) -> Result<Config, OpenError> {
    let file = folder.join("config.json");
    let fault = |reason: String| OpenError::File { file: file.display().to_string(), reason };
    let json = std::fs::read(&file).map_err(|e| fault(e.to_string()))?;
    Ok(Config::parse(&json).map_err(|e| fault(e.to_string()))??)
}

impl Weights {
    /// Reads `config.json` and `model.safetensors` of a folder and lays the weights out for `kernel`.
    /// # Errors
    /// [`OpenError::Unsupported`] if the model is for another engine, [`OpenError::File`] if a file
    /// is missing or damaged.
    pub fn open(folder: &Path, kernel: Kernel) -> Result<Self, OpenError> {
        let config = read_config(folder)?;
        let checkpoint = Checkpoint::open(&folder.join("model.safetensors"))?;
        Reader { checkpoint, kernel, config }.weights()
    }

    /// The kernel they are laid out for.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Logits a post.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.classifier.matrix.columns()
    }

    /// Tokens of the longest post that there are positions for.
    #[must_use]
    pub fn tokens_max(&self) -> usize {
        self.embeddings.positions.rows().saturating_sub(self.config.first_position)
    }

    /// Token ids are below this.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        self.embeddings.words.rows()
    }
}

impl Table {
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Float { numbers, width } => numbers.len() / width,
            Self::Integer { scales, .. } => scales.len(),
        }
    }

    /// Writes a row's numbers.
    #[inline(always)]
    pub(crate) fn read(&self, row: usize, out: &mut [f32]) {
        match self {
            Self::Float { numbers, width } => {
                out.copy_from_slice(&numbers[row * width..][..*width])
            }
            Self::Integer { values, scales, width } => {
                let scale = scales[row];
                for (out, &value) in out.iter_mut().zip(&values[row * width..][..*width]) {
                    *out = f32::from(value) * scale;
                }
            }
        }
    }
}

struct Reader {
    checkpoint: Checkpoint,
    kernel: Kernel,
    config: Config,
}

impl Reader {
    fn weights(mut self) -> Result<Weights, OpenError> {
        let (names, hidden) = (self.config.names, self.config.hidden);
        let embeddings = self.embeddings()?;
        let layers =
            (0..self.config.layers).map(|layer| self.layer(layer)).collect::<Result<_, _>>()?;
        let dense = self.linear(&[names.dense], hidden, 1.0)?;
        let classifier = self.linear(&[names.classifier], hidden, 1.0)?;
        Ok(Weights {
            kernel: self.kernel,
            config: self.config,
            embeddings,
            layers,
            dense,
            classifier,
        })
    }

    fn embeddings(&mut self) -> Result<Embeddings, OpenError> {
        let (prefix, width) = (self.config.names.prefix, self.config.embedding);
        let at = |name: &str| format!("{prefix}.embeddings.{name}");
        let mut token_type = vec![0.0; width];
        if self.config.token_types {
            let mut first = None;
            let types = at("token_type_embeddings.weight");
            self.checkpoint.rows(&types, width, |row| {
                first.get_or_insert_with(|| row.to_vec());
            })?;
            token_type = first.ok_or_else(|| Unsupported::Tensor(types))?;
        }
        let projection = format!("{prefix}.embeddings_project");
        let project = width != self.config.hidden;
        Ok(Embeddings {
            words: self.table(&at("word_embeddings.weight"), width)?,
            positions: self.table(&at("position_embeddings.weight"), width)?,
            token_type,
            norm: self.norm(&at("LayerNorm"), width)?,
            projection: project.then(|| self.linear(&[&projection], width, 1.0)).transpose()?,
        })
    }

    fn layer(&mut self, layer: usize) -> Result<Layer, OpenError> {
        let (names, hidden) = (self.config.names, self.config.hidden);
        let at = |name: &str| format!("{}.{}.{layer}.{name}", names.prefix, names.layers);
        // Attention divides by the root of a head's width; here it is part of the queries.
        #[allow(clippy::cast_precision_loss, reason = "a width is far below 2^23")]
        let query_factor = 1.0 / (self.config.head() as f32).sqrt();
        Ok(Layer {
            query: self.linear(&[&at(names.query)], hidden, query_factor)?,
            key_value: self.linear(&[&at(names.key), &at(names.value)], hidden, 1.0)?,
            attention_output: self.linear(&[&at(names.attention_output)], hidden, 1.0)?,
            attention_norm: self.norm(&at(names.attention_norm), hidden)?,
            intermediate: self.linear(&[&at(names.intermediate)], hidden, 1.0)?,
            output: self.linear(&[&at(names.output)], self.config.intermediate, 1.0)?,
            output_norm: self.norm(&at(names.output_norm), hidden)?,
        })
    }

    fn norm(&mut self, name: &str, width: usize) -> Result<LayerNorm, OpenError> {
        Ok(LayerNorm {
            weight: self.checkpoint.vector(&format!("{name}.weight"), width)?,
            bias: self.checkpoint.vector(&format!("{name}.bias"), width)?,
            epsilon: self.config.epsilon,
        })
    }

    /// Linear layers of the same inputs side by side, times `factor`.
    fn linear(&mut self, names: &[&str], inputs: usize, factor: f32) -> Result<Linear, OpenError> {
        let (mut values, mut scales, mut bias) = (Vec::new(), Vec::new(), Vec::new());
        for name in names {
            let mut quantiser = Quantiser::new(self.kernel, &mut values, &mut scales);
            let outputs = self
                .checkpoint
                .rows(&format!("{name}.weight"), inputs, |row| quantiser.push(row))?;
            bias.extend(self.checkpoint.vector(&format!("{name}.bias"), outputs)?);
        }
        if bias.is_empty() {
            return Err(Unsupported::Tensor(format!("{}.weight", names[0])).into());
        }
        scales.iter_mut().chain(&mut bias).for_each(|number| *number *= factor);
        Ok(Linear { matrix: Matrix::pack(self.kernel, &values, inputs), scales, bias })
    }

    fn table(&mut self, name: &str, width: usize) -> Result<Table, OpenError> {
        let rows = self.checkpoint.count(name)?;
        if rows * width < TABLE_8_BIT_MIN {
            let mut numbers = Vec::with_capacity(rows * width);
            self.checkpoint.rows(name, width, |row| numbers.extend_from_slice(row))?;
            return Ok(Table::Float { numbers, width });
        }
        let (mut values, mut scales) = (Vec::new(), Vec::with_capacity(rows));
        values.reserve_exact(rows * width);
        let mut quantiser = Quantiser::new(self.kernel, &mut values, &mut scales);
        self.checkpoint.rows(name, width, |row| quantiser.push(row))?;
        Ok(Table::Integer { values, scales, width })
    }
}

/// Rounds rows of weights to symmetric 8-bit integers, one scale a row.
struct Quantiser<'a> {
    kernel: Kernel,
    values: &'a mut Vec<i8>,
    scales: &'a mut Vec<f32>,
}

impl<'a> Quantiser<'a> {
    fn new(kernel: Kernel, values: &'a mut Vec<i8>, scales: &'a mut Vec<f32>) -> Self {
        Self { kernel, values, scales }
    }

    #[allow(clippy::cast_possible_truncation, reason = "within 127 of zero")]
    fn push(&mut self, row: &[f32]) {
        let start = self.values.len();
        self.values.resize(start + row.len(), 0);
        let values = &mut self.values[start..];
        self.scales.push(self.kernel.run(
            #[inline(always)]
            || {
                let scale = crate::math::max(crate::lanes::largest(row), 1e-12) / 127.0;
                for (value, weight) in values.iter_mut().zip(row) {
                    *value = (weight / scale).round_ties_even() as i8;
                }
                scale
            },
        ));
    }
}
