//! A connection to NATS: made in the background, and made anew when lost.

use std::path::Path;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::{self, Context};
use async_nats::{ConnectOptions, Event, ServerAddr};

use crate::access::{self, Access, ConnectError};
use crate::address::Address;

/// Longest time that the server may take to answer.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Longest pause between two attempts to connect.
const RECONNECT_MAX: Duration = Duration::from_secs(1);
/// How often a connection without messages is asked whether it lives.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// Prepares a connection; an unreachable server is no error.
pub(super) async fn connect(address: &Address, access: &Access) -> Result<Context, ConnectError> {
    let file = |file: &Path, error: std::io::Error| ConnectError::file(file, &error);
    if !address.tls && (access.ca.is_some() || access.identity.is_some()) {
        return Err(ConnectError::Settings("certificates need TLS: nats+tls://".to_owned()));
    }
    let mut options = ConnectOptions::new();
    if let Some(credentials) = &access.credentials {
        let read = options.credentials_file(credentials).await;
        options = read.map_err(|error| file(credentials, error))?;
    }
    if let Some((user, password_file)) = &access.user {
        let password = access::password(password_file)?;
        options = options.user_and_password(user.clone(), password);
    }
    if let Some(ca) = &access.ca {
        options = options.add_root_certificates(ca.clone());
    }
    if let Some((cert, key)) = &access.identity {
        options = options.add_client_certificate(cert.clone(), key.clone());
    }
    let servers = address.servers.iter().map(|server| format!("nats://{server}").parse());
    let servers: Result<Vec<ServerAddr>, _> = servers.collect();
    let servers = servers.map_err(|error| ConnectError::Settings(error.to_string()))?;
    let client = options
        .name("pounce-bridge")
        .require_tls(address.tls)
        .retry_on_initial_connect()
        .connection_timeout(ANSWER_MAX)
        .ping_interval(PING_INTERVAL)
        .reconnect_delay_callback(|attempts| {
            let attempts = u32::try_from(attempts).unwrap_or(u32::MAX).min(8);
            Duration::from_millis(5 << attempts).min(RECONNECT_MAX)
        })
        .event_callback(|event| async move { tell(&event) })
        .connect(&servers[..])
        .await
        .map_err(|error| ConnectError::Settings(whole(&error)))?;
    let context = jetstream::context::ContextBuilder::new()
        .timeout(ANSWER_MAX)
        .ack_timeout(ANSWER_MAX)
        .build(client);
    Ok(context)
}

/// What is sent while there is no connection would wait in a queue.
pub(super) fn connected(context: &Context) -> Result<(), String> {
    match context.client().connection_state() {
        State::Connected => Ok(()),
        State::Pending | State::Disconnected => Err("NATS can't be reached".to_owned()),
    }
}

fn tell(event: &Event) {
    match event {
        Event::Connected => tracing::info!("connected to NATS"),
        Event::Disconnected => tracing::warn!("connection to NATS lost: trying again"),
        Event::ClientError(error) => tracing::debug!(%error, "NATS"),
        event => tracing::warn!(%event, "NATS"),
    }
}

/// An error with its causes.
pub(super) fn whole(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !told.contains(&more) {
            told = format!("{told}: {more}");
        }
        cause = error.source();
    }
    told
}
