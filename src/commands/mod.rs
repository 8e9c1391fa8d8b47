//! The commands of the command line, one a file.

pub(crate) mod bench;
mod made_up;
pub(crate) mod connection;
pub(crate) mod healthcheck;
pub(crate) mod score;
pub(crate) mod token;
