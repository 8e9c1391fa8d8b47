//! `pounce cases watch`: each change as a JSON line.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use futures::StreamExt;
use pounce_client::WatchedCase;
use pounce_client::json::show_case;
use pounce_proto::Case;

use super::filter::FilterFlags;
use crate::commands::connection::ConnectionFlags;
use crate::commands::terminal::escaped;

/// The flags of `pounce cases watch`.
#[derive(Debug, Args)]
pub(super) struct WatchFlags {
    #[command(flatten)]
    filter: FilterFlags,
    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Shows cases until it is interrupted or refused; when the service drains, restarts or is lost, it
/// says so and watches on.
pub(super) async fn run(flags: WatchFlags) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut watch = flags.connection.fleet()?.watch_cases(flags.filter.filter());
    let mut out = std::io::stdout();
    while let Some(news) = watch.next().await {
        if let Some(line) = line(&news?) {
            writeln!(out, "{}", escaped(&line))?;
            out.flush()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What programs read. What concerns the watch itself goes to a person.
#[allow(clippy::print_stderr, reason = "a word to a person")]
fn line(news: &WatchedCase) -> Option<String> {
    match news {
        WatchedCase::Change(change) => {
            Some(changed(change.kind().name(), change.case.as_ref().unwrap_or(&Case::default())))
        }
        WatchedCase::Gone(case) => Some(changed("gone", case)),
        WatchedCase::Connected => {
            eprintln!("watching");
            None
        }
        WatchedCase::Lost(reason) => {
            eprintln!("connection lost, trying again: {}", escaped(reason));
            None
        }
        WatchedCase::Missed(missed) => {
            eprintln!("missed {missed} changes");
            None
        }
    }
}

fn changed(change: &str, case: &Case) -> String {
    let mut line = show_case(case);
    line["change"] = change.into();
    line.to_string()
}
