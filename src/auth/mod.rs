//! Who may call: bearer tokens, their scopes, their rates, and the room that callers share.
//!
//! Knows headers and methods' names; nothing of what calls do.

mod bucket;
pub(crate) mod caller;
pub(crate) mod caller_key;
pub(crate) mod encrypted;
pub(crate) mod guard;
pub(crate) mod metrics;
pub(crate) mod need;
pub mod tokens;
pub(crate) mod unfinished;
