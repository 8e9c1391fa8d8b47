//! Streams of texts that are costly to prepare: letters that grow, and words that no vocabulary has.

use std::time::Duration;

use futures::StreamExt;
use pounce_client::{Client, StreamSpec};
use pounce_proto::Post;

use super::bystander;
use super::server::Server;
use super::{Outcome, say};

const STREAMS: usize = 8;
const TIME: Duration = Duration::from_secs(10);
/// Bytes of a text: as many as a post may have.
const BYTES: usize = 8000;
/// Health must answer 99 of 100 times within this.
const HEALTH_MAX: Duration = Duration::from_millis(50);

pub(crate) async fn run() -> Outcome<()> {
    // One letter of three bytes that Unicode's NFKC makes eighteen letters of.
    let grows: fn(usize) -> String = |n| format!("{n} {}", "\u{fdfa}".repeat(BYTES / 3 - 8));
    let unknown: fn(usize) -> String =
        |n| format!("{n} {}", format!("{} ", "qx".repeat(49)).repeat(BYTES / 100));
    for (name, text) in [("letters that grow", grows), ("words without end", unknown)] {
        let server = Server::start(0)?;
        bystander::score_some(&server).await?;
        let client = Client::connect(&server.addr)?;
        let streams: Vec<_> = (0..STREAMS)
            .map(|stream| {
                let posts = (0..).map(move |n| {
                    let id = format!("{stream}-{n}");
                    Ok(Post { id: id.into(), text: text(n).into(), ..Post::default() })
                });
                let replies = client.score_all(futures::stream::iter(posts), StreamSpec::default());
                tokio::spawn(replies.for_each(|_| std::future::ready(())))
            })
            .collect();
        let seen = bystander::watch(&server, TIME).await?;
        streams.iter().for_each(tokio::task::JoinHandle::abort);
        let told = format!("{STREAMS} streams of {name}, {BYTES} bytes each: {seen}");
        if seen.health_p99() > HEALTH_MAX {
            return Err(format!("{told}; {HEALTH_MAX:?} is the limit").into());
        }
        say(&format!("{told}; another client was answered"))?;
    }
    Ok(())
}
