//! Scores a few posts with a running service: `cargo run --example score`.

use futures::StreamExt;
use pounce_client::{Client, Reply, StreamSpec};
use pounce_proto::Post;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::connect("http://127.0.0.1:50051")?;
    let texts = ["been on hold for 47 minutes", "love the new app", "open on sundays?"];
    let posts = (1..).zip(texts).map(|(id, text): (u64, _)| {
        Ok(Post { id: id.to_string().into(), text: text.into(), ..Post::default() })
    });
    let posts = futures::stream::iter(posts);
    let mut replies = client.score_all(posts, StreamSpec::default());
    while let Some(reply) = replies.next().await {
        let line = match reply? {
            Reply::Event(event) => format!("{}: {:?}", event.post_id, event.sentiment()),
            Reply::Rejection(rejection) => format!("{}: {}", rejection.post_id, rejection.reason),
        };
        writeln(&line)?;
    }
    Ok(())
}

fn writeln(line: &str) -> std::io::Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{line}")
}
