//! A connection to NATS JetStream: made in the background, and made anew when lost.
//!
//! Knows how to reach NATS and who to be to it; nothing of what is sent.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use async_nats::{ConnectOptions, Event, ServerAddr};

/// Longest time that the server may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Longest pause between two attempts to connect.
const RECONNECT_MAX: Duration = Duration::from_secs(1);
/// How often a connection without messages is asked whether it lives.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// What to show the servers, and whom to trust.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// File of a user's JWT and key, as `nsc` writes it.
    pub credentials: Option<PathBuf>,
    /// A user, and the file that holds the password and nothing else.
    pub user: Option<(String, PathBuf)>,
    /// CA bundle (PEM) used to verify the server's certificate; the system's if none.
    pub ca: Option<PathBuf>,
    /// The client's own certificate and key (PEM).
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Whether the connection must be TLS even if no server's address says so.
    pub tls: bool,
}

/// Why a connection can't even be tried.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A file can't be read.
    #[error("{}: {reason}", file.display())]
    File {
        /// Its path.
        file: PathBuf,
        /// What the operating system said.
        reason: std::io::Error,
    },
    /// The client refused its settings.
    #[error("NATS can't be used: {0}")]
    Settings(String),
}

/// Prepares a connection to one of `servers`, which know this process by `name`.
/// # Errors
/// [`ConnectError`]; an unreachable server is none.
pub async fn connect(
    name: &str,
    servers: &[ServerAddr],
    access: &Access,
) -> Result<Context, ConnectError> {
    let unreadable =
        |file: &Path, reason: std::io::Error| ConnectError::File { file: file.to_owned(), reason };
    let mut options = ConnectOptions::new();
    if let Some(file) = &access.credentials {
        let read = options.credentials_file(file).await;
        options = read.map_err(|error| unreadable(file, error))?;
    }
    if let Some((user, file)) = &access.user {
        let password = std::fs::read_to_string(file).map_err(|error| unreadable(file, error))?;
        options = options.user_and_password(user.clone(), password.trim().to_owned());
    }
    if let Some(ca) = &access.ca {
        options = options.add_root_certificates(ca.clone());
    }
    if let Some((cert, key)) = &access.identity {
        options = options.add_client_certificate(cert.clone(), key.clone());
    }
    let client = options
        .name(name)
        .require_tls(access.tls)
        .retry_on_initial_connect()
        .connection_timeout(ANSWER_MAX)
        .ping_interval(PING_INTERVAL)
        .reconnect_delay_callback(|attempts| {
            let attempts = u32::try_from(attempts).unwrap_or(u32::MAX).min(8);
            Duration::from_millis(5 << attempts).min(RECONNECT_MAX)
        })
        .event_callback(|event| async move { tell(&event) })
        .connect(servers)
        .await
        .map_err(|error| ConnectError::Settings(with_causes(&error)))?;
    let context = jetstream::context::ContextBuilder::new();
    Ok(context.timeout(ANSWER_MAX).ack_timeout(ANSWER_MAX).build(client))
}

fn tell(event: &Event) {
    match event {
        Event::Connected => tracing::info!("connected to NATS"),
        Event::Disconnected => tracing::warn!("connection to NATS lost: trying again"),
        Event::ClientError(error) => tracing::debug!(%error, "the client of NATS reports an error"),
        event => tracing::warn!(%event, "the connection to NATS has changed"),
    }
}

/// An error with its causes.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
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
