//! The commands of the command line, one a file; they use `pounce::client`.

pub(crate) mod score;
