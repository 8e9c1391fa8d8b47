//! Who makes a call, and how many posts a second they may send.

use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::future::Either;
use futures::{Stream, StreamExt};
use http::Extensions;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::metrics::{self, CallRefusal};
use crate::auth::need::Need;
use crate::auth::tokens::{Scope, Token, Tokens};

/// What an item of a stream asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    /// A score.
    Score,
    /// The changes of topic alerts.
    Alerts,
    /// Nothing that needs leave.
    Nothing,
}

/// The holder of a token; anybody, where no tokens are asked for.
#[derive(Clone, Default)]
pub(crate) struct Caller {
    identity: Option<Identity>,
}

#[derive(Clone)]
struct Identity {
    token: Arc<Token>,
    need: Need,
    tokens: watch::Receiver<Arc<Tokens>>,
}

impl Caller {
    /// The holder of `token`, let in for `need`, until `tokens` change their mind.
    pub(crate) fn holder(
        token: Arc<Token>,
        need: Need,
        tokens: watch::Receiver<Arc<Tokens>>,
    ) -> Self {
        Self { identity: Some(Identity { token, need, tokens }) }
    }

    /// As the guard left it with the call.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Whether this caller may do more than what they were let in for.
    pub(crate) fn may(&self, scope: Scope) -> bool {
        self.identity.as_ref().is_none_or(|identity| identity.token.may(scope))
    }

    /// Name of the token, where tokens are asked for.
    pub(crate) fn token_name(&self) -> Option<&str> {
        self.identity.as_ref().map(|identity| identity.token.name.as_str())
    }

    /// Posts a second, if there is a limit.
    pub(crate) fn posts_per_second_max(&self) -> Option<NonZeroU32> {
        self.identity.as_ref()?.token.posts_per_second_max
    }

    /// Pays for the posts of a unary call, or says when to come back.
    pub(crate) fn pay(&self, posts: usize) -> Result<(), Status> {
        let posts = u32::try_from(posts).unwrap_or(u32::MAX);
        let Some(token) = self.identity.as_ref().map(|identity| &identity.token) else {
            return Ok(());
        };
        let Some(bucket) = &token.bucket else { return Ok(()) };
        // No code that can panic runs under the lock.
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take(posts, Instant::now()).map_err(|retry_delay| {
            metrics::call_refused(CallRefusal::PostsPerSecond);
            let limit = token.posts_per_second_max.map_or(0, NonZeroU32::get);
            let details = ErrorDetails::with_retry_info(Some(retry_delay));
            let message = format!("more than {limit} posts a second");
            Status::with_error_details(Code::ResourceExhausted, message, details)
        })
    }

    /// The messages of a stream, no faster than this caller may send posts:
    /// what comes too fast is not read, so that the sender has to wait. Ends
    /// with UNAUTHENTICATED when the token is taken away, and with
    /// PERMISSION_DENIED when it is not good for the alerts that are asked for.
    pub(crate) fn paced<S, T>(
        self,
        mut requests: S,
        asks: fn(&T) -> Asks,
    ) -> impl Stream<Item = Result<T, Status>> + Send + Unpin
    where
        S: Stream<Item = Result<T, Status>> + Send + Unpin + 'static,
        T: Send + 'static,
    {
        let Some(identity) = &self.identity else { return Either::Left(requests) };
        let token = Arc::clone(&identity.token);
        let bucket = token.bucket.clone();
        let may_read_alerts = token.may(Scope::AlertsRead);
        let mut gone = self.clone();
        let paced: Pin<Box<dyn Stream<Item = _> + Send>> = Box::pin(async_stream::stream! {
            loop {
                let request = tokio::select! {
                    request = requests.next() => request,
                    () = gone.taken_away() => {
                        metrics::call_refused(CallRefusal::UnknownToken);
                        yield Err(crate::auth::need::unauthenticated());
                        return;
                    }
                };
                let Some(request) = request else { return };
                let asks = request.as_ref().map_or(Asks::Nothing, asks);
                if asks == Asks::Alerts && !may_read_alerts {
                    metrics::call_refused(CallRefusal::MissingScope);
                    yield Err(crate::auth::need::permission_denied());
                    return;
                }
                if let (Some(bucket), true) = (&bucket, asks == Asks::Score) {
                    let wait = bucket
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .reserve(Instant::now());
                    if wait > Duration::ZERO {
                        tokio::time::sleep(wait).await;
                    }
                }
                yield request;
            }
        });
        Either::Right(paced)
    }

    /// Completes when the token is no longer good for the call. Safe to drop.
    pub(crate) async fn taken_away(&mut self) {
        let Some(Identity { token, need, tokens }) = &mut self.identity else {
            return std::future::pending().await;
        };
        let gone = |tokens: &Arc<Tokens>| {
            !tokens.find(&token.hash).is_some_and(|token| need.met_by(token))
        };
        if tokens.wait_for(gone).await.is_err() {
            // The guard has gone, and with it whoever could change the tokens.
            std::future::pending::<()>().await;
        }
    }
}
