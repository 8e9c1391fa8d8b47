//! Pounce scores a stream of short posts with a transformer classifier and
//! tells who is unhappy while something can still be done about it.

pub mod app;
pub mod client;
pub mod config;
pub mod discontent;
pub mod inference;
pub mod metrics;
pub mod post;
pub mod score;
pub mod service;
pub mod state;
pub mod telemetry;
pub mod traces;

/// The messages of `proto/pounce/v1`, generated at build time.
pub mod proto {
    #![allow(missing_docs, reason = "generated; the proto files hold the docs")]
    #![allow(clippy::all, reason = "generated")]
    #![allow(clippy::allow_attributes_without_reason, reason = "generated")]
    #![allow(clippy::large_futures, unreachable_pub, reason = "generated")]
    tonic::include_proto!("pounce.v1");

    /// The descriptor set of all messages and services, for reflection.
    pub const DESCRIPTOR_SET: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/pounce_descriptor.bin"));
}
