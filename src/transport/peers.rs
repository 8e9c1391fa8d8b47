//! Which peer has how many connections, so that none can take them all.
//!
//! A peer may open one more as long as it has fewer than are still free. One greedy peer so gets
//! half of all, two get a third each, and the next peer always finds one: the dynamic threshold of
//! Choudhury and Hahne (IEEE/ACM Transactions on Networking 6, 1998). The loopback interface is
//! left out: sidecars and probes of the pod itself come from there.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Connections of all peers.
#[derive(Debug, Clone)]
pub(super) struct Peers {
    max: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    open: usize,
    by_peer: HashMap<IpAddr, usize>,
}

impl Peers {
    /// At most `max` connections.
    pub(super) fn new(max: usize) -> Self {
        Self { max, state: Arc::default() }
    }

    /// A permit for one more connection of `peer`, if it may have one.
    pub(super) fn admit(&self, peer: IpAddr) -> Option<ConnectionPermit> {
        let peer = network(peer);
        let mut state = self.lock();
        let free = self.max.saturating_sub(state.open);
        let own = state.by_peer.get(&peer).copied().unwrap_or(0);
        if free == 0 || (own >= free && !peer.is_loopback()) {
            return None;
        }
        state.open += 1;
        *state.by_peer.entry(peer).or_default() += 1;
        drop(state);
        Some(ConnectionPermit { peers: self.clone(), peer })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open connection's share; given back when dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    peers: Peers,
    peer: IpAddr,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut state = self.peers.lock();
        state.open -= 1;
        if let Some(own) = state.by_peer.get_mut(&self.peer) {
            *own -= 1;
            if *own == 0 {
                state.by_peer.remove(&self.peer);
            }
        }
    }
}

/// What counts as one peer: an IPv4 address, or the half of an IPv6 address that names a network,
/// since its holder has all of the other half.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            let [a, b, c, d, ..] = address.segments();
            std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_of(peers: &Peers, peer: &str) -> Vec<ConnectionPermit> {
        let peer = peer.parse().expect("an address");
        std::iter::from_fn(|| peers.admit(peer)).collect()
    }

    #[test]
    fn a_greedy_peer_leaves_room_for_the_next_ones() {
        let peers = Peers::new(100);
        let first = all_of(&peers, "192.0.2.1");
        assert_eq!(first.len(), 50);
        let others: Vec<_> = (2..30).map(|n| all_of(&peers, &format!("192.0.2.{n}"))).collect();
        assert!(others.iter().take(5).all(|permits| !permits.is_empty()), "{others:?}");
        drop(first);
        assert!(!all_of(&peers, "192.0.2.1").is_empty(), "what is closed is free again");
        drop(others);
        assert_eq!(all_of(&peers, "192.0.2.1").len(), 50);
        assert!(peers.lock().by_peer.is_empty(), "nobody is remembered");
    }

    #[test]
    fn a_network_of_ipv6_is_one_peer_and_loopback_may_have_all() {
        let peers = Peers::new(100);
        let permits = all_of(&peers, "2001:db8::1");
        assert_eq!((permits.len(), all_of(&peers, "2001:db8::2").len()), (50, 0));
        drop(permits);
        assert_eq!(all_of(&peers, "::ffff:127.0.0.1").len(), 100);
        assert_eq!(all_of(&peers, "::1").len(), 100);
    }
}
