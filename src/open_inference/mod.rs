//! The Open Inference Protocol: texts as tensors in, probabilities out.
//!
//! One more way to the calls of `scoring`, with the same tokens, limits, rates and drain. Knows
//! tensors and the messages; nothing of how a post is scored.

mod fault;
mod request;
mod response;
pub(crate) mod service;
mod stream;
mod task;
