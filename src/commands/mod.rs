//! The commands of the command line, one a file.

pub(crate) mod acknowledge;
mod alert_line;
pub(crate) mod bench;
pub(crate) mod check_config;
pub(crate) mod connection;
pub(crate) mod docs;
pub(crate) mod healthcheck;
pub(crate) mod load;
pub(crate) mod replay;
mod sample_posts;
pub(crate) mod score;
pub(crate) mod token;
pub(crate) mod topics;
pub(crate) mod watch;
mod watch_table;
