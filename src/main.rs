//! Parses the command line, runs one command, and turns its outcome into an exit code.

mod commands;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use pounce::app;
use pounce::config::{ConfigError, ServeFlags};
use pounce::telemetry;
use pounce_bridge::ends::RunError;

/// Tensors come and go with every batch. jemalloc keeps their pages while batches follow; mimalloc
/// gave them back and faulted them in again, for a tenth of the processor's time.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exit code of bad configuration, as clap has it for bad flags.
const BAD_CONFIGURATION: u8 = 2;

/// Streaming sentiment over gRPC: posts in, scored events and alerts out.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    /// Which log lines to write, in the syntax of RUST_LOG
    #[arg(long, env = "RUST_LOG", default_value = "info", global = true, value_name = "FILTER")]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service
    Serve(Box<ServeFlags>),
    /// Score JSON lines with a running service
    Score(commands::score::ScoreFlags),
    /// Show alerts as they open, escalate and resolve
    Watch(commands::watch::WatchFlags),
    /// Acknowledge an alert: tell everybody who watches that you handle it
    Acknowledge(commands::acknowledge::AcknowledgeFlags),
    /// Close alerts with an outcome, and export which were
    Alerts(commands::alerts::AlertsFlags),
    /// List cases, the earliest deadline first; claim, release and close them
    Cases(Box<commands::cases::CasesFlags>),
    /// Show the topics that are counted, most discontent first, or one of them
    Topics(commands::topics::TopicsFlags),
    /// Send recorded posts in event time and show the alerts that they open
    Replay(commands::replay::ReplayFlags),
    /// Score posts from a message broker and write their events to one
    Bridge(Box<commands::bridge::BridgeFlags>),
    /// Check the settings of `serve` without running it
    CheckConfig(Box<ServeFlags>),
    /// Measure engines side by side, and the service beside its bare engine
    Bench(Box<commands::bench::BenchFlags>),
    /// Put a running service under load and measure how long replies take
    Load(Box<commands::load::LoadFlags>),
    /// Check the health of a running service: exit code 0 if it is serving, else 1
    Healthcheck(commands::healthcheck::HealthcheckFlags),
    /// Make a bearer token: the token goes to stdout, its line for `serve --tokens` to stderr
    Token(commands::token::TokenFlags),
    /// Write Prometheus rules for topic alerts over replicas that share no log
    Rules(commands::rules::RulesFlags),
    /// Write the completions of a shell to stdout
    Completions(commands::completions::CompletionFlags),
    /// Write manual pages
    Man(commands::completions::ManFlags),
    /// Show docs/configuration.md as it should be
    #[command(hide = true)]
    Docs,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = telemetry::start(&cli.log) {
        return fail(&error, BAD_CONFIGURATION);
    }
    match cli.command {
        Command::Serve(flags) => serve(*flags).await,
        Command::Bench(flags) => report(Box::pin(commands::bench::run(*flags)).await),
        Command::Load(flags) => report(Box::pin(commands::load::run(*flags)).await),
        Command::Score(flags) => report(Box::pin(commands::score::run(flags)).await),
        Command::Watch(flags) => report(Box::pin(commands::watch::run(flags)).await),
        Command::Acknowledge(flags) => report(commands::acknowledge::run(flags).await),
        Command::Alerts(flags) => report(commands::alerts::run(flags).await),
        Command::Cases(flags) => report(Box::pin(commands::cases::run(*flags)).await),
        Command::Topics(flags) => report(commands::topics::run(flags).await),
        Command::Replay(flags) => report(Box::pin(commands::replay::run(flags)).await),
        Command::Bridge(flags) => report(Box::pin(commands::bridge::run(*flags)).await),
        Command::CheckConfig(flags) => commands::check_config::run(*flags),
        Command::Healthcheck(flags) => report(commands::healthcheck::run(flags).await),
        Command::Rules(flags) => report(commands::rules::run(&flags)),
        Command::Completions(flags) => commands::completions::run(&flags, Cli::command()),
        Command::Man(flags) => report(commands::completions::man(&flags, Cli::command())),
        Command::Docs => commands::docs::run(&Cli::command()),
        Command::Token(flags) => report(commands::token::run(&flags)),
    }
}

async fn serve(flags: ServeFlags) -> ExitCode {
    let config = match flags.checked() {
        Ok(config) => config,
        Err(error) => return fail(&error, BAD_CONFIGURATION),
    };
    match Box::pin(app::run(config)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, if error.is_configuration() { BAD_CONFIGURATION } else { 1 }),
    }
}

fn report(outcome: Result<ExitCode, Box<dyn std::error::Error>>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        let bridge = error.downcast_ref::<RunError>().is_some_and(RunError::is_configuration);
        let configuration = error.is::<ConfigError>() || bridge;
        let code = if configuration { BAD_CONFIGURATION } else { 1 };
        fail(error.as_ref(), code)
    })
}

#[allow(clippy::print_stderr, reason = "the last word to a person")]
fn fail(error: &dyn std::error::Error, code: u8) -> ExitCode {
    eprintln!("pounce: {}", commands::terminal::escaped(&error.to_string()));
    ExitCode::from(code)
}
