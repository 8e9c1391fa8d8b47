//! A fleet whose processes disagree about the time by five minutes: the clock of the log is the only
//! one that counts.

#![cfg(feature = "embedded")]

mod binary;
#[path = "support/nats.rs"]
mod nats;

use std::time::{SystemTime, UNIX_EPOCH};

use binary::{Server, eventually};
use futures::future::join_all;
use nats::Nats;
use pounce_proto::alert_service_client::AlertServiceClient;
use pounce_proto::scoring_service_client::ScoringServiceClient;
use pounce_proto::{
    Alert, AlertFilter, Author, Flag, ListAlertsRequest, ListTopicsRequest, Post, ScoreRequest,
};
use tonic::transport::{Channel, Endpoint};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/model/small");
/// How far the clocks of the replicas are off, for libfaketime and in seconds.
const CLOCKS: [(&str, i64); 3] = [("-5m", -300), ("+0", 0), ("+5m", 300)];
/// Posts of each topic, and seconds between two.
const POSTS: i64 = 90;
const STEP: i64 = 20;

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("a time")
}

/// How far the server's clock was off when it started, in seconds, a minute or so more or less.
fn clock_error(server: &Server) -> i64 {
    let (_, metrics) = server.get("/metrics");
    let started = metrics
        .lines()
        .find_map(|line| line.strip_prefix("process_start_time_seconds ")?.split('.').next());
    let started: i64 = started.expect("the series").parse().expect("seconds");
    started - now()
}

/// The n-th of an unhappy crowd.
fn post(topic: &str, n: i64, posted_at: Option<i64>) -> Post {
    Post {
        id: n.to_string().into(),
        text: format!("order {n} arrived with half of it missing, never again").into(),
        topic: topic.to_owned().into(),
        author: Some(Author { id: format!("author {n}").into(), followers: 0 }),
        posted_at: posted_at.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 }),
        ..Post::default()
    }
}

async fn channel(server: &Server) -> Channel {
    let endpoint = Endpoint::from_shared(server.addr.clone()).expect("an address");
    endpoint.connect().await.expect("it listens")
}

/// Whether the post is of those that count, as its event says.
#[derive(Debug, PartialEq, Eq)]
enum Counted {
    Once,
    Before,
    Late,
}

async fn score(server: &Server, post: Post) -> Counted {
    let request = ScoreRequest { post: Some(post), ..ScoreRequest::default() };
    let reply = ScoringServiceClient::new(channel(server).await).score(request).await;
    let event = reply.expect("an answer").into_inner().event.expect("an event");
    let has = |flag| event.flags().any(|other| other == flag);
    assert!(!has(Flag::NotCountedYet), "{event:?}");
    match (has(Flag::Duplicate), has(Flag::Late)) {
        (true, _) => Counted::Before,
        (false, true) => Counted::Late,
        (false, false) => Counted::Once,
    }
}

async fn alerts(server: &Server, topics: &[&str]) -> Vec<Alert> {
    let topics = topics.iter().map(|&topic| topic.to_owned()).collect();
    let filter = Some(AlertFilter { topics, ..AlertFilter::default() });
    let request = ListAlertsRequest { filter, resolved: true, ..ListAlertsRequest::default() };
    let mut client = AlertServiceClient::new(channel(server).await);
    client.list_alerts(request).await.expect("a list").into_inner().alerts
}

/// All that a replica tells of topics and alerts.
async fn told(server: &Server) -> String {
    let mut client = AlertServiceClient::new(channel(server).await);
    let topics = client.list_topics(ListTopicsRequest::default()).await.expect("a list");
    format!("{:?} {:?}", alerts(server, &[]).await, topics.into_inner().topics)
}

fn up_to_date(server: &Server) -> bool {
    server.get("/readyz").1.contains("replies wait for their counts")
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_whose_clocks_are_five_minutes_apart_count_as_one() {
    let nats = Nats::start();
    let url = nats.url();
    let flags = ["--model", MODEL, "--drain-notice", "0", "--workers", "1"];
    // However busy the machine is.
    let patient = ["--observations", &url, "--observations-silence-max", "5000"];
    let with_log = [&flags[..], &patient].concat();
    let alone = Server::serve(0, &flags);
    let fleet = CLOCKS.map(|(offset, _)| Server::serve_with_clock(offset, &with_log));
    let mut fleet = Vec::from(fleet);
    for (server, (_, offset)) in fleet.iter().zip(CLOCKS) {
        let error = clock_error(server);
        assert!((error - offset).abs() < 60, "its clock is wrong by {error} s, not {offset} s");
    }
    eventually("all have read the log", async || fleet.iter().all(up_to_date)).await;

    // `dated` has the time in its posts, up to now; of `undated` each replica says when it is.
    let began = now() - (POSTS - 1) * STEP;
    let dated = |n: i64| post("dated", n, Some(began + n * STEP));
    // Those of `undated` in the order of the clocks: the minute of the first third closes.
    let numbered = |n: i64| usize::try_from(n).expect("not negative");
    let third = POSTS / 3;
    for n in 0..POSTS {
        let (one, other) = (&fleet[numbered(n % 3)], &fleet[numbered(n / third)]);
        assert_eq!(score(&alone, dated(n)).await, Counted::Once);
        assert_eq!(score(one, dated(n)).await, Counted::Once, "post {n}");
        assert_eq!(score(other, post("undated", n, None)).await, Counted::Once, "post {n}");
    }
    // What is late depends on the topic's newest post, 60 s and the lateness, and on no clock here.
    let newest = began + (POSTS - 1) * STEP;
    for (n, server) in (POSTS..).zip(&fleet) {
        for (id, minutes, expected) in [(n, 9, Counted::Once), (n + POSTS, 13, Counted::Late)] {
            let behind = post("dated", id, Some(newest - 60 * minutes));
            assert_eq!(score(&alone, behind.clone()).await, expected);
            assert_eq!(score(server, behind).await, expected, "{minutes} minutes behind");
        }
    }
    // Each is known to the others, and was counted.
    for n in 0..POSTS {
        let other = &fleet[numbered((n + 1) % 3)];
        assert_eq!(score(other, dated(n)).await, Counted::Before, "post {n}");
        assert_eq!(score(other, post("undated", n, None)).await, Counted::Before, "post {n}");
    }

    // One that has the right time, and only reads the log.
    fleet.push(Server::serve(0, &with_log));
    eventually("it has read the log", async || up_to_date(&fleet[CLOCKS.len()])).await;
    eventually("all tell the same", async || {
        let all = join_all(fleet.iter().map(told)).await;
        all.iter().all(|one| *one == all[0])
    })
    .await;
    for topic in ["dated", "undated"] {
        assert!(!alerts(&fleet[0], &[topic]).await.is_empty(), "{topic} opens an alert");
    }
    let found = async |server: &Server| {
        let alerts = alerts(server, &["dated"]).await.into_iter();
        alerts.map(|alert| (alert.id, alert.opened_at, alert.evidence)).collect::<Vec<_>>()
    };
    eventually("the alerts of one process that had all posts", async || {
        found(&fleet[0]).await == found(&alone).await
    })
    .await;
}
