//! Scores become alerts. Pure: no async, no clock, no wire; time is an argument.

pub mod flags;
