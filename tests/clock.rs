//! A server whose clock jumps a day ahead and back: what it counts goes on at once.

#![cfg(feature = "embedded")]

mod binary;

use std::path::Path;

use binary::{Server, eventually};
use pounce_proto::alert_service_client::AlertServiceClient;
use pounce_proto::scoring_service_client::ScoringServiceClient;
use pounce_proto::{Author, Flag, ListAlertsRequest, Post, ScoreRequest};
use tonic::transport::{Channel, Endpoint};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/model/small");
const TOPIC: &str = "kite";

/// Makes the server's clock wrong by `offset`, at once.
fn set_clock(file: &Path, offset: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, format!("{offset}\n")).expect("written");
    std::fs::rename(new, file).expect("renamed");
}

/// Scores posts of an unhappy crowd, whose time is that of the server; returns how many were late.
async fn score(channel: &Channel, posts: std::ops::Range<u32>) -> usize {
    let mut late = 0;
    for n in posts {
        let post = Post {
            id: n.to_string().into(),
            text: format!("order {n} arrived with half of it missing, never again").into(),
            topic: TOPIC.to_owned().into(),
            author: Some(Author { id: format!("author {n}").into(), followers: 0 }),
            ..Post::default()
        };
        let request = ScoreRequest { post: Some(post), ..ScoreRequest::default() };
        let reply = ScoringServiceClient::new(channel.clone()).score(request).await;
        let event = reply.expect("an answer").into_inner().event.expect("an event");
        late += event.flags().filter(|flag| *flag == Flag::Late).count();
    }
    late
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_a_day_ahead_and_back_hides_no_alert() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = folder.path().join("clock");
    set_clock(&clock, "+0");
    let flags = ["--model", MODEL, "--drain-notice", "0", "--workers", "1"];
    let server = Server::serve_with_clock_of(&clock, &flags);
    let endpoint = Endpoint::from_shared(server.addr.clone()).expect("an address");
    let channel = endpoint.connect().await.expect("it listens");
    assert_eq!(score(&channel, 0..10).await, 0);

    const WATERMARK: &str = "pounce_watermark_timestamp_seconds";
    eventually("it shows its watermark", async || server.metric(WATERMARK) > 0.0).await;
    let before = server.metric(WATERMARK);
    set_clock(&clock, "+1d");
    assert_eq!(score(&channel, 10..20).await, 0);
    let day = 23.0 * 3600.0;
    eventually("a day goes by", async || server.metric(WATERMARK) > before + day).await;

    set_clock(&clock, "+0");
    assert_eq!(score(&channel, 20..60).await, 0, "none is late");
    server.logged(
        "the clock went back: topics that were ahead of it set their counts aside and warm up",
    );
    // Three minutes later they are all counted.
    set_clock(&clock, "+3m");
    let mut alerts = AlertServiceClient::new(channel);
    eventually("an alert of them opens", async || {
        let listed = alerts.list_alerts(ListAlertsRequest::default()).await.expect("a list");
        listed.into_inner().alerts.iter().any(|alert| {
            alert
                .opened_at
                .is_some_and(|at| f64::from(u32::try_from(at.seconds).expect("now")) < before + day)
        })
    })
    .await;
}
