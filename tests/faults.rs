//! What goes wrong inside, a thousand times: a model that panics, one that hangs, a disk that takes
//! nothing.

mod support;

use std::time::Duration;

use futures::StreamExt;
use pounce::alerting::state::StateDir;
use pounce_client::{Reply, StreamSpec};
use pounce_proto::{Post, RejectionCode, ScoreRequest};
use support::{Service, Spec, metric, post};

const LIMIT: Duration = Duration::from_secs(120);

/// Sends posts with the client that resumes: ids in the order of their answers, and whether each
/// was scored.
async fn answers(service: &Service, posts: Vec<Post>) -> Vec<(String, bool)> {
    let client = service.client();
    let posts = futures::stream::iter(posts.into_iter().map(Ok));
    let replies = client.score_all(posts, StreamSpec::default()).map(|reply| {
        match reply.expect("the stream goes on") {
            Reply::Event(event) => (event.post_id, true),
            Reply::Rejection(rejection) => {
                assert_eq!(rejection.code(), RejectionCode::Internal, "{rejection:?}");
                (rejection.post_id, false)
            }
        }
    });
    tokio::time::timeout(LIMIT, replies.collect()).await.expect("all answers in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_panics_cost_a_thousand_posts_and_nobody_else() {
    // Every panic would print its place.
    std::panic::set_hook(Box::new(|_| {}));
    let service = Service::start(Spec::default()).await;
    let breaks = |n: usize| n % 3 == 1;
    let posts: Vec<Post> = (0..3000)
        .map(|n| post(n, if breaks(n) { format!("boom {n}") } else { format!("good {n}") }))
        .collect();
    let expected: Vec<(String, bool)> = (0..3000).map(|n| (n.to_string(), !breaks(n))).collect();
    let answered = answers(&service, posts).await;
    assert_eq!(answered, expected);
    assert!(metric("pounce_worker_restarts_total") >= 1000.0);
    assert!(service.health.ready());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_hangs_delay_posts_and_lose_none() {
    let service = Service::start(Spec::default()).await;
    for n in 0..1000 {
        service.script.hold();
        let client = service.client();
        let posts = vec![Ok(post(n, format!("good {n}")))];
        let mut replies = client.score_all(futures::stream::iter(posts), StreamSpec::default());
        let hung = tokio::time::timeout(Duration::from_millis(1), replies.next()).await;
        assert!(hung.is_err(), "nothing can be answered");
        service.script.release();
        let reply = tokio::time::timeout(LIMIT, replies.next()).await.expect("in time");
        let Some(Ok(Reply::Event(event))) = reply else { panic!("{reply:?}") };
        assert_eq!(event.post_id, n.to_string());
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_never_ends_does_not_keep_the_server_from_saving_its_state() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = Some(StateDir::open(folder.path()).expect("writable"));
    let service = Service::start(Spec { state, ..Spec::default() }).await;
    service.script.hold();
    let mut client = service.connect().await;
    let request = ScoreRequest { post: Some(post(1, "good")), ..ScoreRequest::default() };
    let hung = tokio::time::timeout(Duration::from_millis(500), client.score(request)).await;
    assert!(hung.is_err(), "nothing can be answered");
    // The first of those that are saved now and then comes after ten seconds.
    let saved = folder.path().join("topics.snapshot");
    assert!(!saved.exists());
    tokio::time::timeout(LIMIT, service.end()).await.expect("it ends without the worker");
    assert!(saved.exists());
}
