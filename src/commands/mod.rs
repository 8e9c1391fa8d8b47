//! The commands of the command line, one a file; they use `pounce::client`.

pub(crate) mod bench;
mod made_up;
pub(crate) mod score;
