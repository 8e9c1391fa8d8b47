//! How a request travelled.

/// Whether a request came through TLS; the transport leaves it with the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Encrypted(pub(crate) bool);
