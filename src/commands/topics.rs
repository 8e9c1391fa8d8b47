//! `pounce topics`: what is being counted, as JSON lines.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use pounce_client::ClientError;
use pounce_proto::{GetTopicRequest, ListTopicsRequest};
use serde_json::json;

use super::alert_line::time;
use super::connection::ConnectionFlags;
use super::terminal::escaped;

/// The flags of `pounce topics`.
#[derive(Debug, Args)]
pub(crate) struct TopicsFlags {
    #[command(flatten)]
    connection: ConnectionFlags,
    /// Only this topic
    #[arg(value_name = "TOPIC")]
    topic: Option<String>,
    /// This place of the topic
    #[arg(long, requires = "topic", value_name = "PLACE")]
    place: Option<String>,
    /// Topics to show, 1 to 1000
    #[arg(long, default_value_t = 100, value_name = "N", conflicts_with = "topic",
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    max: u32,
}

/// Shows the topics, or one of them or of its places, once.
pub(crate) async fn run(flags: TopicsFlags) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut alerts = flags.connection.fleet()?.alerts();
    let topics = match flags.topic {
        Some(topic) => {
            let request = GetTopicRequest { topic, place: flags.place.unwrap_or_default() };
            let topic = alerts.get_topic(request).await.map_err(ClientError::of)?;
            topic.into_inner().status.into_iter().collect()
        }
        None => {
            let request = ListTopicsRequest { topics_max: flags.max };
            alerts.list_topics(request).await.map_err(ClientError::of)?.into_inner().topics
        }
    };
    let mut out = std::io::stdout().lock();
    for topic in topics {
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
            "place": topic.place,
            "warming": topic.warming,
            "baseline": topic.baseline,
            "threshold": topic.threshold,
            "windows": windows.collect::<Vec<_>>(),
            "watermark": time(topic.watermark),
            "alert_ids": topic.alert_ids,
        });
        writeln!(out, "{}", escaped(&line.to_string()))?;
    }
    Ok(ExitCode::SUCCESS)
}
