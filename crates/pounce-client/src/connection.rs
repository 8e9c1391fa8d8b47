//! A connection to one server or to several.

use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use super::access::{Access, Credential};
use super::discovery::{self, SERVERS_MAX, Target};
use super::error::ClientError;

/// A connection that is made when needed and made anew when lost.
pub type Line = InterceptedService<Channel, Credential>;

/// Prepares a connection to `addr`, such as `http://127.0.0.1:50051`, or to all servers of
/// `dns:///name:50051`; connects with the first call.
/// # Errors
/// [`ClientError::Address`] or [`ClientError::Access`].
pub fn line(addr: &str, access: &Access) -> Result<Line, ClientError> {
    balanced(&[addr], access)
}

/// As [`line()`], to several servers or names: each call goes to one of them, a long
/// stream stays where it is. A server that is lost is tried again when its turn
/// comes.
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
    let channel = match &mut targets[..] {
        [Target::Server(endpoint)] => endpoint.connect_lazy(),
        _ => discovery::channel(targets)?,
    };
    Ok(InterceptedService::new(channel, access.credential()?))
}

/// A connection over a channel that was made in another way.
pub(super) fn bare(channel: Channel) -> Line {
    InterceptedService::new(channel, Credential::none())
}
