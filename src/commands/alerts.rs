//! `pounce alerts`: closes alerts with an outcome, and writes down which were.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use pounce_client::ClientError;
use pounce_client::json::show_alert;
use pounce_proto::{AlertFilter, CaseOutcome, CloseAlertRequest};

use super::alert_line;
use super::connection::ConnectionFlags;
use super::outcome::OutcomeName;
use super::terminal::escaped;

/// The flags of `pounce alerts`.
#[derive(Debug, Args)]
pub(crate) struct AlertsFlags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Close an alert with an outcome; it goes on firing until its rule calms down
    Close(CloseFlags),
    /// Write the alerts of the last day that people closed, with outcomes and evidence, as JSON
    /// lines
    Export(ExportFlags),
}

#[derive(Debug, Args)]
struct CloseFlags {
    /// Id of the alert, as shown by `pounce watch`
    #[arg(value_name = "ALERT")]
    id: String,
    /// Your name, where the server asks for no tokens; with a token its name is taken
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    by: String,
    /// How the alert ended
    #[arg(long, value_enum)]
    outcome: OutcomeName,
    /// Note kept with the alert: no texts of customers
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    note: String,
    #[command(flatten)]
    connection: ConnectionFlags,
}

#[derive(Debug, Args)]
struct ExportFlags {
    /// Only these topics
    #[arg(long, value_delimiter = ',', value_name = "TOPIC,..")]
    topics: Vec<String>,
    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Runs the subcommand.
pub(crate) async fn run(flags: AlertsFlags) -> Result<ExitCode, Box<dyn std::error::Error>> {
    match flags.command {
        Command::Close(flags) => close(flags).await,
        Command::Export(flags) => export(flags).await,
    }
}

async fn close(flags: CloseFlags) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let CloseFlags { id, by, outcome, note, connection } = flags;
    let request = CloseAlertRequest { id, by, outcome: CaseOutcome::from(outcome).into(), note };
    let closed = connection.ask(async |client| {
        let closed = client.alerts().close_alert(request.clone()).await;
        Ok(closed.map_err(ClientError::of)?.into_inner().alert)
    });
    let line = alert_line::alert_line("closed", &closed.await?.unwrap_or_default());
    writeln!(std::io::stdout(), "{}", escaped(&line))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a line for each closed alert that the service knows: it forgets an alert a day after it
/// resolved.
async fn export(flags: ExportFlags) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let filter = AlertFilter { topics: flags.topics, ..AlertFilter::default() };
    let alerts = flags.connection.ask(async |client| client.list_alerts(&filter).await).await?;
    let mut out = std::io::stdout().lock();
    for alert in alerts.iter().filter(|alert| alert.closing.is_some()) {
        writeln!(out, "{}", escaped(&show_alert(alert).to_string()))?;
    }
    Ok(ExitCode::SUCCESS)
}
