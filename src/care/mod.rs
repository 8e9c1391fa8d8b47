//! `CareService`: cases as messages, and the calls that list, watch, claim and close them.
//!
//! Knows the cases, the log through which actions go, and who calls; nothing of how posts are scored.

pub(crate) mod action;
pub(crate) mod service;
mod watch;
pub(crate) mod wire;
