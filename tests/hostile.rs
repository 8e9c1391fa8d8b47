//! Clients that try to take the real binary's memory: it stays bounded, and others are served.

#![cfg(feature = "embedded")]

mod binary;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use binary::Server;
use bytes::Bytes;
use http_body::Frame;
use pounce_proto::scoring_service_client::ScoringServiceClient;
use pounce_proto::{Post, ScoreBatchRequest, ScoreRequest};
use prost::Message;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower::{Service, ServiceExt};

const BATCH: &str = "/pounce.v1.ScoringService/ScoreBatch";
const STREAM: &str = "/pounce.v1.ScoringService/ScoreStream";

/// Streams that one connection may have.
const STREAMS: usize = 128;

/// A body of some bytes, so many times, which then stays open.
struct Unending {
    bytes: Bytes,
    times: usize,
}

impl http_body::Body for Unending {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.times == 0 {
            return Poll::Pending;
        }
        self.times -= 1;
        Poll::Ready(Some(Ok(Frame::data(self.bytes.clone()))))
    }
}

async fn connection(server: &Server) -> Channel {
    let endpoint = Channel::from_shared(server.addr.clone()).expect("an address");
    endpoint.connect().await.expect("it listens")
}

/// Opens a call with this body and leaves it open.
fn call(channel: &Channel, path: &'static str, bytes: &Bytes, times: usize) {
    let mut channel = channel.clone();
    let body = Body::new(Unending { bytes: bytes.clone(), times });
    let request = http::Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .expect("a request");
    tokio::spawn(async move {
        let channel = channel.ready().await.expect("connected");
        let response = channel.call(request).await;
        // Nobody reads what it says.
        let () = std::future::pending().await;
        drop(response);
    });
}

/// A message with its header, of which the header promises `length` bytes.
fn framed(length: usize, message: &[u8]) -> Bytes {
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(length).expect("small").to_be_bytes());
    bytes.extend(message);
    bytes.into()
}

/// Scores a post over a connection of its own.
async fn score(server: &Server) -> Result<(), Status> {
    let mut client = ScoringServiceClient::new(connection(server).await);
    let post = Post { id: "1".into(), text: "late again".into(), ..Post::default() };
    client.score(ScoreRequest { post: Some(post), ..Default::default() }).await.map(drop)
}

/// MiB in memory.
fn resident(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id()));
    let status = status.expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

