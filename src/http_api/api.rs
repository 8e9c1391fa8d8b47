//! What the handlers share, and who may send posts over HTTP.

use std::sync::Arc;

use axum::http::{Extensions, StatusCode, request};
use tonic::transport::server::TcpConnectInfo;

use super::body::BodyLimits;
use super::problem::Problem;
use crate::auth::encrypted::Encrypted;
use crate::auth::guard::Guard;
use crate::auth::need::Need;
use crate::auth::tokens::Scope;
use crate::lifecycle::calls::OpenCalls;
use crate::lifecycle::drain::{Drain, Phase};
use crate::parts::Parts;
use crate::scoring::service::Scoring;

/// What the handlers share.
pub(crate) struct Api {
    pub(super) scoring: Arc<Scoring>,
    pub(super) calls: OpenCalls,
    pub(super) limits: BodyLimits,
    guard: Guard,
    drain: Drain,
    /// The server has a certificate: posts and tokens are not taken in clear.
    tls: bool,
}

impl Api {
    /// Shares `scoring` with the gRPC port; `tls` tells whether the server has a certificate.
    pub(crate) fn new(scoring: Arc<Scoring>, parts: &Parts, tls: bool) -> Self {
        Self {
            limits: BodyLimits::new(&scoring.limits),
            guard: Guard::new(parts.tokens.clone()),
            calls: parts.calls.clone(),
            drain: parts.drain.clone(),
            scoring,
            tls,
        }
    }

    /// Lets a request in; what it returns is what a gRPC call of this caller has with it.
    pub(super) fn admit(&self, head: &request::Parts) -> Result<Extensions, Problem> {
        // Before the token is looked at: it must not be of use in clear.
        if self.tls && head.extensions.get() != Some(&Encrypted(true)) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "permission_denied",
                "this server has a certificate: use https on this port",
            ));
        }
        if self.drain.phase() >= Phase::Draining {
            return Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "this server is shutting down: send the posts to another one",
            ));
        }
        let need = Need::Scope(Scope::Score);
        let caller = self.guard.admit(head.uri.path(), need, &head.headers)?;
        let mut extensions = Extensions::new();
        extensions.insert(caller);
        if let Some(peer) = head.extensions.get::<TcpConnectInfo>() {
            extensions.insert(peer.clone());
        }
        Ok(extensions)
    }
}
