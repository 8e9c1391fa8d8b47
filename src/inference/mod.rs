//! Text becomes a score: normalise, tokenise, wait for a worker, run the model.
//!
//! Knows posts, scores and metrics; nothing of the wire or of topics.

pub mod engine;
pub mod labels;
pub mod model;
pub mod normalise;
pub mod tokens;