/// Most memory over some seconds, while others are served.
async fn peak(server: &Server) -> u64 {
    let mut peak = 0;
    for _ in 0..15 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let answer = tokio::time::timeout(Duration::from_secs(5), score(server)).await;
        answer.expect("others are served").expect("others are served");
        peak = peak.max(resident(server));
    }
    peak
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_messages_are_bounded_over_all_connections() {
    let server = Server::start(0);
    score(&server).await.expect("it serves");
    let before = resident(&server);
    // The whole message but its last byte.
    let whole = 4 << 20;
    let half = framed(whole, &vec![0; whole - 1]);
    let mut connections = Vec::new();
    for path in [BATCH, STREAM, BATCH, BATCH] {
        let channel = connection(&server).await;
        (0..STREAMS).for_each(|_| call(&channel, path, &half, 1));
        connections.push(channel);
    }
    let grown = peak(&server).await.saturating_sub(before);
    assert!(grown < 96, "grew by {grown} MiB; the messages have 2048");

    // Another peer's batch is read while theirs wait for room.
    let elsewhere = Channel::from_shared(server.addr.clone()).expect("an address");
    let elsewhere = elsewhere.local_address(Some(std::net::Ipv4Addr::new(127, 0, 0, 2).into()));
    let mut client = ScoringServiceClient::new(elsewhere.connect().await.expect("it listens"));
    let long = "late again ".repeat(600);
    let post =
        |n: usize| Post { id: n.to_string().into(), text: long.clone().into(), ..Post::default() };
    let request = ScoreBatchRequest { posts: (0..200).map(post).collect(), ..Default::default() };
    // Theirs hold their room for 30 s.
    let answer = tokio::time::timeout(Duration::from_secs(10), client.score_batch(request)).await;
    let response = answer.expect("it is not behind them").expect("there is room for it");
    assert_eq!(response.into_inner().results.len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_waits_holds_no_more_than_the_post() {
    let flags = ["--workers", "1", "--queue-posts-max", "4", "--batch-posts-max", "4"];
    let server = Server::start_with(0, &flags);
    score(&server).await.expect("it serves");
    let before = resident(&server);
    // A long post, and a field that is not known, as large as the message may be.
    let text = "nobody answers and the parcel is late again ".repeat(60);
    let post = Post { id: "1".into(), text: text.into(), ..Post::default() }.encode_to_vec();
    let unknown = 60 << 10;
    let mut message = post;
    prost::encoding::encode_key(1000, prost::encoding::WireType::LengthDelimited, &mut message);
    prost::encoding::encode_varint(unknown, &mut message);
    message.resize(message.len() + usize::try_from(unknown).expect("small"), 0);
    let mut request = Vec::new();
    prost::encoding::encode_key(2, prost::encoding::WireType::LengthDelimited, &mut request);
    prost::encoding::encode_varint(message.len() as u64, &mut request);
    request.extend(message);
    let request = framed(request.len(), &request);
    let channel = connection(&server).await;
    (0..16).for_each(|_| call(&channel, STREAM, &request, 256));
    tokio::time::sleep(Duration::from_secs(4)).await;
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 96, "grew by {grown} MiB; the messages have 240");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_millions_of_empty_posts_is_refused_before_it_is_decoded() {
    let server = Server::start(0);
    score(&server).await.expect("it serves");
    let before = resident(&server);
    // Each takes two bytes: its tag, and its length of none.
    let posts = [0x0a, 0].repeat(2_000_000);
    let body = framed(posts.len(), &posts);
    let mut channel = connection(&server).await;
    let request = http::Request::post(BATCH)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(Unending { bytes: body, times: 1 }))
        .expect("a request");
    let answer = channel.ready().await.expect("connected").call(request);
    let answer = tokio::time::timeout(Duration::from_secs(20), answer).await;
    let response = answer.expect("in time").expect("an answer");
    let status = Status::from_header_map(response.headers()).expect("a status");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("limit of 256"), "{status}");
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 96, "grew by {grown} MiB");
    server.drain();
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_of_json_that_wait_hold_no_more_than_the_posts() {
    let server = Server::start_with(0, &["--workers", "1", "--drain-notice", "0"]);
    score(&server).await.expect("it serves");
    let before = resident(&server);
    let addr = server.http.trim_start_matches("http://").to_owned();
    let mut open = Vec::new();
    for connection in 0..48 {
        let text =
            |n: usize| format!("{connection} {n} {}", "the parcel is late again ".repeat(20));
        let posts: Vec<_> = (0..100).map(|n| serde_json::json!({ "text": text(n) })).collect();
        // As large as a body may be, with white space.
        let mut body = serde_json::to_string(&posts).expect("JSON");
        body.push_str(&" ".repeat((4 << 20) - body.len()));
        let head = format!(
            "POST /v1/score HTTP/1.1\r\nhost: pounce\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        let mut socket = TcpStream::connect(&addr).await.expect("it listens");
        // One after another, so that there is room for each while it arrives.
        for part in [head, body] {
            let sent = socket.write_all(part.as_bytes());
            let sent = tokio::time::timeout(Duration::from_secs(20), sent).await;
            sent.expect("it is read in time").expect("it is read");
        }
        open.push(socket);
    }
    let grown = peak(&server).await.saturating_sub(before);
    assert!(grown < 96, "grew by {grown} MiB; the bodies have 192");
}
