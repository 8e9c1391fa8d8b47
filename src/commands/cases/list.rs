//! `pounce cases list`: a table for people, JSON lines for programs.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use pounce_client::json::show_case;
use pounce_proto::{CaseOrder, CaseState, ListCasesRequest};
use pounce_types::clock::now;

use super::filter::FilterFlags;
use super::table;
use crate::commands::connection::ConnectionFlags;
use crate::commands::terminal::escaped;

/// The flags of `pounce cases list`.
#[derive(Debug, Args)]
pub(super) struct ListFlags {
    #[command(flatten)]
    filter: FilterFlags,
    /// Only cases in these states [default: open,claimed]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STATE,..")]
    states: Vec<StateName>,
    /// Only cases whose deadline passed
    #[arg(long)]
    overdue: bool,
    /// Which cases come first
    #[arg(long, value_enum, default_value_t = OrderName::Deadline)]
    order: OrderName,
    /// Write JSON lines instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: ConnectionFlags,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StateName {
    Open,
    Claimed,
    Closed,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OrderName {
    Deadline,
    Severity,
}

/// Shows the cases once.
pub(super) async fn run(flags: ListFlags) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let states = flags.states.iter().map(|state| match state {
        StateName::Open => CaseState::Open.into(),
        StateName::Claimed => CaseState::Claimed.into(),
        StateName::Closed => CaseState::Closed.into(),
    });
    let order = match flags.order {
        OrderName::Deadline => CaseOrder::Deadline,
        OrderName::Severity => CaseOrder::Severity,
    };
    let request = ListCasesRequest {
        states: states.collect(),
        filter: Some(flags.filter.filter()),
        overdue: flags.overdue,
        order: order.into(),
        ..ListCasesRequest::default()
    };
    let cases = flags.connection.ask(async |client| client.cases(request.clone()).await).await?;
    let mut out = std::io::stdout().lock();
    if !flags.json {
        writeln!(out, "{}", table::HEAD)?;
    }
    for case in &cases {
        let line = match flags.json {
            true => show_case(case).to_string(),
            false => table::row(case, now()),
        };
        writeln!(out, "{}", escaped(&line))?;
    }
    Ok(ExitCode::SUCCESS)
}
