//! What a replica asks of its log: an answer of its own only for batches that do not come back.

#[path = "support/nats.rs"]
mod nats;
mod support;

use std::time::{Duration, Instant};

use async_nats::Subscriber;
use futures::StreamExt;
use nats::Nats;
use pounce_proto::ScoreRequest;
use support::{Service, Spec, angry, eventually};

/// Scores one post after the other until the log is sent a batch that asks for an answer, or for
/// none.
async fn score_until_asked(
    service: &Service,
    batches: &mut Subscriber,
    posts: &mut impl Iterator<Item = i64>,
    asked: bool,
) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let post = posts.next().map(angry);
        let request = ScoreRequest { post, ..ScoreRequest::default() };
        let reply = service.connect().await.score(request).await.expect("an answer");
        let event = reply.into_inner().event.expect("an event");
        let batch = batches.next().await.expect("a connection");
        if batch.reply.is_some() == asked {
            return;
        }
        assert!(Instant::now() < until, "asked for an answer or not: {asked}, {event:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_asked_for_an_answer_only_where_a_batch_does_not_come_back() {
    let nats = Nats::start();
    let log = nats.log("test").await;
    let service = Service::start(Spec { observations: Some(log), ..Spec::default() }).await;
    let health = service.health.clone();
    eventually("the log was read", move || health.alerts_ready()).await;
    let client = async_nats::connect(nats.url()).await.expect("a connection");
    let mut batches = client.subscribe("pounce.test.observations.0").await.expect("a subject");
    client.flush().await.expect("a connection");

    let mut posts = 0..;
    score_until_asked(&service, &mut batches, &mut posts, false).await;
    // What is sent to a stream that is not there is lost without a word.
    let context = async_nats::jetstream::new(client);
    context.delete_stream("pounce-test").await.expect("a stream");
    score_until_asked(&service, &mut batches, &mut posts, true).await;
    service.stop().await;
}
