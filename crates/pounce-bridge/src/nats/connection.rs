//! The bridge's connection to NATS.

use async_nats::ServerAddr;
use async_nats::connection::State;
use async_nats::jetstream::Context;

use crate::access::{Access, ConnectError};
use crate::address::Address;

/// Prepares a connection; an unreachable server is no error.
pub(super) async fn connect(address: &Address, access: &Access) -> Result<Context, ConnectError> {
    if !address.tls && (access.ca.is_some() || access.identity.is_some()) {
        return Err(ConnectError::Settings("certificates need TLS: nats+tls://".to_owned()));
    }
    let servers = address.servers.iter().map(|server| format!("nats://{server}").parse());
    let servers: Result<Vec<ServerAddr>, _> = servers.collect();
    let servers = servers.map_err(|error| ConnectError::Settings(error.to_string()))?;
    let Access { credentials, user, ca, identity } = access.clone();
    let access = pounce_nats::Access { credentials, user, ca, identity, tls: address.tls };
    pounce_nats::connect("pounce-bridge", &servers, &access).await.map_err(ConnectError::from)
}

impl From<pounce_nats::ConnectError> for ConnectError {
    fn from(error: pounce_nats::ConnectError) -> Self {
        match error {
            pounce_nats::ConnectError::File { file, reason } => Self::file(&file, &reason),
            pounce_nats::ConnectError::Settings(fault) => Self::Settings(fault),
        }
    }
}

/// What is sent while there is no connection would wait in a queue.
pub(super) fn connected(context: &Context) -> Result<(), String> {
    match context.client().connection_state() {
        State::Connected => Ok(()),
        State::Pending | State::Disconnected => Err("NATS can't be reached".to_owned()),
    }
}
