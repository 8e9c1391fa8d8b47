//! Lets calls in by their bearer token.
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
use super::metrics::{self, CallRefusal};
use super::need::{Need, permission_denied, unauthenticated};
use crate::auth::tokens::{TokenHash, Tokens};
use crate::lifecycle::reload::Reloaded;

/// Decides who may call.
#[derive(Clone)]
pub(crate) struct Guard {
    tokens: Option<Reloaded<Tokens>>,
}

impl Guard {
    /// Without tokens, lets everybody in.
    pub(crate) fn new(tokens: Option<Reloaded<Tokens>>) -> Self {
        Self { tokens }
    }

    /// Lets a caller in for `need`; `path` is for the log.
    pub(crate) fn admit(
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
pub(crate) struct Guarded<S> {
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
