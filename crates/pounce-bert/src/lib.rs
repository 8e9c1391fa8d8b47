//! BERT classifiers in 8-bit integers: token ids in, logits out.
//!
//! Reads a Hugging Face folder (`config.json`, `model.safetensors`) of the BERT family: BERT,
//! ELECTRA, DistilBERT, RoBERTa and XLM-RoBERTa. [`Weights`] are rounded to 8 bits when they are
//! read and shared by all threads; a [`Forward`] pass belongs to one.
//!
//! ```text
//! config.rs      config.json -> what to compute, or why this crate does not
//! checkpoint.rs  model.safetensors -> rows of numbers
//! weights.rs     rows of numbers -> 8-bit matrices and what goes with them
//! forward.rs     the equations of the paper, one line each
//! steps/         the steps between two products, each one pass over its rows
//! lanes.rs       numbers side by side, and sums of them
//! math.rs        exp, tanh, GELU
//! ```
//!
//! Posts are packed without padding, and each row is computed by itself: a post has the same logits
//! alone and in any company, bit for bit, and on every kernel (see `pounce_kernels`).

mod activations;
mod buffer;
mod checkpoint;
mod config;
mod error;
mod forward;
mod lanes;
mod math;
mod steps;
mod weights;

pub use config::Unsupported;
pub use error::OpenError;
pub use forward::{Forward, InputError};
pub use weights::{Weights, supports};
