//! The dashboard in the browser.

use clap::{ArgAction, Args};

use super::error::ConfigError;

/// Whether there is a dashboard, and what it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DashboardConfig {
    /// Whether the HTTP port serves it.
    pub enabled: bool,
    /// Whether it shows the texts of flagged posts.
    pub texts: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Dashboard")]
pub(super) struct DashboardFlags {
    /// Serve the dashboard at / of the HTTP port
    #[arg(
        long,
        env = "POUNCE_BOARD",
        default_value_t = true,
        action = ArgAction::Set,
        value_name = "BOOL"
    )]
    board: bool,
    /// Show the texts of flagged posts on the dashboard; the latest ones are kept in memory
    #[arg(long, env = "POUNCE_BOARD_TEXTS")]
    board_texts: bool,
}

impl DashboardFlags {
    pub(super) fn checked(self) -> Result<DashboardConfig, ConfigError> {
        if self.board_texts && !self.board {
            let without = "with --board false";
            return Err(ConfigError::NoEffect { flag: "--board-texts", without });
        }
        Ok(DashboardConfig { enabled: self.board, texts: self.board_texts })
    }
}
