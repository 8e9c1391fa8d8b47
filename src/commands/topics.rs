//! `pounce topics`: what is being counted, as a table or as JSON lines.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use pounce_client::{Client, ClientError};
use pounce_proto::{GetTopicRequest, ListTopicsRequest, TopicStatus};
use serde_json::json;

use super::alert_line::time;
use super::connection::ConnectionFlags;
use super::terminal::escaped;
use super::topics_table::table;

/// Topics of a page: the most that a service gives.
const PAGE_SIZE_MAX: usize = 1000;

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
    /// The places of the topic
    #[arg(long, requires = "topic", conflicts_with = "place")]
    places: bool,
    /// Topics or places to show, at most
    #[arg(long, default_value_t = 100, value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..))]
    max: u32,
    /// JSON lines instead of a table
    #[arg(long)]
    json: bool,
}

/// Shows the topics or the places of one, or one of them, once.
pub(crate) async fn run(flags: TopicsFlags) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let topics = flags.connection.ask(async |client| topics(&client, &flags).await).await?;
    let mut out = std::io::stdout().lock();
    if !flags.json {
        write!(out, "{}", table(&topics))?;
        return Ok(ExitCode::SUCCESS);
    }
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

/// What the flags ask for.
async fn topics(client: &Client, flags: &TopicsFlags) -> Result<Vec<TopicStatus>, ClientError> {
    let Some(topic) = flags.topic.clone() else {
        return list(client, String::new(), flags.max).await;
    };
    if flags.places {
        return list(client, topic, flags.max).await;
    }
    let request = GetTopicRequest { topic, place: flags.place.clone().unwrap_or_default() };
    let topic = client.alerts().get_topic(request).await.map_err(ClientError::of)?;
    Ok(topic.into_inner().status.into_iter().collect())
}

/// Topics, or the places of `topic`, read by pages; at most `max`.
async fn list(client: &Client, topic: String, max: u32) -> Result<Vec<TopicStatus>, ClientError> {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let mut alerts = client.alerts();
    let (mut topics, mut page_token) = (Vec::new(), String::new());
    loop {
        let left = max.saturating_sub(topics.len()).min(PAGE_SIZE_MAX);
        let request = ListTopicsRequest {
            page_size: i32::try_from(left).unwrap_or(i32::MAX),
            page_token,
            topic: topic.clone(),
            ..ListTopicsRequest::default()
        };
        let page = alerts.list_topics(request).await.map_err(ClientError::of)?.into_inner();
        topics.extend(page.topics);
        page_token = page.next_page_token;
        if page_token.is_empty() || topics.len() >= max {
            return Ok(topics);
        }
    }
}
