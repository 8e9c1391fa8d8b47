//! A fleet whose log is on a disk that fills up: posts are scored and wait in each replica's buffer,
//! and count once when there is room again.
//!
//! The disk is a limit on the size of a file: NATS meets a failed, half-done write, as on a disk
//! without room.

#![cfg(feature = "embedded")]
#![allow(clippy::print_stdout, reason = "the counts are for people")]

mod binary;
#[path = "support/dated.rs"]
mod dated;
#[path = "support/nats.rs"]
mod nats;

use std::ops::Range;

use binary::{Server, eventually};
use dated::{STEP, post};
use futures::future::join_all;
use nats::Nats;
use pounce_proto::alert_service_client::AlertServiceClient;
use pounce_proto::scoring_service_client::ScoringServiceClient;
use pounce_proto::{Flag, GetTopicRequest, ListAlertsRequest, ListTopicsRequest, ScoreRequest};
use tonic::transport::{Channel, Endpoint};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/model/small");
/// Room for some dozens of entries.
const FILE_BYTES_MAX: u64 = 16 << 10;
/// The disk is full before so many posts.
const POSTS_MAX: i64 = 1000;
/// Posts that are sent while it is.
const MEANWHILE: usize = 200;

async fn channel(server: &Server) -> Channel {
    let endpoint = Endpoint::from_shared(server.addr.clone()).expect("an address");
    endpoint.connect().await.expect("it listens")
}

/// Scores a post; whether it was counted then and there.
async fn is_counted(server: &Server, n: i64) -> bool {
    let request = ScoreRequest { post: Some(post(n)), ..ScoreRequest::default() };
    let reply = ScoringServiceClient::new(channel(server).await).score(request).await;
    let event = reply.expect("an answer").into_inner().event.expect("an event");
    assert!(event.probabilities.is_some(), "it is scored in any case");
    event.flags().all(|flag| flag != Flag::NotCountedYet)
}

/// Posts of the topic in the last four hours, as a replica has them.
async fn posts_counted(server: &Server) -> u64 {
    let mut client = AlertServiceClient::new(channel(server).await);
    let topic = GetTopicRequest { topic: "acme".to_owned(), place: String::new() };
    let status = client.get_topic(topic).await.expect("a topic").into_inner();
    status.status.expect("a status").windows.last().expect("windows").posts
}

/// All that a replica tells of topics and alerts.
async fn told(server: &Server) -> String {
    let mut client = AlertServiceClient::new(channel(server).await);
    let alerts = ListAlertsRequest { resolved: true, ..ListAlertsRequest::default() };
    let alerts = client.list_alerts(alerts).await.expect("a list").into_inner().alerts;
    let topics = client.list_topics(ListTopicsRequest::default()).await.expect("a list");
    format!("{alerts:?} {:?}", topics.into_inner().topics)
}

/// What a replica tells of its buffer: observations that wait, and that were dropped.
fn buffer(server: &Server) -> [usize; 2] {
    let (_, told) = server.get("/readyz");
    let buffer = told.lines().find_map(|line| line.split_once("; observations: "));
    let (_, buffer) = buffer.unwrap_or_else(|| panic!("no word of a buffer: {told}"));
    let mut numbers = buffer.split(' ').filter_map(|word| word.parse().ok());
    [(); 2].map(|()| numbers.next().expect("two numbers"))
}

/// How often the log did not take a batch.
fn failed_appends(server: &Server) -> u64 {
    let (_, metrics) = server.get("/metrics");
    let name = "pounce_log_append_seconds_count{result=\"failed\"} ";
    let count = metrics.lines().find_map(|line| line.strip_prefix(name));
    count.expect("the series").parse().expect("a count")
}

/// Scores the next post until its reply waits for its count.
async fn wait_for_counts(server: &Server, posts: &mut Range<i64>) {
    let n = posts.next().expect("there are more");
    eventually("replies wait for their counts", async || is_counted(server, n).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_count_once_when_the_full_disk_of_the_log_has_room_again() {
    let mut nats = Nats::start();
    let url = nats.url();
    let flags = ["--drain-notice", "0", "--workers", "1", "--observations", &url];
    let fleet = [(); 2].map(|()| Server::serve(0, &[&["--model", MODEL], &flags[..]].concat()));
    eventually("all have read the log", async || {
        fleet.iter().all(|server| server.get("/readyz").1.contains("replies wait for their counts"))
    })
    .await;
    let mut posts = 0..POSTS_MAX;
    for server in &fleet {
        wait_for_counts(server, &mut posts).await;
    }

    let before = fleet.each_ref().map(failed_appends);
    let is_full = || fleet.iter().zip(&before).all(|(server, &n)| failed_appends(server) > n);
    nats.limit_files(FILE_BYTES_MAX);
    let mut counted_at_once = 0;
    while !is_full() {
        let mut holds_back = [false; 2];
        while holds_back != [true; 2] {
            for (server, holds_back) in fleet.iter().zip(&mut holds_back) {
                let n = posts.next().expect("the disk is full by now");
                *holds_back = !is_counted(server, n).await;
                counted_at_once += usize::from(!*holds_back);
            }
        }
        // It may have been slow.
        let answers = || fleet.iter().any(|server| buffer(server)[0] == 0);
        eventually("it refuses or answers", async || is_full() || answers()).await;
    }
    assert!(counted_at_once > 0, "there was room at first");
    // A client that does not trust such an answer sends its post to the other one as well.
    for n in posts.by_ref().take(MEANWHILE) {
        for server in &fleet {
            assert!(!is_counted(server, n).await, "the disk is full: post {n}");
        }
    }
    for server in &fleet {
        let [waiting, dropped] = buffer(server);
        assert!(waiting >= MEANWHILE && dropped == 0, "{waiting} wait, {dropped} dropped");
    }
    println!(
        "{counted_at_once} posts had room, {:?} wait and were dropped",
        fleet.each_ref().map(buffer)
    );

    nats.kill();
    nats.restart();
    eventually("all is appended", async || fleet.iter().all(|server| buffer(server) == [0, 0]))
        .await;
    for server in &fleet {
        wait_for_counts(server, &mut posts).await;
    }
    // Behind the last minute, so that all others close.
    let last = posts.start + 30 * 60 * 1000 / STEP;
    eventually("the last one counts", async || is_counted(&fleet[0], last).await).await;
    eventually("both have counted all", async || {
        let counted = join_all(fleet.iter().map(posts_counted)).await;
        counted.iter().all(|&counted| counted == posts.start.unsigned_abs())
    })
    .await;
    eventually("both tell the same", async || told(&fleet[0]).await == told(&fleet[1]).await).await;
}
