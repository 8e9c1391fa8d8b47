//! Credentials and certificates for a broker, by the files that hold them.

use std::path::{Path, PathBuf};

/// What to show a broker, and whom to trust.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// File of a user's JWT and key (.creds), for NATS.
    pub credentials: Option<PathBuf>,
    /// A user, and the file that holds the password and nothing else.
    pub user: Option<(String, PathBuf)>,
    /// CA bundle (PEM) used to verify the server's certificate; the system's if none.
    pub ca: Option<PathBuf>,
    /// The client's own certificate and key (PEM).
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Why a connection can't even be tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// A file can't be read.
    #[error("{file}: {reason}")]
    File {
        /// Its path.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The client refused its settings.
    #[error("the broker can't be used: {0}")]
    Settings(String),
}

impl ConnectError {
    pub(crate) fn file(file: &Path, error: &std::io::Error) -> Self {
        Self::File { file: file.display().to_string(), reason: error.to_string() }
    }
}
