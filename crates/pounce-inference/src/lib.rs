//! Text becomes a score: normalise, tokenise, wait for a worker, run the model.
//!
//! Knows posts, scores and metrics; nothing of the wire or of topics.
//!
//! ```text
//! Flow::score    gate: room? -> text: normalise, language, tokens -> scheduler ... -> Scored
//!                (admission)    (text_pool, if it is long)            |       ^
//! worker thread                          batching: the next batch <---+       |
//!                                        engine: token ids -> logits ---------+
//! ```

pub mod admission;
pub mod batching;
pub mod engine;
pub mod fair_queue;
pub mod flow_key;
pub mod gate;
#[cfg(all(test, feature = "interleavings"))]
mod interleavings;
pub mod labels;
pub mod language;
pub mod limits;
pub mod metrics;
pub mod model;
pub mod normalise;
mod pipeline;
mod scheduler;
pub mod scored;
pub mod scorer;
mod sync;
mod text;
mod text_pool;
pub mod tokens;
mod traces;
mod worker;
