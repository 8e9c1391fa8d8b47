//! Text becomes a score: normalise, tokenise, wait for a worker, run the model.
//!
//! Knows posts, scores and metrics; nothing of the wire or of topics.
//!
//! ```text
//! Flow::score   normalise -> (cache) -> tokens -> room -> scheduler ... -> Scored
//!                                                           |       ^
//! worker thread                        batching: next batch <+       |
//!                                      engine: token ids -> logits -+
//! ```

pub mod batching;
pub mod engine;
mod english;
pub mod labels;
mod language;
pub mod metrics;
pub mod model;
pub mod normalise;
mod scheduler;
pub mod scored;
pub mod scorer;
pub mod tokens;
mod traces;
mod worker;
