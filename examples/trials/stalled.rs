//! Clients that write as fast as they can and never read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use pounce_proto::ScoreStreamRequest;
use pounce_proto::score_stream_request::Request;
use pounce_proto::scoring_service_client::ScoringServiceClient;
use tonic::transport::Endpoint;

use super::bystander::score_some;
use super::server::Server;
use super::{Outcome, post, say};

/// Bytes of replies that a client takes in unread: HTTP/2's own default.
const WINDOW: u32 = 65_535;
/// MiB that the server may grow by: 16 of remembered scores, 16 of queued texts, and a third of one a
/// client for its unanswered posts, what it wrote ahead, and the replies that it does not take.
fn growth_max(streams: u64) -> u64 {
    16 + 16 + streams.div_ceil(3)
}

pub(crate) async fn run(streams: u64, seconds: u64) -> Outcome<()> {
    let server = Server::start(0)?;
    score_some(&server).await?;
    let before = server.resident_mib();
    let sent = Arc::new(AtomicUsize::new(0));
    let mut unread = Vec::new();
    for _ in 0..streams {
        let line = Endpoint::from_shared(server.addr.clone())?.initial_stream_window_size(WINDOW);
        let mut service = ScoringServiceClient::new(line.connect().await?);
        let sent = Arc::clone(&sent);
        let posts = futures::stream::iter(0..).map(move |n| {
            sent.fetch_add(1, Ordering::Relaxed);
            ScoreStreamRequest { request: Some(Request::Post(Box::new(post(n)))) }
        });
        unread.push(service.score_stream(posts).await?);
    }
    let mut peak = before;
    let mut taken = 0;
    for _ in 0..seconds {
        taken = sent.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(1)).await;
        peak = peak.max(server.resident_mib());
    }
    let still = sent.load(Ordering::Relaxed) - taken;
    // The service has time for others meanwhile.
    score_some(&server).await?;
    let mib = |mib: Option<u64>| mib.map_or("?".to_owned(), |mib| mib.to_string());
    let seen = format!(
        "{streams} clients that write and never read: {taken} posts taken, {still} in the last of \
         {seconds} s; resident memory {} MiB before, at most {} MiB",
        mib(before),
        mib(peak)
    );
    let grown = before.zip(peak).map_or(0, |(before, peak)| peak - before);
    if still > 0 || grown > growth_max(streams) {
        let max = growth_max(streams);
        return Err(format!("{seen}: reading goes on, or it grew by over {max} MiB").into());
    }
    say(&format!("{seen}; another client was answered"))
}
