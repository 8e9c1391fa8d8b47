//! Counting through a log that all replicas of a fleet read.
//!
//! `writer` takes in what this process scored; `append` writes it to the log, when `pace` says; `apply` reads
//! the log, this process's entries among them, and drives the alert engine; it begins with what
//! `snapshots` finds. Whoever scored a post waits until it was applied here, unless the log does not
//! answer. docs/decisions/replicated-log.md says why.

pub(crate) mod admission;
pub(crate) mod append;
pub(crate) mod apply;
mod breaker;
pub(crate) mod error;
pub(crate) mod metrics;
pub(crate) mod outcome;
mod pace;
mod snapshots;
pub mod unsent;
pub(crate) mod writer;
