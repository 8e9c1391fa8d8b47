//! Calls spread over several servers: each goes to one that can be reached, the one with the
//! fewest calls of this client.
//!
//! A server that can't be reached is left out and tried again beside the calls. The balancing of
//! the library keeps such a server in its draw and lets each call that draws it fail.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, poll_fn};
use http_body_util::BodyExt;
use tokio::task::JoinSet;
use tonic::ConnectError;
use tonic::body::Body;
use tonic::codegen::{Service, StdError, http};
use tonic::transport::{self, Channel, Endpoint};

use super::backoff::Backoff;

/// Which of several targets, and which of its servers; none: the name itself.
pub(super) type Key = (usize, Option<SocketAddr>);

/// A connection, made or being made, for all who wait for it.
type Connecting = Shared<BoxFuture<'static, Result<Channel, Arc<transport::Error>>>>;

/// A connection to the servers that are known at each call. Cheap to clone; what runs beside its
/// calls ends with its last clone.
#[derive(Debug)]
pub(super) struct Balanced(Arc<Servers>);

/// The servers of a [`Balanced`] connection, by a key each.
#[derive(Debug)]
pub(super) struct Servers {
    known: Mutex<BTreeMap<Key, Arc<Server>>>,
    tasks: Mutex<JoinSet<()>>,
}

struct Server {
    endpoint: Endpoint,
    connection: Mutex<Option<Connecting>>,
    /// It could not be reached, and is tried again beside the calls.
    lost: AtomicBool,
    /// One more reference for each call whose answer has not ended.
    calls: Arc<()>,
}

impl Balanced {
    pub(super) fn new(servers: impl IntoIterator<Item = (Key, Endpoint)>) -> Self {
        let known = servers.into_iter().map(|(key, endpoint)| (key, Server::new(endpoint)));
        let known = Mutex::new(known.collect());
        Self(Arc::new(Servers { known, tasks: Mutex::default() }))
    }

    /// The servers, for one who keeps them up to date.
    pub(super) fn servers(&self) -> Weak<Servers> {
        Arc::downgrade(&self.0)
    }

    /// Runs `task` beside the calls.
    pub(super) fn beside(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.beside(task);
    }
}

impl Servers {
    /// Adds and removes servers. Calls that are open go on where they are.
    pub(super) fn change(&self, added: Vec<(Key, Endpoint)>, gone: &[Key]) {
        let mut known = locked(&self.known);
        known.extend(added.into_iter().map(|(key, endpoint)| (key, Server::new(endpoint))));
        known.retain(|key, _| !gone.contains(key));
    }

    /// The server for a call that found `refused` out of reach, and the call's mark.
    fn pick(&self, refused: &[Arc<Server>]) -> Option<(Arc<Server>, Arc<()>)> {
        let known = locked(&self.known);
        let left =
            known.values().filter(|server| refused.iter().all(|it| !Arc::ptr_eq(it, server)));
        let mut left: Vec<&Arc<Server>> = left.collect();
        // Of several that are alike any one, or all clients would begin with the first.
        fastrand::shuffle(&mut left);
        let lost = |server: &Server| server.lost.load(Ordering::Acquire);
        let best = left.into_iter().min_by_key(|it| (lost(it), Arc::strong_count(&it.calls)))?;
        Some((Arc::clone(best), Arc::clone(&best.calls)))
    }

    async fn call(&self, request: http::Request<Body>) -> Result<http::Response<Body>, StdError> {
        let mut refused = Vec::new();
        let mut last = None;
        while let Some((server, mark)) = self.pick(&refused) {
            let connection = server.connection();
            let mut channel = match connection.clone().await {
                Ok(channel) => channel,
                Err(error) => {
                    self.lose(&server, &connection);
                    refused.push(server);
                    last = Some(error);
                    continue;
                }
            };
            let called = async {
                poll_fn(|cx| channel.poll_ready(cx)).await?;
                channel.call(request).await
            };
            return match called.await {
                Ok(response) => Ok(response.map(|body| marked(body, mark))),
                Err(error) => {
                    if out_of_reach(&error) {
                        self.lose(&server, &connection);
                    }
                    Err(error.into())
                }
            };
        }
        Err(last.map_or_else(|| "no server is known".into(), Into::into))
    }

    fn lose(&self, server: &Arc<Server>, connection: &Connecting) {
        server.forget(connection);
        if !server.lost.swap(true, Ordering::AcqRel) {
            self.beside(find(Arc::downgrade(server)));
        }
    }

    fn beside(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = locked(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
}

impl Server {
    fn new(endpoint: Endpoint) -> Arc<Self> {
        let (connection, lost) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Self { endpoint, connection, lost, calls: Arc::default() })
    }

    fn connection(&self) -> Connecting {
        let connect = || {
            let endpoint = self.endpoint.clone();
            async move { endpoint.connect().await.map_err(Arc::new) }.boxed().shared()
        };
        locked(&self.connection).get_or_insert_with(connect).clone()
    }

    /// The next call connects anew, unless another has done so.
    fn forget(&self, connection: &Connecting) {
        locked(&self.connection).take_if(|kept| kept.ptr_eq(connection));
    }
}

/// Tries a lost server until it can be reached, or is known no more.
async fn find(server: Weak<Server>) {
    let mut backoff = Backoff::new();
    loop {
        backoff.wait().await;
        let Some(server) = server.upgrade() else { return };
        let connection = server.connection();
        if connection.clone().await.is_ok() {
            server.lost.store(false, Ordering::Release);
            return;
        }
        server.forget(&connection);
    }
}

/// The body with the mark of its call, which ends with it.
fn marked(body: Body, mark: Arc<()>) -> Body {
    Body::new(body.map_frame(move |frame| {
        let _open = &mark;
        frame
    }))
}

/// Whether a connection was lost and could not be made again.
fn out_of_reach(error: &transport::Error) -> bool {
    std::iter::successors(error.source(), |error| (*error).source())
        .any(|error| error.is::<ConnectError>())
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Clone for Balanced {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Server").field(self.endpoint.uri()).finish()
    }
}

impl Service<http::Request<Body>> for Balanced {
    type Response = http::Response<Body>;
    type Error = StdError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let servers = Arc::clone(&self.0);
        async move { servers.call(request).await }.boxed()
    }
}
