//! The commands of the command line, one a file.

pub(crate) mod acknowledge;
mod alert_line;
pub(crate) mod alerts;
pub(crate) mod bench;
pub(crate) mod bridge;
pub(crate) mod cases;
pub(crate) mod check_config;
mod clock;
pub(crate) mod completions;
pub(crate) mod connection;
pub(crate) mod docs;
pub(crate) mod healthcheck;
pub(crate) mod load;
mod outcome;
pub(crate) mod replay;
pub(crate) mod rules;
mod sample_posts;
pub(crate) mod score;
pub(crate) mod terminal;
pub(crate) mod token;
pub(crate) mod topics;
mod topics_table;
pub(crate) mod watch;
mod watch_table;

/// A random prefix for the ids of one run's posts that have none: with line numbers alone, the next
/// run's posts would be taken for duplicates of this one's.
fn run_id() -> Result<String, getrandom::Error> {
    Ok(format!("{:08x}", getrandom::u32()?))
}
