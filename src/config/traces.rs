//! Where traces go.

use clap::Args;

use super::error::{ConfigError, within};
use crate::traces::TraceSpec;

#[derive(Debug, Args)]
#[command(next_help_heading = "Traces")]
pub(super) struct TraceFlags {
    /// Collector of traces (OTLP over gRPC), such as http://127.0.0.1:4317
    #[arg(long, env = "POUNCE_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// Share of the calls without a traceparent that are traced, 0 to 1; a traceparent decides
    /// for its own call
    #[arg(long, env = "POUNCE_OTLP_ROOT_SHARE", default_value_t = 0.0, value_name = "SHARE")]
    otlp_root_share: f64,
}

impl TraceFlags {
    pub(super) fn checked(self) -> Result<Option<TraceSpec>, ConfigError> {
        let root_share = within("--otlp-root-share", self.otlp_root_share, 0.0, 1.0)?;
        Ok(self.otlp_endpoint.map(|endpoint| TraceSpec { endpoint, root_share }))
    }
}
