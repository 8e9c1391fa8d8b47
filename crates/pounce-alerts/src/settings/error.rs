//! What is wrong with a setting, and the check that says so.

/// Why settings can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Not TOML, an unknown field, or a value of the wrong type.
    #[error("{0}")]
    Syntax(String),
    /// A topic's own settings have an unknown field or a value of the wrong type.
    #[error("topics.{topic:?}: {reason}")]
    Topic {
        /// Name of the topic.
        topic: String,
        /// What is wrong.
        reason: String,
    },
    /// A value outside its range.
    #[error("{field} must be {range}")]
    OutOfRange {
        /// Path of the field.
        field: String,
        /// What holds, in words.
        range: &'static str,
    },
}

/// Collects what a field must satisfy; the first fault wins.
pub(super) fn check(
    holds: bool,
    field: impl Into<String>,
    range: &'static str,
) -> Result<(), SettingsError> {
    if holds { Ok(()) } else { Err(SettingsError::OutOfRange { field: field.into(), range }) }
}
