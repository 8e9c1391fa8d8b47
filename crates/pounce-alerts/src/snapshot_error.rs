//! Why a snapshot can't be used.

use std::io::ErrorKind;

/// The format that is written. It changes with every change of what is written.
pub(super) const VERSION: u32 = 3;
/// The same of the outcomes beside it.
pub(super) const CLOSINGS_VERSION: u32 = 1;

/// Why a snapshot can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Something else.
    #[error("not a snapshot of Pounce's topics")]
    Foreign,
    /// Written by another version.
    #[error("snapshot of format {found}, where this version reads 1 to {VERSION}")]
    Version {
        /// The format found.
        found: u32,
    },
    /// Outcomes that another version wrote.
    #[error("outcomes of alerts of format {found}, where this version reads {CLOSINGS_VERSION}")]
    ClosingsVersion {
        /// The format found.
        found: u32,
    },
    /// Cut short or changed.
    #[error("snapshot is damaged: {0}")]
    Damaged(&'static str),
    /// The system refused to read it; its content may be good.
    #[error("snapshot can't be read: {0}")]
    Unreadable(ErrorKind),
}
