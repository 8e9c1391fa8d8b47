//! Posts in, events out: the calls of `ScoringService` and the pipeline that they share.
//!
//! Knows the scorer, the flags and the messages; nothing of tensors, batches or worker threads.

pub mod backlog;
pub(crate) mod ids;
mod in_flight;
pub(crate) mod input;
pub(crate) mod metrics;
pub(crate) mod pipeline;
pub(crate) mod service;
mod stream;
mod textless;
pub(crate) mod wire;

pub use wire::post as read_post;
