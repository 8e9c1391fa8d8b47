//! Three real servers behind a client that balances, under load: one is killed,
//! one drains, no post is lost and none is answered twice.
//!
//! `make try-replicas` shows the figures.

#![cfg(feature = "embedded")]
#![allow(clippy::print_stdout, reason = "the figures are for people")]

mod binary;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use binary::Server;
use futures::StreamExt;
use pounce_client::{Access, Client, Reply, StreamSpec};
use pounce_proto::Post;
use tokio_stream::wrappers::IntervalStream;

const JOBS: usize = 24;
const POSTS: usize = 50;
/// Between two posts of a job.
const PACE: Duration = Duration::from_millis(200);
/// Replies of every job after which one server is killed, and another drained.
const KILL_AFTER: usize = 10;
const DRAIN_AFTER: usize = 25;
const LIMIT: Duration = Duration::from_secs(120);

/// No two texts are the same, or the cache would answer for the model.
fn post(job: usize, n: usize) -> Post {
    let text = format!("order {n} of customer {job} arrived with half of it missing");
    Post { id: format!("{job}-{n}").into(), text: text.into(), ..Post::default() }
}

/// How one job went.
struct Told {
    /// Ids in the order of their answers.
    ids: Vec<String>,
    /// The longest time between two answers.
    pause: Duration,
}

async fn job(client: Client, job: usize, answered: Arc<AtomicUsize>) -> Told {
    let paced = IntervalStream::new(tokio::time::interval(PACE)).take(POSTS).enumerate();
    let posts = paced.map(move |(n, _)| Ok(post(job, n)));
    let mut replies = client.score_all(Box::pin(posts), StreamSpec::default());
    let mut told = Told { ids: Vec::new(), pause: Duration::ZERO };
    let mut last = Instant::now();
    while let Some(reply) = replies.next().await {
        match reply.expect("the job goes on") {
            Reply::Event(event) => told.ids.push(event.post_id),
            Reply::Rejection(rejection) => panic!("{rejection:?}"),
        }
        answered.fetch_add(1, Ordering::SeqCst);
        told.pause = told.pause.max(last.elapsed());
        last = Instant::now();
    }
    told
}

/// Waits until every job has so many answers.
async fn progress(answered: &[Arc<AtomicUsize>], replies: usize) {
    let reached = async {
        while answered.iter().any(|answered| answered.load(Ordering::SeqCst) < replies) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, reached).await.expect("the jobs go on");
}

/// The server with most streams, and how many it has.
fn busiest(servers: &mut BTreeMap<usize, Server>) -> (usize, Server, f64) {
    let streams = |server: &Server| server.metric("pounce_streams_open");
    let open: Vec<(usize, f64)> = servers.iter().map(|(n, server)| (*n, streams(server))).collect();
    let most = open.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).expect("servers");
    (most.0, servers.remove(&most.0).expect("just counted"), most.1)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_replicas_one_is_killed_and_one_drained_and_no_post_is_lost() {
    let start = |_| Server::start_with(0, &["--workers", "1", "--drain-notice", "1"]);
    let mut servers: BTreeMap<usize, Server> = (1..=3).zip((1..=3).map(start)).collect();
    let addrs: Vec<String> = servers.values().map(|server| server.addr.clone()).collect();
    let client = Client::balanced(&addrs, &Access::default()).expect("three addresses");
    let answered: Vec<Arc<AtomicUsize>> = (0..JOBS).map(|_| Arc::default()).collect();
    let jobs = answered.iter().enumerate();
    let jobs: Vec<_> =
        jobs.map(|(n, answered)| tokio::spawn(job(client.clone(), n, answered.clone()))).collect();

    progress(&answered, KILL_AFTER).await;
    let (n, mut killed, streams) = busiest(&mut servers);
    assert!(streams > 0.0, "the streams are somewhere");
    println!("server {n}: {streams} streams, {} posts scored; kill -9", scored(&killed));
    killed.signal("-KILL");
    killed.ended_within(LIMIT);

    progress(&answered, DRAIN_AFTER).await;
    let (n, mut drained, streams) = busiest(&mut servers);
    assert!(streams > 0.0, "the streams are somewhere");
    println!("server {n}: {streams} streams, {} posts scored; SIGTERM", scored(&drained));
    drained.signal("-TERM");
    assert_eq!(drained.ended_within(LIMIT).code(), Some(0), "a clean drain");

    let (mut total, mut pause) = (0, Duration::ZERO);
    for (n, job) in jobs.into_iter().enumerate() {
        let told = tokio::time::timeout(LIMIT, job).await.expect("in time").expect("no panic");
        let sent: Vec<String> = (0..POSTS).map(|post| format!("{n}-{post}")).collect();
        assert_eq!(told.ids, sent, "job {n}: each post once, in order");
        total += told.ids.len();
        pause = pause.max(told.pause);
    }
    let (n, last) = servers.pop_first().expect("one is left");
    println!("server {n}: {} posts scored; never touched", scored(&last));
    println!(
        "{JOBS} jobs sent {} posts and got {total} answers, each once and in order",
        JOBS * POSTS
    );
    println!("longest pause of a job: {pause:.1?}");
}

fn scored(server: &Server) -> f64 {
    server.metric("pounce_posts_total")
}
