//! `pounce watch`: a live table on a terminal, JSON lines otherwise.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;
use futures::StreamExt;
use pounce_client::{WatchSpec, Watched};
use pounce_proto::{AlertFilter, Severity};

use super::alert_line;
use super::connection::ConnectionFlags;
use super::terminal::escaped;
use super::watch_table::Table;

/// The flags of `pounce watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchFlags {
    #[command(flatten)]
    connection: ConnectionFlags,
    /// Only these topics
    #[arg(long, value_delimiter = ',', value_name = "TOPIC,..")]
    topics: Vec<String>,
    /// Only these places
    #[arg(long, value_delimiter = ',', value_name = "PLACE,..")]
    places: Vec<String>,
    /// Only alerts of this severity or higher
    #[arg(long, value_enum)]
    severity: Option<SeverityName>,
    /// Show alerts only, without advocates (positive posts of influential authors)
    #[arg(long)]
    alerts_only: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum SeverityName {
    Low,
    Medium,
    High,
}

/// Shows alerts and advocates until it is interrupted or refused; when the
/// service drains, restarts or is lost, it says so and watches on.
pub(crate) async fn run(flags: WatchFlags) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let severity_min = match flags.severity {
        None => Severity::Unspecified,
        Some(SeverityName::Low) => Severity::Low,
        Some(SeverityName::Medium) => Severity::Medium,
        Some(SeverityName::High) => Severity::High,
    };
    let filter = AlertFilter {
        topics: flags.topics,
        places: flags.places,
        kinds: Vec::new(),
        severity_min: severity_min.into(),
    };
    let spec = WatchSpec { filter, advocates: !flags.alerts_only };
    let mut watch = flags.connection.fleet()?.watch(spec);
    let mut out = std::io::stdout();
    let mut table = out.is_terminal().then(Table::default);
    while let Some(news) = watch.next().await {
        let news = news?;
        if let Some(table) = &mut table {
            table.apply(news);
            write!(out, "{table}")?;
        } else if let Some(line) = line(&news) {
            writeln!(out, "{}", escaped(&line))?;
        } else {
            tell(&news);
        }
        out.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What programs read.
fn line(news: &Watched) -> Option<String> {
    match news {
        Watched::Change(change) => Some(alert_line::json_line(change)),
        Watched::Forgotten(alert) => Some(alert_line::alert_line("forgotten", alert)),
        Watched::Advocate(advocate) => Some(alert_line::advocate_line(advocate)),
        _ => None,
    }
}

/// A word to a person about the watch itself.
#[allow(clippy::print_stderr, reason = "a word to a person")]
fn tell(news: &Watched) {
    match news {
        Watched::Connected => eprintln!("watching"),
        Watched::Lost(reason) => {
            eprintln!("connection lost, trying again: {}", escaped(reason));
        }
        Watched::Missed(missed) => eprintln!("missed {missed} changes"),
        Watched::AdvocatesMissed(missed) => eprintln!("missed {missed} advocates"),
        Watched::Change(_) | Watched::Forgotten(_) | Watched::Advocate(_) => {}
    }
}
