//! `pounce cases export`: which posts were flagged rightly, as people found, for the next training.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use pounce_proto::{Case, CaseState, ListCasesRequest};
use serde_json::{Value, json};

use super::filter::FilterFlags;
use crate::commands::alert_line::time;
use crate::commands::connection::ConnectionFlags;
use crate::commands::terminal::escaped;

/// The flags of `pounce cases export`.
#[derive(Debug, Args)]
pub(super) struct ExportFlags {
    #[command(flatten)]
    filter: FilterFlags,
    #[command(flatten)]
    connection: ConnectionFlags,
}

/// Writes a line for each known post of each closed case. The service keeps closed cases for 7 days.
pub(super) async fn run(flags: ExportFlags) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let request = ListCasesRequest {
        filter: Some(flags.filter.filter()),
        states: vec![CaseState::Closed.into()],
        ..ListCasesRequest::default()
    };
    let cases = flags.connection.ask(async |client| client.cases(request.clone()).await).await?;
    let mut out = std::io::stdout().lock();
    for line in cases.iter().flat_map(lines) {
        writeln!(out, "{}", escaped(&line.to_string()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(case: &Case) -> impl Iterator<Item = Value> {
    let closing = case.closing.clone().unwrap_or_default();
    case.post_ids.iter().map(move |post_id| {
        json!({
            "post_id": post_id,
            "topic": case.topic,
            "case": case.id,
            "severity": case.severity().name(),
            "outcome": closing.outcome().name(),
            "closed_at": time(closing.at),
        })
    })
}
