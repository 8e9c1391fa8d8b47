//! Servers that come and go: those that a name resolves to, or those that a stream tells.
//!
//! Each new call or stream goes to one of the servers that are known then. What is open stays where
//! it is until the server ends it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Weak;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tonic::transport::Endpoint;

use super::access::{Access, endpoint};
use super::balance::{Balanced, Servers};
use super::error::ClientError;

/// Servers to choose from.
pub(super) const SERVERS_MAX: usize = 256;
/// How often a name is resolved again.
const INTERVAL: Duration = Duration::from_secs(10);
/// The same while it has not been resolved.
const RETRY: Duration = Duration::from_secs(1);

/// Where calls may go.
pub(super) enum Target {
    /// One server.
    Server(Box<Endpoint>),
    /// All servers of a name.
    Name(Name, BoxStream<'static, Vec<SocketAddr>>),
}

/// What the servers of a name are asked for, and how they are reached.
pub(super) struct Name {
    /// `http://name:port`, or https.
    url: String,
    access: Access,
}

impl Target {
    /// Reads `http://host:port`, `https://host:port`, `dns:///name:port` (plaintext) or
    /// `dns+https:///name:port` (TLS).
    pub(super) fn parse(addr: &str, access: &Access) -> Result<Self, ClientError> {
        let name = ["dns:///", "dns+https:///"].iter().zip(["http", "https"]);
        let name =
            name.filter_map(|(prefix, scheme)| Some((addr.strip_prefix(prefix)?, scheme))).next();
        let Some((authority, scheme)) = name else {
            return Ok(Self::Server(Box::new(endpoint(addr, access, None)?)));
        };
        let url = format!("{scheme}://{authority}");
        let uri = endpoint(&url, access, None)?.uri().clone();
        let fault = |reason: &str| ClientError::Address {
            addr: addr.to_owned(),
            reason: reason.to_owned(),
        };
        let port = uri.port_u16().ok_or_else(|| fault("the port is missing"))?;
        let host = uri.host().ok_or_else(|| fault("the name is missing"))?.to_owned();
        let name = Name { url, access: access.clone() };
        Ok(Self::Name(name, lookups(host, port).boxed()))
    }

    /// The servers that `sets` tells, which go by the name in `url`.
    pub(super) fn told(
        url: &str,
        sets: impl Stream<Item = Vec<SocketAddr>> + Send + 'static,
        access: &Access,
    ) -> Result<Self, ClientError> {
        endpoint(url, access, None)?;
        let name = Name { url: url.to_owned(), access: access.clone() };
        Ok(Self::Name(name, sets.boxed()))
    }
}

/// A connection to the servers of all targets.
pub(super) fn balanced(targets: Vec<Target>) -> Result<Balanced, ClientError> {
    let (mut servers, mut names) = (Vec::new(), Vec::new());
    for (number, target) in targets.into_iter().enumerate() {
        // Until a name is resolved, calls go to it as it is: they fail and tell why.
        let endpoint = match target {
            Target::Server(endpoint) => *endpoint,
            Target::Name(name, sets) => {
                let itself = endpoint(&name.url, &name.access, None)?;
                names.push((number, name, sets));
                itself
            }
        };
        servers.push(((number, None), endpoint));
    }
    let balanced = Balanced::new(servers);
    for (number, name, sets) in names {
        balanced.beside(follow(number, name, sets, balanced.servers()));
    }
    Ok(balanced)
}

/// Keeps the servers of a name those of the last set. Ends with the sets, or with the connection.
async fn follow(
    number: usize,
    name: Name,
    mut sets: BoxStream<'static, Vec<SocketAddr>>,
    servers: Weak<Servers>,
) {
    let mut known = BTreeSet::new();
    while let Some(set) = sets.next().await {
        let now: BTreeSet<SocketAddr> = set.into_iter().take(SERVERS_MAX).collect();
        if now.is_empty() {
            // Rather the servers of before than none.
            continue;
        }
        let added = now.difference(&known).filter_map(|addr| {
            let endpoint = name.endpoint(*addr).ok()?;
            Some(((number, Some(*addr)), endpoint))
        });
        let itself = known.is_empty().then_some((number, None));
        let gone = known.difference(&now).map(|addr| (number, Some(*addr)));
        let Some(servers) = servers.upgrade() else { return };
        servers.change(added.collect(), &itself.into_iter().chain(gone).collect::<Vec<_>>());
        known = now;
    }
}

impl Name {
    /// One of its servers.
    fn endpoint(&self, addr: SocketAddr) -> Result<Endpoint, ClientError> {
        let name = endpoint(&self.url, &self.access, None)?.uri().clone();
        let scheme = name.scheme_str().unwrap_or("http");
        let endpoint = endpoint(&format!("{scheme}://{addr}"), &self.access, name.host())?;
        Ok(endpoint.origin(name))
    }
}

/// The addresses of a name, again and again.
fn lookups(host: String, port: u16) -> impl Stream<Item = Vec<SocketAddr>> + Send {
    async_stream::stream! {
        let mut pause = RETRY;
        loop {
            if let Ok(found) = tokio::net::lookup_host((host.as_str(), port)).await {
                pause = INTERVAL;
                yield found.collect();
            }
            tokio::time::sleep(pause).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(addr: &str) -> String {
        match Target::parse(addr, &Access::default()) {
            Ok(_) => panic!("{addr} was taken"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_name_needs_a_port_and_nothing_else() {
        for addr in ["dns:///pounce:50051", "dns+https:///pounce.shop.svc:443"] {
            let target = Target::parse(addr, &Access::default());
            assert!(matches!(target, Ok(Target::Name(..))), "{addr}");
        }
        assert!(fault("dns:///pounce").contains("the port is missing"));
        assert!(fault("dns:///").contains("dns:///"), "{}", fault("dns:///"));
        assert!(fault("dns://pounce:50051").contains("scheme"));
        let certificates = Access { ca: Some(Vec::new()), ..Access::default() };
        assert!(Target::parse("dns:///pounce:50051", &certificates).is_err());
    }

    #[test]
    fn a_server_is_asked_for_by_its_name() {
        let name = Name { url: "http://pounce:50051".to_owned(), access: Access::default() };
        let endpoint = name.endpoint(([127, 0, 0, 2], 7).into()).expect("an endpoint");
        assert_eq!(endpoint.uri().to_string(), "http://127.0.0.2:7/");
    }
}
