//! A client that writes as fast as it can and never reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use pounce::client::{Client, StreamSpec};
use pounce::proto::ScoreStreamRequest;
use pounce::proto::score_stream_request::Request;
use pounce::proto::scoring_service_client::ScoringServiceClient;

use super::server::Server;
use super::{Outcome, post, say};

const STREAMS: usize = 8;
const SECONDS: u64 = 20;

pub(crate) async fn run() -> Outcome<()> {
    let server = Server::start(0)?;
    score_some(&server).await?;
    let before = server.resident_mib();
    let sent = Arc::new(AtomicUsize::new(0));
    let mut unread = Vec::new();
    for _ in 0..STREAMS {
        let mut service = ScoringServiceClient::connect(server.addr.clone()).await?;
        let sent = Arc::clone(&sent);
        let posts = futures::stream::iter(0..).map(move |n| {
            sent.fetch_add(1, Ordering::Relaxed);
            ScoreStreamRequest { request: Some(Request::Post(Box::new(post(n)))) }
        });
        unread.push(service.score_stream(posts).await?);
    }
    let mut peak = before;
    let mut taken = 0;
    for _ in 0..SECONDS {
        taken = sent.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(1)).await;
        peak = peak.max(server.resident_mib());
    }
    let still = sent.load(Ordering::Relaxed) - taken;
    // The service has time for others meanwhile.
    score_some(&server).await?;
    let mib = |mib: Option<u64>| mib.map_or("?".to_owned(), |mib| mib.to_string());
    say(&format!(
        "{STREAMS} clients that write and never read: {taken} posts taken, {still} in the last of \
         {SECONDS} s; resident memory {} MiB before, at most {} MiB; another client was answered",
        mib(before),
        mib(peak)
    ))
}

async fn score_some(server: &Server) -> Outcome<()> {
    let posts: Vec<_> = (1_000_000..1_000_300).map(|n| Ok(post(n))).collect();
    let client = Client::connect(&server.addr)?;
    let replies = client.score_all(futures::stream::iter(posts), StreamSpec::default());
    let answered = replies.filter(|reply| std::future::ready(reply.is_ok())).count().await;
    if answered == 300 { Ok(()) } else { Err(format!("{answered} of 300 answered").into()) }
}
