//! Measures what a fleet sees of a shift, with a log and without, and how many posts one log
//! carries. `make evaluate-fleet` runs it; docs/decisions/replicated-log.md explains it.
//!
//! Every figure but the rates comes from fixed seeds. Posts go through the outboxes, entries and
//! state machines of the service; the log itself is a list in memory.

#![allow(clippy::print_stdout, reason = "its output is its purpose")]

mod delays;
mod fleet;
mod scale;

fn main() {
    delays::print_table();
    scale::print_table();
}
