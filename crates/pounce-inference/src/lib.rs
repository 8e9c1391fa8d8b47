//! Text becomes a score: normalise, tokenise, wait for a worker, run the model.
//!
//! Knows posts, scores and metrics; nothing of the wire or of topics.

//!
//! ```text
//! Lane::score   normalise -> (cache) -> tokens -> room -> scheduler ... -> Scored
//!                                                           |       ^
//! worker thread                        waiting: next batch <+       |
//!                                      engine: token ids -> logits -+
//! ```

pub mod engine;
mod english;
pub mod labels;
mod language;
pub mod metrics;
pub mod model;
pub mod normalise;
mod scheduler;
pub mod scorer;
pub mod tokens;
mod traces;
pub mod waiting;
mod worker;
