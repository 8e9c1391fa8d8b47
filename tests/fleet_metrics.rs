//! Counters of a fleet's replicas, summed up, say what those of one process say: a post is counted
//! where it was scored, an alert once.

#![cfg(feature = "embedded")]

mod binary;
#[path = "support/nats.rs"]
mod nats;

use std::time::Duration;

use binary::Server;
use nats::Nats;
use pounce_client::Client;
use pounce_proto::alert_service_client::AlertServiceClient;
use pounce_proto::scoring_service_client::ScoringServiceClient;
use pounce_proto::{AcknowledgeAlertRequest, AlertFilter, Author, Post, ScoreRequest};
use tonic::transport::{Channel, Endpoint};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/model/small");
/// Event time of the first post, in seconds.
const START: i64 = 1_700_000_000;
/// Of each, the sum over replicas is that of one process.
const COUNTERS: [&str; 9] = [
    "pounce_posts_total",
    "pounce_topic_posts_total",
    "pounce_topic_discontent_total",
    "pounce_events_duplicate_total",
    "pounce_events_late_total",
    "pounce_alerts_opened_total",
    "pounce_alerts_suppressed_total",
    "pounce_board_forgotten_total",
    "pounce_alert_ack_seconds_count",
];

/// The n-th of an unhappy crowd in one place, 20 seconds apart.
fn post(n: i64) -> Post {
    Post {
        id: n.to_string().into(),
        text: format!("order {n} arrived with half of it missing, never again").into(),
        topic: "acme".into(),
        place: "Lisbon".into(),
        author: Some(Author { id: format!("author {n}").into(), followers: 0 }),
        posted_at: Some(prost_types::Timestamp { seconds: START + 20 * n, nanos: 0 }),
        ..Post::default()
    }
}

/// The sum of a counter's series over all servers.
fn sum(servers: &[Server], name: &str) -> f64 {
    let of_server = |server: &Server| {
        let (_, metrics) = server.get("/metrics");
        let series = metrics.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        let values: Vec<f64> = series
            .map(|line| line.rsplit(' ').next().expect("a value").parse().expect("a number"))
            .collect();
        assert!(!values.is_empty(), "no series {name}");
        values.iter().sum::<f64>()
    };
    servers.iter().map(of_server).sum()
}

async fn channel(server: &Server) -> Channel {
    Endpoint::from_shared(server.addr.clone())
        .expect("an address")
        .connect()
        .await
        .expect("it listens")
}

/// Sends all posts in turn to each server, one after the other, one of them twice and one much too
/// late, and takes the first alert.
async fn play(servers: &[Server]) {
    let posts = (0..90).map(post).chain([post(89), Post { id: "late".into(), ..post(0) }]);
    for (n, post) in posts.enumerate() {
        let mut client = ScoringServiceClient::new(channel(&servers[n % servers.len()]).await);
        let request = ScoreRequest { post: Some(post), ..ScoreRequest::default() };
        let event = client.score(request).await.expect("an answer").into_inner().event;
        let flags: Vec<_> = event.expect("an event").flags().collect();
        assert!(!flags.contains(&pounce_proto::Flag::NotCountedYet), "{flags:?}");
    }
    let last = servers.last().expect("one at least");
    let client = Client::connect(&last.addr).expect("an address");
    let alert = client.list_alerts(&AlertFilter::default()).await.expect("a list").remove(0);
    let take = AcknowledgeAlertRequest { id: alert.id, by: "ann".into(), note: String::new() };
    let mut alerts = AlertServiceClient::new(channel(last).await);
    alerts.acknowledge_alert(take).await.expect("it fires");
    // Metrics of the engine are shown every second.
    tokio::time::sleep(Duration::from_secs(2)).await;
}

fn up_to_date(server: &Server) -> bool {
    server.get("/readyz").1.contains("replies wait for their counts")
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_of_three_replicas_sum_up_to_those_of_one_process() {
    let nats = Nats::start();
    let url = nats.url();
    let flags = ["--model", MODEL, "--drain-notice", "0", "--workers", "1"];
    let alone = [Server::serve(0, &flags)];
    // However busy the machine is.
    let patient = ["--observations", &url, "--observations-silence-max", "5000"];
    let with_log = [&flags[..], &patient].concat();
    let fleet = [(); 3].map(|()| Server::serve(0, &with_log));
    while !fleet.iter().all(up_to_date) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    play(&alone).await;
    play(&fleet).await;
    for name in COUNTERS {
        assert_eq!(sum(&fleet, name), sum(&alone, name), "{name}");
    }
    for name in [
        "pounce_alerts_opened_total",
        "pounce_alerts_suppressed_total",
        "pounce_alert_ack_seconds_count",
    ] {
        assert!(sum(&alone, name) > 0.0, "the posts were to show {name}");
    }
}
