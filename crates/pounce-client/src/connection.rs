//! A connection to one server or to several.

use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use tonic::body::Body;
use tonic::codegen::{Service, StdError, http};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use super::access::{Access, Credential};
use super::balance::Balanced;
use super::discovery::{self, SERVERS_MAX, Target};
use super::error::ClientError;

/// A connection that is made when needed and made anew when lost, and what its calls show.
pub type Line = InterceptedService<Connection, Credential>;

/// A connection to one server, or to one of several for each call.
#[derive(Debug, Clone)]
pub struct Connection(To);

#[derive(Debug, Clone)]
enum To {
    One(Channel),
    Several(Balanced),
}

/// Prepares a connection to `addr`, such as `http://127.0.0.1:50051`, or to all servers of
/// `dns:///name:50051`; connects with the first call.
/// # Errors
/// [`ClientError::Address`] or [`ClientError::Access`].
pub fn line(addr: &str, access: &Access) -> Result<Line, ClientError> {
    balanced(&[addr], access)
}

/// As [`line()`], to several servers or names: each call goes to one of them, a long
/// stream stays where it is. A server that can't be reached gets none until it can.
/// # Errors
/// [`ClientError::Address`] or [`ClientError::Access`].
pub(super) fn balanced<S: AsRef<str>>(addrs: &[S], access: &Access) -> Result<Line, ClientError> {
    if !(1..=SERVERS_MAX).contains(&addrs.len()) {
        let reason = format!("there must be 1 to {SERVERS_MAX} addresses");
        return Err(ClientError::Address { addr: format!("a list of {}", addrs.len()), reason });
    }
    let targets = addrs.iter().map(|addr| Target::parse(addr.as_ref(), access));
    to(targets.collect::<Result<_, _>>()?, access)
}

/// A connection to the servers of `targets`.
pub(super) fn to(mut targets: Vec<Target>, access: &Access) -> Result<Line, ClientError> {
    let to = match &mut targets[..] {
        [Target::Server(endpoint)] => To::One(endpoint.connect_lazy()),
        _ => To::Several(discovery::balanced(targets)?),
    };
    Ok(InterceptedService::new(Connection(to), access.credential()?))
}

/// A connection over a channel that was made in another way.
pub(super) fn bare(channel: Channel) -> Line {
    InterceptedService::new(Connection(To::One(channel)), Credential::none())
}

impl Service<http::Request<Body>> for Connection {
    type Response = http::Response<Body>;
    type Error = StdError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match &mut self.0 {
            To::One(channel) => channel.poll_ready(cx).map_err(Into::into),
            To::Several(balanced) => balanced.poll_ready(cx),
        }
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match &mut self.0 {
            To::One(channel) => channel.call(request).map(|called| Ok(called?)).boxed(),
            To::Several(balanced) => balanced.call(request),
        }
    }
}
