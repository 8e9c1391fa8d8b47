//! Settings that can't be, each fault named with its flag and what would hold.

use std::fmt::Display;

use pounce_alerts::flags::ThresholdError;

/// A setting that can't be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// Outside its range.
    #[error("{flag} is {value}; it must be {range}")]
    OutOfRange {
        /// The flag at fault.
        flag: &'static str,
        /// What it is.
        value: String,
        /// What would hold.
        range: String,
    },
    /// A flag without the one that it depends on.
    #[error("{flag} has no effect {without}")]
    NoEffect {
        /// The flag at fault.
        flag: &'static str,
        /// The missing or contradicting one, in words.
        without: &'static str,
    },
    /// Thresholds that contradict each other, by flags.
    #[error(transparent)]
    Thresholds(#[from] ThresholdError),
    /// Thresholds of the model's folder that contradict each other or the flags.
    #[error("{file}: pounce.{}", .source.to_string().replace(".discontent_", ".discontent."))]
    ModelThresholds {
        /// The model's config.json.
        file: String,
        /// What is wrong.
        source: ThresholdError,
    },
    /// A file that can't be read or makes no sense.
    #[error("{file}: {reason}")]
    File {
        /// The file that was read.
        file: String,
        /// Why; names the field where there is one.
        reason: String,
    },
}

/// Checks that `value` lies in `min..=max`.
/// # Errors
/// [`ConfigError::OutOfRange`].
pub(super) fn within<T: PartialOrd + Display>(
    flag: &'static str,
    value: T,
    min: T,
    max: T,
) -> Result<T, ConfigError> {
    if value >= min && value <= max {
        return Ok(value);
    }
    let range = format!("from {min} to {max}");
    Err(ConfigError::OutOfRange { flag, value: value.to_string(), range })
}
