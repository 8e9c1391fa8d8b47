//! NATS JetStream as a source and as a sink.

pub mod connection;
pub mod sink;
pub mod source;
