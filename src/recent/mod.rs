//! What scored posts leave behind in memory, for those who look: the latest flagged ones, and
//! the rate and latency of the last minute. Knows nothing of who looks.

mod latency;
pub mod posts;
mod texts;
