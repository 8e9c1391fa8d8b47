//! How many random schedules a test tries: a few in the suite, more in `make trials`.

#![allow(unreachable_pub, reason = "shared by test files")]

use std::ops::Range;

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var_os(name)?.into_string().expect("UTF-8");
    Some(value.parse().unwrap_or_else(|error| panic!("{name}: {error}")))
}

/// POUNCE_TRIAL_SEEDS seeds, or `count`, from POUNCE_TRIAL_SEED on.
pub fn seeds(count: u64) -> Range<u64> {
    let first = setting("POUNCE_TRIAL_SEED").unwrap_or(1);
    first..first + setting("POUNCE_TRIAL_SEEDS").unwrap_or(count)
}
