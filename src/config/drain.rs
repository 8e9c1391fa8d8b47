//! How long the end may take.

use std::time::Duration;

use clap::Args;

use super::error::{ConfigError, within};

/// A day, in seconds.
const SECONDS_MAX: u64 = 24 * 60 * 60;

/// Times of a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainConfig {
    /// Between not being ready and asking streams to end.
    pub notice: Duration,
    /// For streams to end.
    pub timeout: Duration,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Drain")]
pub(super) struct DrainFlags {
    /// After SIGTERM: seconds from reporting not ready to asking streams to end
    #[arg(long, env = "POUNCE_DRAIN_NOTICE", default_value_t = 5, value_name = "SECONDS")]
    drain_notice: u64,
    /// Seconds that streams have to end; calls still open then are cut off
    #[arg(long, env = "POUNCE_DRAIN_TIMEOUT", default_value_t = 20, value_name = "SECONDS")]
    drain_timeout: u64,
}

impl DrainFlags {
    pub(super) fn checked(self) -> Result<DrainConfig, ConfigError> {
        let seconds = |flag, value| within(flag, value, 0, SECONDS_MAX).map(Duration::from_secs);
        Ok(DrainConfig {
            notice: seconds("--drain-notice", self.drain_notice)?,
            timeout: seconds("--drain-timeout", self.drain_timeout)?,
        })
    }
}
