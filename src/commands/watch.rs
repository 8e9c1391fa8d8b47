//! `pounce watch`: a live table on a terminal, JSON lines otherwise.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;
use pounce::proto::watch_alerts_response::Message;
use pounce::proto::{
    Alert, AlertChange, AlertChangeKind, AlertFilter, Severity, WatchAlertsRequest,
};

use super::alert_line;
use super::connection::ConnectionFlags;

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
    /// Only alerts at least so severe
    #[arg(long, value_enum)]
    severity: Option<SeverityName>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum SeverityName {
    Low,
    Medium,
    High,
}

/// Shows alerts until the service ends the watch.
#[allow(clippy::print_stderr, reason = "a word to a person")]
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
    let mut alerts = flags.connection.client()?.alerts();
    let request = WatchAlertsRequest { filter: Some(filter) };
    let mut changes = alerts.watch_alerts(request).await?.into_inner();
    let mut out = std::io::stdout();
    let mut table = out.is_terminal().then(Table::default);
    while let Some(response) = changes.message().await? {
        match (response.message, &mut table) {
            (Some(Message::Change(change)), Some(table)) => {
                table.apply(change);
                write!(out, "{table}")?;
            }
            (Some(Message::Change(change)), None) => {
                writeln!(out, "{}", alert_line::json_line(&change))?;
            }
            (Some(Message::Missed(missed)), _) => eprintln!("missed {missed} changes"),
            (None, _) => {}
        }
        out.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What fires, oldest first.
#[derive(Default)]
struct Table(BTreeMap<(i64, String), Alert>);

impl Table {
    fn apply(&mut self, change: AlertChange) {
        let over = change.kind() == AlertChangeKind::Resolved;
        let Some(alert) = change.alert else { return };
        let key = (alert.opened_at.map_or(0, |at| at.seconds), alert.id.clone());
        if over {
            self.0.remove(&key);
        } else {
            self.0.insert(key, alert);
        }
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // To the top left, and clear what was below.
        write!(f, "\x1b[H\x1b[J{} firing\n\n", self.0.len())?;
        writeln!(
            f,
            "{:<21} {:<7} {:<8} {:<24} {:>9} {:>8} {:>7} taken by",
            "opened", "kind", "severity", "topic", "negative", "usual", "bound"
        )?;
        for alert in self.0.values() {
            let evidence = alert.evidence.clone().unwrap_or_default();
            writeln!(
                f,
                "{:<21} {:<7} {:<8} {:<24} {:>9} {:>8.2} {:>7.2} {}",
                alert_line::time(alert.opened_at).as_str().unwrap_or("-"),
                alert_line::kind(alert),
                alert_line::severity(alert),
                alert_line::subject(alert),
                format!("{}/{}", evidence.negatives, evidence.posts),
                evidence.baseline,
                evidence.bound,
                alert.acknowledgement.as_ref().map_or("", |taken| taken.by.as_str()),
            )?;
        }
        Ok(())
    }
}
