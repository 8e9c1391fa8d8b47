//! `pounce healthcheck`: one look at a service's health, for probes and scripts.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::connection::ConnectionFlags;

/// The flags of `pounce healthcheck`.
#[derive(Debug, Args)]
pub(crate) struct HealthcheckFlags {
    #[command(flatten)]
    connection: ConnectionFlags,
    /// What to check: readiness if empty, `liveness`, or the name of a gRPC service
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    service: String,
    /// Seconds to wait for an answer
    #[arg(long, default_value_t = 2, value_name = "SECONDS")]
    timeout: u64,
}

/// Succeeds only if the service says SERVING.
#[allow(clippy::print_stdout, reason = "the command's result")]
pub(crate) async fn run(flags: HealthcheckFlags) -> Result<ExitCode, Box<dyn Error>> {
    let mut health = HealthClient::new(flags.connection.line()?);
    let asked = health.check(HealthCheckRequest { service: flags.service });
    let answer = tokio::time::timeout(Duration::from_secs(flags.timeout), asked)
        .await
        .map_err(|_| format!("no answer within {} s", flags.timeout))?
        .map_err(|status| format!("{:?}: {}", status.code(), status.message()))?;
    let status = answer.into_inner().status();
    println!("{}", status.as_str_name());
    let serving = status == ServingStatus::Serving;
    Ok(if serving { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
