//! Fifty callers that take all they can, beside one that sends a post at a time: how long it waits.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use pounce_proto::score_stream_request::Request;
use pounce_proto::scoring_service_client::ScoringServiceClient;
use pounce_proto::{Post, ScoreRequest, ScoreStreamRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use super::server::Server;
use super::{Outcome, say};

const GREEDY: u8 = 50;
const TIME: Duration = Duration::from_secs(10);
/// Between two posts of the polite callers.
const PAUSE: Duration = Duration::from_millis(10);
/// 99 of 100 posts of the polite callers are to be answered within so many times what a post takes
/// that is alone. A batch of eight takes at most eight times as long: this is a few batches' time.
const LATENCY_MAX: u32 = 40;

pub(crate) async fn run() -> Outcome<()> {
    let server = Server::start(0)?;
    super::bystander::score_some(&server).await?;
    let alone = polite(&server, 2_000_000_000).await?;
    // Threads of their own: what the polite ones wait for is the server.
    let others = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let greedy: Vec<_> = (1..=GREEDY)
        .map(|n| {
            let addr = server.addr.clone();
            others.spawn(async move { greedy(&addr, n).await.map_err(|error| error.to_string()) })
        })
        .collect();
    // Until all of them have posts in the queue.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let beside = polite(&server, 3_000_000_000).await;
    let gone = greedy.iter().filter(|task| task.is_finished()).count();
    others.shutdown_background();
    let beside = beside?;
    if gone > 0 {
        return Err(format!("{gone} of the {GREEDY} callers ended before the polite one").into());
    }
    let told = format!(
        "posts one at a time, alone: {alone}; beside {GREEDY} callers that send all they can: {beside}"
    );
    let max = quantile(&alone.calls, 50) * LATENCY_MAX;
    if beside.refused > 0 || beside.p99() > max {
        return Err(format!("{told}; {max:.1?} is the limit, and none may be refused").into());
    }
    say(&told)
}

/// Sends posts as fast as the server takes them.
async fn greedy(addr: &str, n: u8) -> Outcome<()> {
    let posts = (usize::from(n) * 10_000_000..).map(request);
    let mut client = caller(addr, n).await?;
    let mut replies = client.score_stream(futures::stream::iter(posts)).await?.into_inner();
    while replies.message().await?.is_some() {}
    Ok(())
}

/// How posts of the polite callers went.
struct Seen {
    /// Sorted.
    stream: Vec<Duration>,
    /// Sorted.
    calls: Vec<Duration>,
    refused: usize,
}

impl Seen {
    fn p99(&self) -> Duration {
        quantile(&self.stream, 99).max(quantile(&self.calls, 99))
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |latencies: &[Duration]| {
            let [half, most] = [50, 99].map(|percent| quantile(latencies, percent));
            format!("p50 {half:.1?}, p99 {most:.1?}")
        };
        let (stream, calls, refused) = (shown(&self.stream), shown(&self.calls), self.refused);
        let all = self.calls.len() + refused;
        write!(f, "stream {stream}; calls {calls}, {refused} of {all} refused")
    }
}

fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get(sorted.len() * percent / 100).copied().unwrap_or(Duration::MAX)
}

/// One caller sends posts over a stream, another one with a call each. No two texts are the same.
async fn polite(server: &Server, numbers: usize) -> Outcome<Seen> {
    let until = Instant::now() + TIME;
    let stream = over_a_stream(caller(&server.addr, 100).await?, until, numbers);
    let calls = with_calls(caller(&server.addr, 101).await?, until, numbers + 500_000_000);
    let (mut stream, (mut calls, refused)) = tokio::try_join!(stream, calls)?;
    stream.sort_unstable();
    calls.sort_unstable();
    Ok(Seen { stream, calls, refused })
}

async fn over_a_stream(
    mut client: ScoringServiceClient<Channel>,
    until: Instant,
    numbers: usize,
) -> Outcome<Vec<Duration>> {
    let (sender, receiver) = mpsc::channel(1);
    let mut replies = client.score_stream(ReceiverStream::new(receiver)).await?.into_inner();
    let (mut latencies, mut numbers) = (Vec::new(), numbers..);
    while Instant::now() < until {
        let sent = Instant::now();
        sender.send(request(numbers.next().ok_or("no more")?)).await?;
        replies.message().await?.ok_or("the stream ended")?;
        latencies.push(sent.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    Ok(latencies)
}

async fn with_calls(
    mut client: ScoringServiceClient<Channel>,
    until: Instant,
    numbers: usize,
) -> Outcome<(Vec<Duration>, usize)> {
    let (mut latencies, mut refused) = (Vec::new(), 0);
    let mut numbers = numbers..;
    while Instant::now() < until {
        let sent = Instant::now();
        let post = numbers.next().map(post);
        match client.score(ScoreRequest { post, ..ScoreRequest::default() }).await {
            Ok(_) => latencies.push(sent.elapsed()),
            Err(status) if status.code() == Code::ResourceExhausted => refused += 1,
            Err(status) => return Err(status.into()),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok((latencies, refused))
}

fn request(n: usize) -> ScoreStreamRequest {
    ScoreStreamRequest { request: Some(Request::Post(Box::new(post(n)))) }
}

/// The n-th post. Its number is in words: long numbers are alike to the model, and its score would
/// come from the cache.
fn post(n: usize) -> Post {
    const DIGITS: [&str; 10] =
        ["ash", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine"];
    let digits = n.to_string();
    let words = digits.bytes().map(|digit| DIGITS[usize::from(digit - b'0')]).collect::<Vec<_>>();
    let text = format!("the parcel from {} is late again", words.join(" "));
    Post { id: digits.into(), text: text.into(), ..Post::default() }
}

/// A connection from an address of its own: a caller of its own.
async fn caller(addr: &str, last: u8) -> Outcome<ScoringServiceClient<Channel>> {
    let from = IpAddr::from(Ipv4Addr::new(127, 0, 1, last));
    let endpoint = Endpoint::from_shared(addr.to_owned())?.local_address(Some(from));
    Ok(ScoringServiceClient::new(endpoint.connect().await?))
}
