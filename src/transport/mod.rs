//! The two ports: connections, TLS, the gRPC and HTTP servers.
//!
//! Knows sockets and protocols; nothing of what is in a post.

mod calls;
pub mod grpc;
pub mod http;
pub mod incoming;
pub(crate) mod metrics;
pub mod tls;
