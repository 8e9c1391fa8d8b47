//! Lets calls in by their bearer token: which method needs what, in one table.
//!
//! A tower layer. Whoever is turned away learns nothing: the answer is the same
//! whether the method, the alert or the token's name exists or not.

use std::task::{Context, Poll};

use futures::future::{Either, Ready, ready};
use http::{HeaderMap, Request, Response, header};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::caller::Caller;
use super::reload::Reloaded;
use super::tokens::{Scope, Token, TokenHash, Tokens};
use crate::metrics::{self, CallRefusal};

/// What a method asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing.
    Nothing,
    /// Any token.
    Token,
    /// A token with this scope.
    Scope(Scope),
}

/// Methods that do not need just any token; a name without a method stands for
/// the rest of its service.
const NEEDS: [(&str, &str, Need); 11] = [
    ("pounce.v1.ScoringService", "GetModel", Need::Token),
    ("pounce.v1.ScoringService", "", Need::Scope(Scope::Score)),
    ("pounce.v1.AlertService", "WatchAlerts", Need::Scope(Scope::AlertsRead)),
    ("pounce.v1.AlertService", "ListAlerts", Need::Scope(Scope::AlertsRead)),
    ("pounce.v1.AlertService", "GetTopic", Need::Scope(Scope::AlertsRead)),
    ("pounce.v1.AlertService", "ListTopics", Need::Scope(Scope::AlertsRead)),
    ("pounce.v1.AlertService", "", Need::Scope(Scope::AlertsWrite)),
    // Probes and balancers have no token.
    ("grpc.health.v1.Health", "", Need::Nothing),
    ("grpc.reflection.v1.ServerReflection", "", Need::Token),
    ("grpc.reflection.v1alpha.ServerReflection", "", Need::Token),
    // Names that do not exist.
    ("", "", Need::Token),
];

impl Need {
    fn of(path: &str) -> Self {
        let mut parts = path.trim_start_matches('/').split('/');
        let (service, method) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let matches = |&&(s, m, _): &&(&str, &str, Need)| {
            (s.is_empty() || s == service) && (m.is_empty() || m == method)
        };
        NEEDS.iter().find(matches).map_or(Self::Token, |&(_, _, need)| need)
    }

    pub(super) fn met_by(self, token: &Token) -> bool {
        match self {
            Self::Nothing | Self::Token => true,
            Self::Scope(scope) => token.may(scope),
        }
    }
}

/// The answer to credentials that are missing or wrong.
pub(super) fn unauthenticated() -> Status {
    Status::unauthenticated("a valid bearer token is needed")
}

/// The answer to a token that is for other things.
pub(super) fn permission_denied() -> Status {
    Status::permission_denied("the token is not good for this call")
}

/// Decides who may call.
#[derive(Clone)]
pub(super) struct Guard {
    tokens: Option<Reloaded<Tokens>>,
}

impl Guard {
    /// Without tokens, lets everybody in.
    pub(super) fn new(tokens: Option<Reloaded<Tokens>>) -> Self {
        Self { tokens }
    }

    /// Lets a caller in for `need`; `path` is for the log.
    pub(super) fn admit(
        &self,
        path: &str,
        need: Need,
        headers: &HeaderMap,
    ) -> Result<Caller, Status> {
        let Some(tokens) = &self.tokens else { return Ok(Caller::default()) };
        if need == Need::Nothing {
            return Ok(Caller::default());
        }
        let Some(credential) = bearer(headers) else {
            metrics::call_refused(CallRefusal::MissingToken);
            return Err(unauthenticated());
        };
        let now = tokens.now();
        let Some(token) = now.find(&TokenHash::of(credential)) else {
            metrics::call_refused(CallRefusal::UnknownToken);
            return Err(unauthenticated());
        };
        if !need.met_by(token) {
            metrics::call_refused(CallRefusal::MissingScope);
            tracing::debug!(token = token.name, path, "token lacks the scope of a call");
            return Err(permission_denied());
        }
        Ok(Caller::holder(token.clone(), need, tokens.subscribe()))
    }
}

/// The token of an `authorization` header; the scheme's case does not matter.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { guard: self.clone(), inner }
    }
}

/// A service whose calls have been let in.
#[derive(Clone)]
pub(super) struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        match self.guard.admit(path, Need::of(path), request.headers()) {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                Either::Left(self.inner.call(request))
            }
            Err(status) => Either::Right(ready(Ok(status.into_http()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::DESCRIPTOR_SET;

    #[test]
    fn every_method_of_ours_needs_a_scope_and_only_health_needs_nothing() {
        use prost::Message;
        let set = prost_types::FileDescriptorSet::decode(DESCRIPTOR_SET).expect("our own");
        let mut methods = 0;
        for file in set.file.iter().filter(|file| file.package() == "pounce.v1") {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let need = Need::of(&path);
                    let open = path.ends_with("/GetModel");
                    assert_eq!(matches!(need, Need::Scope(_)), !open, "{path}: {need:?}");
                    methods += 1;
                }
            }
        }
        assert!(methods >= 9, "{methods}");
        assert_eq!(Need::of("/grpc.health.v1.Health/Check"), Need::Nothing);
        assert_eq!(Need::of("/grpc.reflection.v1.ServerReflection/X"), Need::Token);
        assert_eq!(Need::of("/nobody.Knows/This"), Need::Token);
        let acknowledge = Need::of("/pounce.v1.AlertService/AcknowledgeAlert");
        assert_eq!(acknowledge, Need::Scope(Scope::AlertsWrite));
    }

    #[test]
    fn only_bearer_tokens_are_credentials() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().expect("ascii"));
            bearer(&headers).map(<[u8]>::to_vec)
        };
        assert_eq!(of("Bearer abc"), Some(b"abc".to_vec()));
        assert_eq!(of("bearer  abc "), Some(b"abc".to_vec()));
        for bad in ["abc", "Bearer", "Bearer ", "Basic abc", ""] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
