//! `pounce acknowledge`: says who handles an alert.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use pounce_client::ClientError;
use pounce_proto::AcknowledgeAlertRequest;

use super::alert_line;
use super::connection::ConnectionFlags;
use super::terminal::escaped;

/// The flags of `pounce acknowledge`.
#[derive(Debug, Args)]
pub(crate) struct AcknowledgeFlags {
    /// Id of the alert, as shown by `pounce watch`
    #[arg(value_name = "ALERT")]
    id: String,
    /// Your name, shown to everybody who watches
    #[arg(long, value_name = "NAME")]
    by: String,
    /// Note shown with the acknowledgement
    #[arg(long, default_value = "", value_name = "TEXT", hide_default_value = true)]
    note: String,
    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Acknowledges the alert and shows it, with whoever acknowledged it first.
pub(crate) async fn run(flags: AcknowledgeFlags) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let AcknowledgeFlags { id, by, note, connection } = flags;
    let request = AcknowledgeAlertRequest { id, by, note };
    let acknowledged = connection
        .ask(async |client| {
            let acknowledged = client.alerts().acknowledge_alert(request.clone()).await;
            Ok(acknowledged.map_err(ClientError::of)?.into_inner())
        })
        .await?;
    let alert = acknowledged.alert.unwrap_or_default();
    let line = alert_line::alert_line("acknowledged", &alert);
    writeln!(std::io::stdout(), "{}", escaped(&line))?;
    Ok(ExitCode::SUCCESS)
}
