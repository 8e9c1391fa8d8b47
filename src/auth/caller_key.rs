//! What the queue tells callers apart by.

use std::net::{IpAddr, Ipv6Addr};

use http::Extensions;
use tonic::transport::server::TcpConnectInfo;

use crate::auth::caller::Caller;

/// Leading bits of an IPv6 address that are one caller's: hosts choose the rest at will.
const IPV6_PREFIX: u32 = 64;

/// Callers with equal keys share one caller's part of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum CallerKey {
    /// Holders of the token of this name.
    Token(String),
    /// Without tokens: the address of the peer, which may be a proxy's.
    Peer(IpAddr),
    /// Without tokens and without an address.
    Unknown,
}

impl CallerKey {
    /// Of the call that these belong to.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        if let Some(name) = Caller::of(extensions).token_name() {
            return Self::Token(name.to_owned());
        }
        let peer = extensions.get::<TcpConnectInfo>().and_then(|info| info.remote_addr);
        peer.map_or(Self::Unknown, |peer| Self::Peer(network(peer.ip())))
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let bits = address.to_bits() & (u128::MAX << (128 - IPV6_PREFIX));
            Ipv6Addr::from_bits(bits).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> CallerKey {
        let mut extensions = Extensions::new();
        let remote_addr = Some(format!("{address}:4711").parse().expect("an address"));
        extensions.insert(TcpConnectInfo { local_addr: None, remote_addr });
        CallerKey::of(&extensions)
    }

    #[test]
    fn peers_are_told_apart_by_their_network_address() {
        assert_eq!(peer("192.0.2.1"), peer("[::ffff:192.0.2.1]"));
        assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
        assert_eq!(peer("[2001:db8::1]"), peer("[2001:db8::ffff:2]"));
        assert_ne!(peer("[2001:db8::1]"), peer("[2001:db8:0:1::1]"));
        assert_eq!(CallerKey::of(&Extensions::new()), CallerKey::Unknown);
    }
}
