//! `pounce topics`: what is being counted, as JSON lines.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use pounce::proto::ListTopicsRequest;
use serde_json::json;

use super::alert_line::time;
use super::connection::ConnectionFlags;

/// The flags of `pounce topics`.
#[derive(Debug, Args)]
pub(crate) struct TopicsFlags {
    #[command(flatten)]
    connection: ConnectionFlags,
    /// Topics to show, at most 1000
    #[arg(long, default_value_t = 100, value_name = "N")]
    max: u32,
}

/// Shows the topics once.
pub(crate) async fn run(flags: TopicsFlags) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut alerts = flags.connection.client()?.alerts();
    let topics = alerts.list_topics(ListTopicsRequest { topics_max: flags.max }).await?;
    let mut out = std::io::stdout().lock();
    for topic in topics.into_inner().topics {
        let windows = topic.windows.iter().map(|window| {
            json!({
                "minutes": window.window.map(|length| length.seconds / 60),
                "posts": window.posts,
                "negatives": window.negatives,
                "share": window.share,
                "bound": window.bound,
            })
        });
        let line = json!({
            "topic": topic.topic,
            "warming": topic.warming,
            "baseline": topic.baseline,
            "threshold": topic.threshold,
            "windows": windows.collect::<Vec<_>>(),
            "watermark": time(topic.watermark),
            "alert_ids": topic.alert_ids,
        });
        writeln!(out, "{line}")?;
    }
    Ok(ExitCode::SUCCESS)
}
