//! Posts are counted in the order in which they arrived, whenever their scores come and
//! whether or not anybody reads the replies.

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use pounce_proto::alert_service_client::AlertServiceClient;
use pounce_proto::score_stream_request::Request;
use pounce_proto::score_stream_response::Reply as Wire;
use pounce_proto::scoring_service_client::ScoringServiceClient;
use pounce_proto::{
    Author, Flag, GetTopicRequest, ListAlertsRequest, Post, ReplyOrder, ScoreBatchRequest,
    ScoreRequest, ScoreStreamRequest, ScoredEvent, StreamOptions, post_result,
};
use support::{Service, Spec, eventually, message, post};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;

const START: i64 = 1_700_000_040;
const CACHED: &str = "bad service again";

/// A complaint `seconds` after the start; every other one has a text that was scored before.
fn complaint(nth: i64, seconds: i64) -> Post {
    let text = if nth % 2 == 1 { CACHED.to_owned() } else { format!("bad service {nth}") };
    Post {
        topic: "kite".into(),
        author: Some(Author { id: format!("author {nth}").into(), followers: 0 }),
        posted_at: Some(prost_types::Timestamp { seconds: START + seconds, nanos: 0 }),
        ..post(nth, text)
    }
}

/// 256 complaints that rise over 40 minutes.
fn rising() -> impl Iterator<Item = Post> {
    (0..256).map(|nth| complaint(nth, nth * 40 * 60 / 256))
}

async fn start() -> Service {
    let mut spec = Spec::default();
    spec.service.batch_posts_max = 256;
    let service = Service::start(spec).await;
    score(&service, post("warm", CACHED)).await;
    service
}

async fn score(service: &Service, post: Post) -> ScoredEvent {
    let request = ScoreRequest { post: Some(post), ..Default::default() };
    let scored = service.connect().await.score(request).await.expect("scored").into_inner();
    scored.event.expect("an event")
}

/// Closes the minutes up to `seconds` after the start.
async fn close(service: &Service, seconds: i64) {
    score(service, complaint(100_001, seconds + 60)).await;
}

/// Posts of the last hour that were counted.
async fn counted(service: &Service) -> u64 {
    let topic = GetTopicRequest { topic: "kite".to_owned(), place: String::new() };
    let mut client = AlertServiceClient::new(service.channel().await);
    let status = client.get_topic(topic).await.expect("a topic").into_inner().status;
    let windows = status.expect("a status").windows;
    let hour = windows.iter().find(|w| w.window.is_some_and(|window| window.seconds == 3600));
    hour.expect("a window of an hour").posts
}

async fn alert_ids(service: &Service) -> Vec<String> {
    let mut client = AlertServiceClient::new(service.channel().await);
    let request =
        ListAlertsRequest { filter: None, resolved: true, ..ListAlertsRequest::default() };
    let alerts = client.list_alerts(request).await.expect("a list").into_inner().alerts;
    alerts.into_iter().map(|alert| alert.id).collect()
}

fn is_late(event: &ScoredEvent) -> bool {
    event.flags().any(|flag| flag == Flag::Late)
}

/// Sends posts on a stream of its own and collects the events.
async fn stream(service: &Service, order: ReplyOrder, posts: Vec<Post>) -> Vec<ScoredEvent> {
    let options = StreamOptions { reply_order: order.into(), ..StreamOptions::default() };
    let first = ScoreStreamRequest { request: Some(Request::Options(options)) };
    let messages: Vec<_> = std::iter::once(first).chain(posts.into_iter().map(message)).collect();
    let replies = service.connect().await.score_stream(futures::stream::iter(messages)).await;
    let mut replies = replies.expect("a stream").into_inner();
    let mut events = Vec::new();
    while let Some(reply) = replies.message().await.expect("no status") {
        if let Some(Wire::Event(event)) = reply.reply {
            events.push(event);
        }
    }
    events
}

