//! The commands of the command line, one a file.

pub(crate) mod bench;
pub(crate) mod connection;
pub(crate) mod docs;
pub(crate) mod healthcheck;
mod made_up;
pub(crate) mod score;
pub(crate) mod token;
