//! `pounce cases`: who is to be answered by when; claims, releases and closes cases.

mod export;
mod filter;
mod list;
mod table;
mod watch;

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use pounce_client::ClientError;
use pounce_client::json::show_case;
use pounce_proto::{Case, CaseOutcome, ClaimCaseRequest, CloseCaseRequest, ReleaseCaseRequest};

use super::connection::ConnectionFlags;
use super::outcome::OutcomeName;
use super::terminal::escaped;

/// The flags of `pounce cases`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct CasesFlags {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: list::ListFlags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List cases, the earliest deadline first; the same as without a subcommand
    List(list::ListFlags),
    /// Claim a case, so that nobody else turns to the same customer; claiming again renews the claim
    Claim(ActionFlags),
    /// Give a claimed case back
    Release(ActionFlags),
    /// Close a case with an outcome
    Close(CloseFlags),
    /// Show cases as they change
    Watch(watch::WatchFlags),
    /// Write the posts of closed cases with their outcomes, as JSON lines
    Export(export::ExportFlags),
}

/// Which case, and who acts.
#[derive(Debug, Args)]
struct ActionFlags {
    /// Id of the case, as shown by `pounce cases`
    #[arg(value_name = "CASE")]
    id: String,
    /// Your name, where the server asks for no tokens; with a token its name is taken
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    by: String,
    #[command(flatten)]
    connection: ConnectionFlags,
}

#[derive(Debug, Args)]
struct CloseFlags {
    #[command(flatten)]
    action: ActionFlags,
    /// How the case ended
    #[arg(long, value_enum)]
    outcome: OutcomeName,
    /// Note kept with the case: no texts of customers
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    note: String,
}

/// Runs the subcommand; without one, lists.
pub(crate) async fn run(flags: CasesFlags) -> Result<ExitCode, Box<dyn std::error::Error>> {
    match flags.command {
        None => list::run(flags.list).await,
        Some(Command::List(flags)) => list::run(flags).await,
        Some(Command::Watch(flags)) => watch::run(flags).await,
        Some(Command::Export(flags)) => export::run(flags).await,
        Some(Command::Claim(ActionFlags { id, by, connection })) => {
            let request = ClaimCaseRequest { id, by };
            let claimed = connection.ask(async |client| {
                let claimed = client.care().claim_case(request.clone()).await;
                Ok(claimed.map_err(ClientError::of)?.into_inner().case)
            });
            shown(claimed.await?)
        }
        Some(Command::Release(ActionFlags { id, by, connection })) => {
            let request = ReleaseCaseRequest { id, by };
            let released = connection.ask(async |client| {
                let released = client.care().release_case(request.clone()).await;
                Ok(released.map_err(ClientError::of)?.into_inner().case)
            });
            shown(released.await?)
        }
        Some(Command::Close(CloseFlags { action, outcome, note })) => {
            let ActionFlags { id, by, connection } = action;
            let outcome = CaseOutcome::from(outcome).into();
            let request = CloseCaseRequest { id, by, outcome, note };
            let closed = connection.ask(async |client| {
                let closed = client.care().close_case(request.clone()).await;
                Ok(closed.map_err(ClientError::of)?.into_inner().case)
            });
            shown(closed.await?)
        }
    }
}

/// Shows the case that somebody acted on.
fn shown(case: Option<Case>) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let line = show_case(&case.unwrap_or_default()).to_string();
    writeln!(std::io::stdout(), "{}", escaped(&line))?;
    Ok(ExitCode::SUCCESS)
}