/// What a stream in order of event time counts: every post, and these alerts.
async fn ordered() -> Vec<String> {
    let service = start().await;
    let events = stream(&service, ReplyOrder::Sequence, rising().collect()).await;
    assert!(!events.iter().any(is_late));
    close(&service, 41 * 60).await;
    assert_eq!(counted(&service).await, 256);
    let ids = alert_ids(&service).await;
    assert!(!ids.is_empty());
    service.stop().await;
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_counts_as_an_ordered_stream_although_some_texts_are_cached() {
    let service = start().await;
    service.script.hold();
    let batch = {
        let mut client = service.connect().await;
        let request = ScoreBatchRequest { posts: rising().collect(), ..Default::default() };
        tokio::spawn(async move { client.score_batch(request).await })
    };
    eventually("the others wait", || service.scorer.posts_open() == 128).await;
    service.script.release();
    let results = batch.await.expect("no panic").expect("no status").into_inner().results;
    for result in &results {
        let Some(post_result::Result::Event(event)) = &result.result else {
            panic!("an event, not {result:?}")
        };
        assert!(!is_late(event), "{}", event.post_id);
    }
    close(&service, 41 * 60).await;
    assert_eq!(counted(&service).await, 256);
    assert_eq!(alert_ids(&service).await, ordered().await);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_in_order_of_readiness_counts_as_an_ordered_one() {
    let service = start().await;
    // One worker is slow with the first post; all others overtake it.
    let events = stream(&service, ReplyOrder::Ready, rising().collect()).await;
    assert_eq!(events.len(), 256);
    assert_eq!(events.iter().filter(|event| is_late(event)).count(), 0);
    close(&service, 41 * 60).await;
    assert_eq!(counted(&service).await, 256);
    assert_eq!(alert_ids(&service).await, ordered().await);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_that_wait_are_not_late_for_newer_ones_that_were_scored_first() {
    let service = start().await;
    service.script.hold();
    let (sender, receiver) = mpsc::channel(64);
    for nth in (0..40).map(|nth| 2 * nth) {
        sender.send(message(complaint(nth, 0))).await.expect("room");
    }
    let older = service.connect().await.score_stream(ReceiverStream::new(receiver)).await;
    let mut older = older.expect("a stream").into_inner();
    eventually("they wait", || service.scorer.posts_open() == 40).await;
    // Of unary calls in parallel, and of a second stream.
    let newer = (100..140).map(|nth| score(&service, complaint(2 * nth + 1, 30 * 60)));
    let newer = futures::future::join_all(newer).await;
    assert!(!newer.iter().any(is_late));
    let newer = (200..240).map(|nth| complaint(2 * nth + 1, 35 * 60)).collect();
    let newer = stream(&service, ReplyOrder::Sequence, newer).await;
    assert!(!newer.iter().any(is_late));
    service.script.release();
    drop(sender);
    let mut scored = 0;
    while let Some(reply) = older.message().await.expect("no status") {
        if let Some(Wire::Event(event)) = reply.reply {
            assert!(!is_late(&event), "{}", event.post_id);
            scored += 1;
        }
    }
    assert_eq!(scored, 40);
    close(&service, 36 * 60).await;
    assert_eq!(counted(&service).await, 120);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_reads_nothing_does_not_keep_its_scored_posts_from_counting() {
    let service = start().await;
    let before = service.script.rows.load(Ordering::SeqCst);
    let long = "x".repeat(200);
    let posts = futures::stream::iter(0..1_000_000).map(move |nth| {
        message(Post { id: format!("{nth} {long}").into(), ..complaint(2 * nth, 0) })
    });
    let endpoint = Endpoint::from_shared(service.url()).expect("an address");
    let channel = endpoint.initial_stream_window_size(65_535).connect().await.expect("it listens");
    let unread = ScoringServiceClient::new(channel).score_stream(posts).await.expect("a stream");
    let scored = || service.script.rows.load(Ordering::SeqCst) - before;
    let mut seen = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        if scored() == seen && seen > 0 {
            break;
        }
        seen = scored();
    }
    close(&service, 2 * 60).await;
    assert_eq!(counted(&service).await, seen as u64);
    drop(unread);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_is_never_scored_holds_back_no_alert() {
    let service = start().await;
    service.script.hold();
    let (sender, receiver) = mpsc::channel(64);
    sender.send(message(complaint(0, 0))).await.expect("room");
    let dropped = service.connect().await.score_stream(ReceiverStream::new(receiver)).await;
    eventually("it waits", || service.scorer.posts_open() == 1).await;
    let mut late =
        tonic::Request::new(ScoreRequest { post: Some(complaint(2, 0)), ..Default::default() });
    late.set_timeout(Duration::from_millis(50));
    service.connect().await.score(late).await.expect_err("the deadline passes");
    drop((dropped, sender));
    eventually("both left", || service.scorer.posts_open() == 0).await;
    service.script.release();
    for nth in 0..60 {
        score(&service, complaint(2 * nth + 1, 60 + nth * 20)).await;
    }
    close(&service, 22 * 60).await;
    assert_eq!(counted(&service).await, 60);
    assert!(!alert_ids(&service).await.is_empty());
    service.stop().await;
}
