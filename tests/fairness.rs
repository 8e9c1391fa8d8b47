//! The queue is shared between callers: many greedy ones do not lock out another.

mod support;

use std::net::{IpAddr, Ipv4Addr};

use pounce_proto::scoring_service_client::ScoringServiceClient;
use pounce_proto::{Post, RejectionCode, ScoreBatchRequest, ScoreRequest, post_result};
use tonic::transport::{Channel, Endpoint};

use support::{Service, Spec, eventually, message, metric, post};

const QUEUE: usize = 1024;
const GREEDY: u8 = 50;
/// Posts that each greedy caller sends in a batch, and as many on a stream.
const POSTS_EACH: u32 = 64;
const RECEIVED: &str = "grpc_server_msg_received_total{grpc_service=\"pounce.v1.ScoringService\",\
                        grpc_method=\"Score\"}";

/// A connection from an address of its own: a caller of its own.
async fn caller(service: &Service, last: u8) -> ScoringServiceClient<Channel> {
    let from = IpAddr::from(Ipv4Addr::new(127, 0, 1, last));
    let endpoint = Endpoint::from_shared(service.url()).expect("an address");
    let channel = endpoint.local_address(Some(from)).connect().await.expect("it listens");
    ScoringServiceClient::new(channel)
}

fn posts(caller: u8) -> impl Iterator<Item = Post> {
    (0..POSTS_EACH).map(move |n| post(n, format!("good {caller} {n}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn greedy_callers_do_not_lock_out_another() {
    let mut spec = Spec::default();
    spec.scorer.workers = 1;
    spec.scorer.queue_posts_max = QUEUE;
    let service = Service::start(spec).await;
    service.script.hold();
    let (mut streams, mut batches) = (Vec::new(), Vec::new());
    for greedy in 1..=GREEDY {
        let mut client = caller(&service, greedy).await;
        let stream = futures::stream::iter(posts(greedy).map(message));
        let replies = client.score_stream(stream).await.expect("a stream").into_inner();
        streams.push(replies);
        let batch =
            ScoreBatchRequest { posts: posts(greedy).collect(), ..ScoreBatchRequest::default() };
        batches.push(tokio::spawn(async move { client.score_batch(batch).await }));
    }
    // Only callers that hold little get in beyond seven eighths.
    eventually("the greedy callers fill the queue", || {
        service.scorer.posts_open() >= QUEUE * 7 / 8
    })
    .await;

    let polite = caller(&service, 200).await;
    let calls = (0..10).map(|n| {
        let mut client = polite.clone();
        let text = format!("a trickle of quite another length {n}");
        tokio::spawn(async move {
            let post = Some(post(n, text));
            client.score(ScoreRequest { post, ..ScoreRequest::default() }).await
        })
    });
    let calls: Vec<_> = calls.collect();
    eventually("all calls of the other caller have come", || metric(RECEIVED) >= 10.0).await;
    service.script.release();
    for call in calls {
        call.await.expect("no panic").expect("not refused");
    }
    drop(streams);
    let mut refused = 0;
    for batch in batches {
        let results = batch.await.expect("no panic").expect("a result for each post").into_inner();
        let rejections = results.results.iter().filter_map(|result| match &result.result {
            Some(post_result::Result::Rejection(rejection)) => Some(rejection.code()),
            _ => None,
        });
        refused += rejections.filter(|code| *code == RejectionCode::ResourceExhausted).count();
    }
    assert!(refused > QUEUE, "the greedy callers' own posts: {refused}");
    eventually("the queue is empty", || service.scorer.posts_open() == 0).await;
    service.stop().await;
}
