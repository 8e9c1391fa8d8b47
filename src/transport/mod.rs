//! The two ports: connections, TLS, the gRPC and HTTP servers.
//!
//! Knows sockets and protocols; nothing of what is in a post.

mod calls;
mod framing;
pub mod grpc;
pub(crate) mod grpc_web;
pub mod http;
pub(crate) mod http_server;
pub mod incoming;
mod messages;
pub(crate) mod metrics;
pub mod origin;
mod peers;
pub mod probe_port;
pub mod tls;
pub(crate) mod trust;
mod windows;
