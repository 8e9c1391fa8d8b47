//! The end of the real binary: SIGTERM under load, a second signal, and streams
//! that are asked to move.

#![cfg(feature = "embedded")]

mod binary;

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use binary::{Server, eventually};
use futures::StreamExt;
use pounce_client::{Client, Reply, StreamSpec};
use pounce_proto::post_result::Result as PostResult;
use pounce_proto::score_stream_request::Request;
use pounce_proto::score_stream_response::Reply as Wire;
use pounce_proto::scoring_service_client::ScoringServiceClient;
use pounce_proto::{Post, RejectionCode, ScoreBatchRequest, ScoreRequest, ScoreStreamRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::Channel;

/// What is accepted follows the pace of the machine: the tests must not take it from each other.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const STREAMS: usize = 50;
const NOTICE: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(30);

/// No two texts are the same, or the cache would answer for the model.
fn post(stream: usize, n: u64) -> Post {
    let text = format!("parcel {n} of van {stream} is late again and nobody picks up the phone");
    Post { id: format!("{stream}-{n}").into(), text: text.into(), ..Post::default() }
}

/// A post that is as long as the model reads.
fn long_post(stream: usize, n: u64) -> Post {
    let short = post(stream, n);
    let mut text = String::from_utf8(short.text.to_vec()).expect("text");
    for word in 0..500 {
        text += ["parcel", "late", "phone", "again", "driver"][word % 5];
        text += " ";
    }
    Post { text: text.into(), ..short }
}

/// How a stream went.
struct Told {
    /// What the server said that it would answer, and when.
    accepted: (u64, Instant),
    /// What it answered.
    answered: u64,
}

/// Sends posts without end, and checks every reply until the server ends the stream.
async fn endless(
    mut client: ScoringServiceClient<Channel>,
    stream: usize,
    make: fn(usize, u64) -> Post,
    begun: Arc<AtomicUsize>,
) -> Told {
    let (sender, receiver) = mpsc::channel(4);
    let sending = tokio::spawn(async move {
        for n in 1.. {
            let request = Some(Request::Post(Box::new(make(stream, n))));
            if sender.send(ScoreStreamRequest { request }).await.is_err() {
                break;
            }
        }
    });
    let replies = client.score_stream(ReceiverStream::new(receiver)).await.expect("a stream");
    let mut replies = replies.into_inner();
    let (mut answered, mut accepted, mut summed_up) = (0, None, false);
    while let Some(reply) = replies.message().await.expect("no status but OK") {
        assert!(!summed_up, "the summary is the last message");
        match reply.reply.expect("a reply") {
            Wire::Event(event) => {
                answered += 1;
                assert_eq!(event.sequence, answered, "in order, each once");
                assert_eq!(event.post_id, format!("{stream}-{answered}"));
                if answered == 1 {
                    begun.fetch_add(1, Ordering::SeqCst);
                }
            }
            Wire::Drain(drain) => accepted = Some((drain.accepted_through, Instant::now())),
            Wire::Summary(summary) => {
                assert_eq!((summary.received, summary.scored), (answered, answered));
                summed_up = true;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(summed_up, "a summary came");
    drop(replies);
    sending.await.expect("no panic");
    Told { accepted: accepted.expect("the server told of its drain"), answered }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_fifty_streams_loses_no_accepted_post() {
    let _alone = ALONE.lock().await;
    let mut server = Server::start_with(
        0,
        &["--stream-posts-in-flight-max", "4", "--drain-notice", "2", "--drain-timeout", "30"],
    );
    let channel = Channel::from_shared(server.addr.clone()).expect("an address");
    let channel = channel.connect().await.expect("it listens");
    let begun = Arc::new(AtomicUsize::new(0));
    let streams: Vec<_> = (0..STREAMS)
        .map(|n| {
            tokio::spawn(endless(
                ScoringServiceClient::new(channel.clone()),
                n,
                post,
                begun.clone(),
            ))
        })
        .collect();
    let all = async {
        while begun.load(Ordering::SeqCst) < STREAMS {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(TIMEOUT, all).await.expect("all streams are served");
    // A page that takes nothing more must not hold up the end.
    let mut page = TcpStream::connect(&server.http).expect("it listens");
    page.write_all(b"GET /board/events HTTP/1.1\r\nhost: pounce\r\n\r\n").expect("sent");
    assert_eq!(server.get("/readyz").0, 200);

    let signalled = Instant::now();
    server.signal("-TERM");
    while server.get("/readyz").0 == 200 {}
    let unready = Instant::now();
    assert!(unready - signalled < NOTICE, "readiness flips first");
    assert_eq!(server.get("/healthz").0, 200, "draining is no reason for a restart");

    let mut answered = 0;
    for stream in streams {
        let told = tokio::time::timeout(NOTICE + TIMEOUT, stream).await.expect("in time");
        let told = told.expect("no panic");
        assert_eq!(told.answered, told.accepted.0, "what was accepted was answered");
        assert!(told.accepted.1 > unready, "not ready before any stream is asked to end");
        assert!(told.accepted.1 - signalled >= NOTICE, "posts are taken during the notice");
        answered += told.answered;
    }
    let status = server.ended_within(Duration::from_secs(10));
    assert_eq!(status.code(), Some(0));
    assert!(signalled.elapsed() < NOTICE + TIMEOUT, "{:?}", signalled.elapsed());
    assert!(answered >= STREAMS as u64, "{answered}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_accepted_than_a_drain_can_answer() {
    let _alone = ALONE.lock().await;
    const TIMEOUT: Duration = Duration::from_secs(8);
    let mut server =
        Server::start_with(0, &["--drain-notice", "0", "--drain-timeout", "8", "--workers", "2"]);
    let channel = Channel::from_shared(server.addr.clone()).expect("an address");
    let channel = channel.connect().await.expect("it listens");
    let begun = Arc::new(AtomicUsize::new(0));
    // As many posts in flight as a stream may have would take minutes.
    let streams: Vec<_> = (0..STREAMS)
        .map(|n| {
            let client = ScoringServiceClient::new(channel.clone());
            tokio::spawn(endless(client, n, long_post, begun.clone()))
        })
        .collect();
    let all = async {
        while begun.load(Ordering::SeqCst) < STREAMS {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(self::TIMEOUT * 2, all).await.expect("all streams are served");
    let signalled = Instant::now();
    server.signal("-TERM");
    for stream in streams {
        let told = tokio::time::timeout(TIMEOUT * 2, stream).await.expect("in time");
        let told = told.expect("no panic");
        assert_eq!(told.answered, told.accepted.0, "what was accepted was answered");
    }
    let status = server.ended_within(Duration::from_secs(10));
    assert_eq!(status.code(), Some(0));
    assert!(signalled.elapsed() < TIMEOUT, "{:?}", signalled.elapsed());
}

/// Sends a batch; returns how many of its posts were scored. The others were turned away.
async fn batch(mut client: ScoringServiceClient<Channel>, n: usize, posts: u64) -> u64 {
    let posts = (0..posts).map(|post| long_post(n, post)).collect();
    let request = ScoreBatchRequest { posts, ..ScoreBatchRequest::default() };
    let results = client.score_batch(request).await.expect("an answer").into_inner().results;
    let scored = results.into_iter().map(|result| match result.result.expect("a result") {
        PostResult::Event(_) => 1,
        PostResult::Rejection(rejection) => {
            assert_eq!(rejection.code(), RejectionCode::Unavailable);
            0
        }
    });
    scored.sum()
}

/// Sends a post by itself, as [`batch`].
async fn single(mut client: ScoringServiceClient<Channel>, n: usize) -> u64 {
    let request = ScoreRequest { post: Some(long_post(n, 0)), ..ScoreRequest::default() };
    match client.score(request).await {
        Ok(_) => 1,
        Err(status) => {
            assert_eq!(status.code(), Code::Unavailable, "{status}");
            0
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_answers_or_turns_away_every_post_of_calls() {
    let _alone = ALONE.lock().await;
    const TIMEOUT: Duration = Duration::from_secs(12);
    const POSTS: u64 = 8 * 256 + 32;
    let mut server =
        Server::start_with(0, &["--drain-notice", "0", "--drain-timeout", "12", "--workers", "1"]);
    let channel = Channel::from_shared(server.addr.clone()).expect("an address");
    let client = ScoringServiceClient::new(channel.connect().await.expect("it listens"));
    // The pace is known once something was scored. To score what follows would take far longer than
    // the drain may.
    assert_eq!(batch(client.clone(), 0, 16).await, 16);
    let mut calls: Vec<_> = (1..=8).map(|n| tokio::spawn(batch(client.clone(), n, 256))).collect();
    calls.extend((9..41).map(|n| tokio::spawn(single(client.clone(), n))));
    let wait = async || server.metric("pounce_queue_posts") >= 1800.0;
    eventually("the posts wait", wait).await;
    let signalled = Instant::now();
    server.signal("-TERM");
    let mut answered = 0;
    for call in calls {
        let call = tokio::time::timeout(TIMEOUT * 2, call).await.expect("in time");
        answered += call.expect("no panic");
    }
    let status = server.ended_within(Duration::from_secs(10));
    assert_eq!(status.code(), Some(0));
    assert!(signalled.elapsed() < TIMEOUT, "{:?}", signalled.elapsed());
    assert!((1..POSTS).contains(&answered), "{answered} of {POSTS}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_without_calls_do_not_hold_up_a_drain() {
    let mut server = Server::start(0);
    let addr = server.addr.trim_start_matches("http://").to_owned();
    // One says nothing at all, one nothing after HTTP/2's preface and its (empty) settings.
    let _silent = TcpStream::connect(&addr).expect("it listens");
    let mut idle = TcpStream::connect(&addr).expect("it listens");
    idle.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("sent");
    idle.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).expect("sent");
    // One watches health, which has no end.
    let channel = Channel::from_shared(server.addr.clone()).expect("an address");
    let channel = channel.connect().await.expect("it listens");
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let request = tonic_health::pb::HealthCheckRequest::default();
    let mut watch = health.watch(request).await.expect("a watch").into_inner();
    watch.message().await.expect("a status").expect("a status");
    let signalled = Instant::now();
    server.signal("-TERM");
    let status = server.ended_within(Duration::from_secs(30));
    assert_eq!(status.code(), Some(0));
    assert!(signalled.elapsed() < Duration::from_secs(10), "{:?}", signalled.elapsed());
}

#[test]
fn a_second_signal_exits_at_once() {
    let _alone = ALONE.blocking_lock();
    for second in ["-TERM", "-INT"] {
        let mut server = Server::start_with(0, &["--drain-notice", "600"]);
        server.signal("-TERM");
        server.logged("draining");
        server.signal(second);
        let status = server.ended_within(Duration::from_secs(10));
        assert_eq!(status.code(), Some(130), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_older_than_their_limit_move_and_lose_nothing() {
    let _alone = ALONE.lock().await;
    const POSTS: u64 = 120;
    let server = Server::start_with(0, &["--stream-age-max", "1"]);
    let client = Client::connect(&server.addr).expect("an address");
    // Forty posts a second: three seconds' worth.
    let pace = tokio::time::interval(Duration::from_millis(25));
    let posts = tokio_stream::wrappers::IntervalStream::new(pace)
        .take(usize::try_from(POSTS).expect("few"))
        .enumerate()
        .map(|(n, _)| Ok(post(0, n as u64 + 1)));
    let replies: Vec<_> = client.score_all(Box::pin(posts), StreamSpec::default()).collect().await;
    let ids: Vec<String> = replies
        .into_iter()
        .map(|reply| match reply {
            Ok(Reply::Event(event)) => event.post_id,
            other => panic!("{other:?}"),
        })
        .collect();
    let sent: Vec<String> = (1..=POSTS).map(|n| format!("0-{n}")).collect();
    assert_eq!(ids, sent, "each once, in order");
    let (_, metrics) = server.get("/metrics");
    let started = metrics.lines().find(|line| {
        line.starts_with("grpc_server_started_total") && line.contains("\"ScoreStream\"")
    });
    let started: u64 = started
        .and_then(|line| line.rsplit(' ').next())
        .and_then(|value| value.parse().ok())
        .expect("a count");
    assert!(started >= 3, "{started} streams for three seconds of at most one each");
}
