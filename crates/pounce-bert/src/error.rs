//! Why a folder can't be run.

use crate::config::Unsupported;

/// Why a folder's weights can't be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The model is for another engine.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// A file that can't be read or makes no sense.
    #[error("{file}: {reason}")]
    File {
        /// Its path.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
}
