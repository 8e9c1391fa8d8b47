//! A bad network between a client and the service: whatever it does, each post is answered once.

#[path = "support/proxy.rs"]
mod proxy;
mod support;

use std::time::Duration;

use futures::StreamExt;
use pounce_client::{Client, Reply, StreamSpec};
use pounce_proto::scoring_service_client::ScoringServiceClient;
use proxy::{Network, Proxy};
use support::{Service, Spec, angry, message, post};
use tonic::transport::Endpoint;

/// Longest time for all of a stream's answers.
const LIMIT: Duration = Duration::from_secs(60);

/// Sends posts with the client that resumes; ids in the order of their answers.
async fn answers(addr: std::net::SocketAddr, posts: i64) -> Vec<String> {
    let client = Client::connect(&format!("http://{addr}")).expect("an address");
    let posts = futures::stream::iter((0..posts).map(|n| Ok(angry(n))));
    let mut replies = client.score_all(posts, StreamSpec::default());
    let mut ids = Vec::new();
    let all = async {
        while let Some(reply) = replies.next().await {
            match reply.expect("the stream goes on") {
                Reply::Event(event) => ids.push(event.post_id),
                Reply::Rejection(rejection) => panic!("{rejection:?}"),
            }
        }
    };
    tokio::time::timeout(LIMIT, all).await.expect("all answers in time");
    ids
}

fn sent(posts: i64) -> Vec<String> {
    (0..posts).map(|n| n.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn single_bytes_and_late_ones_change_nothing() {
    let service = Service::start(Spec::default()).await;
    let proxy = Proxy::to(service.addr).await;
    for network in [Network::Bytewise, Network::Late(Duration::from_millis(3))] {
        proxy.set(network);
        assert_eq!(answers(proxy.addr(), 300).await, sent(300), "{network:?}");
    }
    drop(proxy);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_ahead_of_the_servers_settings_holds_no_stream_up() {
    let service = Service::start(Spec::default()).await;
    let proxy = Proxy::to(service.addr).await;
    // What the client sends until it hears of the server's window.
    proxy.set(Network::Late(Duration::from_millis(50)));
    for burst in [8, 16, 17, 19, 20, 21, 22, 24, 26, 30, 40, 60, 70] {
        let endpoint =
            Endpoint::from_shared(format!("http://{}", proxy.addr())).expect("an address");
        let mut client = ScoringServiceClient::new(endpoint.connect().await.expect("it listens"));
        let (sender, posts) = tokio::sync::mpsc::channel(1000);
        let send = async |range: std::ops::Range<i64>| {
            for n in range {
                let text = format!("{n} {}", "x".repeat(950));
                sender.send(message(post(n, text))).await.expect("room");
            }
        };
        send(0..burst).await;
        let posts = tokio_stream::wrappers::ReceiverStream::new(posts);
        let mut replies = client.score_stream(posts).await.expect("a stream").into_inner();
        for n in 0..burst + 100 {
            if n == burst {
                send(burst..burst + 100).await;
            }
            let reply = tokio::time::timeout(LIMIT, replies.message()).await;
            let reply = reply.unwrap_or_else(|_| panic!("held up after a burst of {burst}"));
            assert!(reply.expect("no end in half a message").is_some(), "{burst}: {n}");
        }
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_reset_again_and_again_gets_each_answer_once() {
    let service = Service::start(Spec::default()).await;
    let proxy = Proxy::to(service.addr).await;
    // A connection lives for some hundred posts and replies.
    for bytes in [20_000, 33_333, 50_000] {
        proxy.set(Network::ResetAfter(bytes));
        assert_eq!(answers(proxy.addr(), 2000).await, sent(2000), "reset after {bytes} bytes");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_sending_half_is_cut_off_is_answered_and_goes_on_elsewhere() {
    let service = Service::start(Spec::default()).await;
    let proxy = Proxy::to(service.addr).await;
    proxy.set(Network::HalfClosedAfter(30_000));
    assert_eq!(answers(proxy.addr(), 2000).await, sent(2000));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_falls_silent_and_breaks_delays_answers_alone() {
    let service = Service::start(Spec::default()).await;
    let proxy = Proxy::to(service.addr).await;
    let addr = proxy.addr();
    let all = tokio::spawn(async move { answers(addr, 5000).await });
    for _ in 0..5 {
        for network in [Network::Good, Network::Silent, Network::Down] {
            proxy.set(network);
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    }
    proxy.set(Network::Good);
    assert_eq!(all.await.expect("no panic"), sent(5000));
    service.stop().await;
}
