//! Measures the alerts on topics: false alarms, delays, and what naive rules
//! would have done. `make evaluate-alerts` runs it; docs/alerts.md explains it.
//!
//! Usage: `evaluate_alerts [NAB_FOLDER] [PLOT.svg]`, by default
//! `../shared/data/nab` and `docs/alert-replay.svg`. Every figure comes from a
//! fixed seed; every post goes through the engine as a live one would.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "its output is its purpose")]

mod nab;
mod naive;
mod oracle;
mod plot;
mod share;
mod stream;
mod volume;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let folder = arguments.next().unwrap_or_else(|| "../shared/data/nab".into());
    let plot = arguments.next().unwrap_or_else(|| "docs/alert-replay.svg".into());
    share::print_tables();
    match nab::load(&folder) {
        Ok(series) => volume::print_tables(&series),
        Err(reason) => println!(
            "\nVOLUME was not measured: {reason}.\nIt needs the folder realTweets and the file \
             windows.json (the same as combined_windows.json, cut to realTweets) of the Numenta \
             Anomaly Benchmark (MIT), given as the first argument."
        ),
    }
    if let Err(reason) = plot::write(&plot) {
        eprintln!("cannot write {}: {reason}", plot.display());
        return ExitCode::FAILURE;
    }
    println!("\nplot of one replay: {}", plot.display());
    ExitCode::SUCCESS
}
