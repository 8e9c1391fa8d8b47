//! Streams of posts through the public door: order, faults, limits, ends.

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use pounce::lifecycle::drain::Phase;
use pounce_client::{Reply, StreamSpec};
use pounce_proto::score_stream_request::Request;
use pounce_proto::score_stream_response::Reply as Wire;
use pounce_proto::scoring_service_client::ScoringServiceClient;
use pounce_proto::{
    Author, Flag, Post, RejectionCode, ReplyOrder, ScoreBatchRequest, ScoreRequest,
    ScoreStreamRequest, Severity, StreamOptions, StreamSummary, Thresholds, post_result,
};
use support::{Service, Spec, eventually, message, metric, post};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_types::StatusExt;

/// Sends messages on a stream of its own and collects every reply.
async fn exchange(service: &Service, messages: Vec<ScoreStreamRequest>) -> Vec<Wire> {
    let replies = service.connect().await.score_stream(futures::stream::iter(messages)).await;
    let mut replies = replies.expect("a stream").into_inner();
    let mut all = Vec::new();
    while let Some(reply) = replies.message().await.expect("no status") {
        all.push(reply.reply.expect("a reply"));
    }
    all
}

fn summary(replies: &[Wire]) -> StreamSummary {
    match replies.last() {
        Some(Wire::Summary(summary)) => *summary,
        other => panic!("the last message is {other:?}"),
    }
}

fn sequences(replies: &[Wire]) -> Vec<u64> {
    let sequence = |reply: &Wire| match reply {
        Wire::Event(event) => Some(event.sequence),
        Wire::Rejection(rejection) => Some(rejection.sequence),
        _ => None,
    };
    replies.iter().filter_map(sequence).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_streams_get_every_reply_once_and_in_order() {
    let service = Service::start(Spec::default()).await;
    let streams = (0..50).map(|stream| {
        let texts =
            (0..200).map(move |n| format!("post {n} of {stream} {}", "word ".repeat(n % 40)));
        let messages = texts.enumerate().map(|(n, text)| message(post(n, text))).collect();
        exchange(&service, messages)
    });
    for replies in futures::future::join_all(streams).await {
        assert_eq!(sequences(&replies), (1..=200).collect::<Vec<_>>());
        let expected = StreamSummary { received: 200, scored: 200, rejected: 0, flagged: 0 };
        assert_eq!(summary(&replies), expected);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_a_call_may_end_is_a_series_from_the_start() {
    let service = Service::start(Spec::default()).await;
    for code in ["OK", "DataLoss"] {
        let labels =
            r#"grpc_type="unary",grpc_service="pounce.v1.AlertService",grpc_method="ListTopics""#;
        let series = format!(r#"grpc_server_handled_total{{{labels},grpc_code="{code}"}}"#);
        assert!(metric(&series).abs() < 0.1, "{series}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_post_is_rejected_by_field_and_limit_and_the_stream_lives() {
    let service = Service::start(Spec::default()).await;
    let at = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
    let by = |id: &'static [u8]| Some(Author { id: id.into(), followers: 1 });
    let cases = vec![
        (post("", "x"), "id", RejectionCode::Missing, "required"),
        (post("1", "  "), "text", RejectionCode::Missing, "required"),
        (post("1", "x".repeat(1001)), "text", RejectionCode::TooLong, "limit of 1000"),
        (post("i".repeat(257), "x"), "id", RejectionCode::TooLong, "limit of 256"),
        (
            Post { text: b"a\xff".as_slice().into(), ..post("1", "") },
            "text",
            RejectionCode::InvalidUtf8,
            "byte 1",
        ),
        (
            Post { topic: b"\xc0".as_slice().into(), ..post("1", "x") },
            "topic",
            RejectionCode::InvalidUtf8,
            "byte 0",
        ),
        (
            Post { author: by(b"\xff"), ..post("1", "x") },
            "author.id",
            RejectionCode::InvalidUtf8,
            "byte 0",
        ),
        (
            Post { posted_at: at(-1, 0), ..post("1", "x") },
            "posted_at",
            RejectionCode::OutOfRange,
            "1970",
        ),
        (
            Post { posted_at: at(1, -1), ..post("1", "x") },
            "posted_at",
            RejectionCode::OutOfRange,
            "nanos",
        ),
        (
            Post { posted_at: at(1 << 60, 0), ..post("1", "x") },
            "posted_at",
            RejectionCode::OutOfRange,
            "9999",
        ),
    ];
    let good = |n: usize| message(post(format!("good {n}"), format!("good {n}")));
    let mut messages = vec![good(0)];
    for (n, (bad, ..)) in cases.iter().enumerate() {
        messages.extend([message(bad.clone()), good(n + 1)]);
    }
    let replies = exchange(&service, messages).await;
    assert_eq!(sequences(&replies), (1..=2 * cases.len() as u64 + 1).collect::<Vec<_>>());
    let rejections = replies.iter().filter_map(|reply| match reply {
        Wire::Rejection(rejection) => Some(rejection),
        _ => None,
    });
    for (rejection, (_, field, code, limit)) in rejections.zip(&cases) {
        assert_eq!((rejection.field.as_str(), rejection.code()), (*field, *code));
        assert!(rejection.reason.contains(limit), "{}", rejection.reason);
    }
    let bad = cases.len() as u64;
    assert_eq!((summary(&replies).scored, summary(&replies).rejected), (bad + 1, bad));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_no_post_is_rejected_and_the_stream_lives() {
    let service = Service::start(Spec::default()).await;
    let options = |options| ScoreStreamRequest { request: Some(Request::Options(options)) };
    let unknown = options(StreamOptions { reply_order: 99, ..StreamOptions::default() });
    let late = options(StreamOptions::default());
    let nothing = ScoreStreamRequest { request: None };
    let replies = exchange(&service, vec![unknown, late, nothing, message(post(1, "x"))]).await;
    let rejections = replies.iter().filter_map(|reply| match reply {
        Wire::Rejection(rejection) => Some((rejection.field.as_str(), rejection.code())),
        _ => None,
    });
    let fields: Vec<_> = rejections.collect();
    let expected = [
        ("options.reply_order", RejectionCode::UnknownValue),
        ("options", RejectionCode::OutOfRange),
        ("request", RejectionCode::UnknownValue),
    ];
    assert_eq!(fields, expected);
    assert_eq!(summary(&replies), StreamSummary { received: 1, scored: 1, ..Default::default() });
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_tell_what_somebody_may_want_to_act_on() {
    let service = Service::start(Spec::default()).await;
    let loud = Some(Author { id: "ann".into(), followers: 20_000 });
    let at = Some(prost_types::Timestamp { seconds: 1000, nanos: 0 });
    let messages = vec![
        message(Post { posted_at: at, ..post(1, "bad") }),
        message(Post { author: loud.clone(), ..post(2, "bad day") }),
        message(Post { author: loud, ..post(3, "good") }),
        message(Post { language: "en".into(), ..post(4, "word ".repeat(100)) }),
        message(Post { language: "de".into(), ..post(5, "kaputt") }),
        message(post(6, "plain")),
    ];
    let replies = exchange(&service, messages).await;
    let flags: Vec<Vec<Flag>> = replies
        .iter()
        .filter_map(|reply| match reply {
            Wire::Event(event) => Some(event.flags().collect()),
            _ => None,
        })
        .collect();
    assert_eq!(flags[0], [Flag::Discontent]);
    assert_eq!(flags[1], [Flag::Discontent, Flag::InfluentialAuthor]);
    assert_eq!(flags[2], [Flag::Advocate]);
    assert_eq!(flags[3], [Flag::Truncated]);
    assert_eq!(flags[4], [Flag::LanguageUnknownToModel]);
    assert_eq!(flags[5], []);
    let Wire::Event(first) = &replies[0] else { panic!("an event") };
    assert_eq!(first.severity(), Severity::High);
    assert_eq!(first.respond_by.map(|at| at.seconds), Some(1000 + 15 * 60));
    let Wire::Event(long) = &replies[3] else { panic!("an event") };
    assert_eq!(long.tokens.map(|tokens| (tokens.used, tokens.total)), Some((64, 100)));
    assert_eq!(summary(&replies).flagged, 2);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_may_have_thresholds_of_its_own() {
    let service = Service::start(Spec::default()).await;
    let thresholds = |low| Thresholds { discontent_low: Some(low), ..Thresholds::default() };
    let with = |low| {
        let options =
            StreamOptions { thresholds: Some(thresholds(low)), ..StreamOptions::default() };
        vec![
            ScoreStreamRequest { request: Some(Request::Options(options)) },
            message(post(1, format!("plain {low}"))),
        ]
    };
    assert_eq!(summary(&exchange(&service, with(0.3)).await).flagged, 1);
    assert_eq!(summary(&exchange(&service, with(0.5)).await).flagged, 0);
    let replies = exchange(&service, with(1.5)).await;
    let Wire::Rejection(rejection) = &replies[0] else { panic!("a rejection") };
    assert_eq!(rejection.field, "thresholds");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_may_come_as_soon_as_they_are_ready() {
    let service = Service::start(Spec::default()).await;
    service.script.hold();
    let (sender, receiver) = mpsc::channel(10);
    let options =
        StreamOptions { reply_order: ReplyOrder::Ready.into(), ..StreamOptions::default() };
    let first = ScoreStreamRequest { request: Some(Request::Options(options)) };
    sender.send(first).await.expect("room");
    sender.send(message(post("held", "needs the model"))).await.expect("room");
    sender.send(message(post("", "needs no model"))).await.expect("room");
    let stream = service.connect().await.score_stream(ReceiverStream::new(receiver)).await;
    let mut replies = stream.expect("a stream").into_inner();
    let reply = replies.message().await.expect("no status").expect("a reply").reply;
    assert!(matches!(reply, Some(Wire::Rejection(rejection)) if rejection.sequence == 2));
    service.script.release();
    let reply = replies.message().await.expect("no status").expect("a reply").reply;
    assert!(matches!(reply, Some(Wire::Event(event)) if event.sequence == 1));
    drop(sender);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_breaks_the_model_costs_nobody_else() {
    let service = Service::start(Spec::default()).await;
    service.script.hold();
    let messages = (0..60).map(|n| match n {
        13 => message(post(n, "boom")),
        27 => message(post(n, "nan")),
        _ => message(post(n, format!("post {n}"))),
    });
    let answers = exchange(&service, messages.collect());
    let (replies, ()) = tokio::join!(answers, async { service.script.release() });
    assert_eq!(
        summary(&replies),
        StreamSummary { received: 60, scored: 58, rejected: 2, flagged: 0 }
    );
    for reply in &replies {
        if let Wire::Rejection(rejection) = reply {
            assert_eq!(rejection.code(), RejectionCode::Internal);
            assert!(["13", "27"].contains(&rejection.post_id.as_str()));
        }
    }
    // The culprit's answer leaves before the engine is built anew.
    eventually("the engine is rebuilt", || metric("pounce_worker_restarts_total") >= 1.0).await;
    assert_eq!(service.scorer.workers_alive(), 2);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_in_flight_is_scored_once_and_then_served_from_the_cache() {
    let service = Service::start(Spec::default()).await;
    let before = service.script.rows.load(Ordering::SeqCst);
    let copies = |n: usize| (0..n).map(|id| message(post(id, "@ann  the same text"))).collect();
    let replies = exchange(&service, copies(50)).await;
    let again = exchange(&service, copies(1)).await;
    assert_eq!(service.script.rows.load(Ordering::SeqCst) - before, 1);
    let duplicate = |reply: &Wire| match reply {
        Wire::Event(event) => event.flags().any(|flag| flag == Flag::DuplicateText),
        _ => false,
    };
    assert_eq!(replies.iter().filter(|reply| duplicate(reply)).count(), 49);
    assert!(duplicate(&again[0]));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_takes_its_queued_posts_with_it() {
    let service = Service::start(Spec::default()).await;
    service.script.hold();
    let (sender, receiver) = mpsc::channel(100);
    for n in 0..60 {
        sender.send(message(post(n, format!("unwanted {n}")))).await.expect("room");
    }
    let stream = service.connect().await.score_stream(ReceiverStream::new(receiver)).await;
    let received = || service.scorer.posts_open();
    eventually("all posts are accepted", || received() == 60).await;
    drop(stream);
    drop(sender);
    eventually("the queue is empty", || received() == 0).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_a_call_and_its_place_in_the_queue() {
    let service = Service::start(Spec::default()).await;
    service.script.hold();
    let mut client = service.connect().await;
    let mut request =
        tonic::Request::new(ScoreRequest { post: Some(post(1, "x")), ..Default::default() });
    request.set_timeout(Duration::from_millis(50));
    let status = client.score(request).await.expect_err("too late");
    assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&status.code()), "{status:?}");
    eventually("the queue is empty", || service.scorer.posts_open() == 0).await;

    let mut request = tonic::Request::new(futures::stream::iter([message(post(2, "y"))]));
    request.set_timeout(Duration::from_millis(50));
    let mut replies = client.score_stream(request).await.expect("a stream").into_inner();
    let status = loop {
        match replies.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended without a status"),
            Err(status) => break status,
        }
    };
    assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&status.code()), "{status:?}");
    eventually("the queue is empty", || service.scorer.posts_open() == 0).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn past_capacity_a_unary_call_is_told_when_to_come_back() {
    let mut spec = Spec::default();
    spec.scorer.queue_posts_max = 3;
    let service = Service::start(spec).await;
    service.script.hold();
    let mut client = service.connect().await;
    let posts = (0..5).map(|n| post(n, format!("post {n}"))).collect();
    let batch = {
        let mut client = client.clone();
        tokio::spawn(async move {
            client.score_batch(ScoreBatchRequest { posts, ..Default::default() }).await
        })
    };
    eventually("the queue is full", || service.scorer.posts_open() == 3).await;
    let request = ScoreRequest { post: Some(post(9, "one more")), ..Default::default() };
    let status = client.score(request).await.expect_err("no room");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("queue of 3 posts"), "{}", status.message());
    let delay = status.get_error_details().retry_info().and_then(|info| info.retry_delay);
    assert!(delay.is_some_and(|delay| !delay.is_zero()));

    service.script.release();
    let results = batch.await.expect("no panic").expect("no status").into_inner().results;
    let codes: Vec<_> = results
        .into_iter()
        .map(|result| match result.result {
            Some(post_result::Result::Event(_)) => None,
            Some(post_result::Result::Rejection(rejection)) => Some(rejection.code()),
            None => panic!("an empty result"),
        })
        .collect();
    let full = Some(RejectionCode::ResourceExhausted);
    assert_eq!(codes, [None, None, None, full, full]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_keeps_to_its_limit_and_answers_each_post() {
    let service = Service::start(Spec::default()).await;
    let mut client = service.connect().await;
    let batch = |n: usize| ScoreBatchRequest {
        posts: (0..n).map(|id| post(id, format!("post {id}"))).collect(),
        ..Default::default()
    };
    for n in [0, 101] {
        let status = client.score_batch(batch(n)).await.expect_err("out of range");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains("posts"), "{}", status.message());
    }
    let results = client.score_batch(batch(100)).await.expect("in range").into_inner().results;
    assert_eq!(results.len(), 100);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_is_not_read_from_without_bound() {
    let service = Service::start(Spec::default()).await;
    let text = "x".repeat(900);
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&sent);
    let posts = futures::stream::iter(0..1_000_000).map(move |n| {
        counter.fetch_add(1, Ordering::SeqCst);
        message(post(n, format!("{n} {text}")))
    });
    // The client grants 64 KiB of replies, the transport keeps 400 KiB to send,
    // and a reply has some 200 bytes: a few thousand posts, not a million.
    let endpoint = Endpoint::from_shared(service.url()).expect("an address");
    let channel = endpoint.initial_stream_window_size(65_535).connect().await.expect("it listens");
    let _unread = ScoringServiceClient::new(channel).score_stream(posts).await.expect("a stream");
    let mut seen = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = sent.load(Ordering::SeqCst);
        if now == seen {
            break;
        }
        seen = now;
    }
    assert!(seen < 5000, "{seen} posts were taken from a client that never reads");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tiny_frames_under_backpressure_do_not_kill_the_connection() {
    // Short posts, each in a frame of its own, on so many streams of one connection as it may have.
    for (streams, posts) in [(16, 3125), (64, 800), (128, 800)] {
        let service = Service::start(Spec::default()).await;
        service.script.hold();
        let client = service.connect().await;
        let streams = (0..streams).map(|stream| {
            let mut client = client.clone();
            tokio::spawn(async move {
                let posts = (0..posts).map(move |n| message(post(n, format!("{stream}-{n}"))));
                let stream = client.score_stream(futures::stream::iter(posts)).await;
                let mut replies = stream.expect("a stream").into_inner();
                let mut scored = 0;
                while let Some(reply) = replies.message().await.expect("no GOAWAY") {
                    scored += usize::from(matches!(reply.reply, Some(Wire::Event(_))));
                }
                scored
            })
        });
        let streams: Vec<_> = streams.collect();
        // The last quarter of the room is kept for callers and streams that hold little.
        eventually("the queue is full", || service.scorer.posts_open() >= 750).await;
        // What is not read yet fills every stream's window.
        tokio::time::sleep(Duration::from_millis(500)).await;
        service.script.release();
        for stream in streams {
            assert_eq!(stream.await.expect("no panic"), posts);
        }
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_answers_what_was_accepted_and_says_how_far_that_is() {
    let service = Service::start(Spec::default()).await;
    service.script.hold();
    let mut streams = Vec::new();
    for stream in 0..50 {
        let (sender, receiver) = mpsc::channel(20);
        for n in 0..10 {
            sender.send(message(post(n, format!("{stream} {n}")))).await.expect("room");
        }
        let mut client = service.connect().await;
        let replies = client.score_stream(ReceiverStream::new(receiver)).await;
        streams.push((sender, replies.expect("a stream").into_inner()));
    }
    eventually("all posts are accepted", || service.scorer.posts_open() == 500).await;
    service.drain.advance(Phase::Notice);
    assert!(!service.health.ready(), "readiness flips first");
    service.drain.advance(Phase::Draining);
    service.script.release();
    for (sender, mut replies) in streams {
        let mut all = Vec::new();
        while let Some(reply) = replies.message().await.expect("no status") {
            all.push(reply.reply.expect("a reply"));
        }
        assert_eq!(sequences(&all), (1..=10).collect::<Vec<_>>());
        assert!(
            all.iter().any(|reply| matches!(reply, Wire::Drain(d) if d.accepted_through == 10))
        );
        assert_eq!(summary(&all).received, 10);
        drop(sender);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_stream_is_asked_to_move_and_the_client_follows() {
    let mut spec = Spec::default();
    spec.service.stream_age_max = Some(Duration::from_millis(20));
    let service = Service::start(spec).await;
    let posts = futures::stream::iter(0..5000).map(|n| Ok(post(n, format!("post {n}"))));
    let drains = metric(
        r#"grpc_server_started_total{grpc_type="bidi_stream",grpc_service="pounce.v1.ScoringService",grpc_method="ScoreStream"}"#,
    );
    check_all_answered(service.client().score_all(posts, StreamSpec::default()), 5000).await;
    let after = metric(
        r#"grpc_server_started_total{grpc_type="bidi_stream",grpc_service="pounce.v1.ScoringService",grpc_method="ScoreStream"}"#,
    );
    assert!(after - drains >= 2.0, "the client moved");
    service.stop().await;
}

async fn check_all_answered(
    mut replies: impl futures::Stream<Item = Result<Reply, pounce_client::ClientError>> + Unpin,
    count: u64,
) {
    let mut next = 1;
    while let Some(reply) = replies.next().await {
        match reply.expect("no error") {
            Reply::Event(event) => {
                assert_eq!(event.sequence, next);
                assert_eq!(event.post_id, (next - 1).to_string());
            }
            Reply::Rejection(rejection) => panic!("{rejection:?}"),
        }
        next += 1;
    }
    assert_eq!(next, count + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_finishes_against_a_restarted_server_without_loss_or_double_answers() {
    let first = Service::start(Spec::default()).await;
    let addr = first.addr;
    let client = first.client();
    let (sender, receiver) = mpsc::channel::<u64>(1);
    let posts = ReceiverStream::new(receiver).map(|n| Ok(post(n, format!("post {n}"))));
    let answers = tokio::spawn(async move {
        check_all_answered(client.score_all(posts, StreamSpec::default()), 3000).await;
    });
    for n in 0..1500 {
        sender.send(n).await.expect("the job runs");
    }
    first.stop().await;
    let feeding = tokio::spawn(async move {
        for n in 1500..3000 {
            sender.send(n).await.expect("the job runs");
        }
    });
    let second = Service::start(Spec { addr, ..Spec::default() }).await;
    feeding.await.expect("no panic");
    answers.await.expect("all were answered");
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_owed_nothing_does_not_need_a_server() {
    // Each worker warms up with a post of its own.
    let scored = async |service: &Service| {
        eventually("it is scored", || service.script.rows.load(Ordering::SeqCst) > 2).await;
    };
    let first = Service::start(Spec::default()).await;
    let (addr, client) = (first.addr, first.client());
    let (sender, receiver) = mpsc::channel::<u64>(1);
    let posts = ReceiverStream::new(receiver).map(|n| Ok(post(n, format!("post {n}"))));
    let patience = Duration::from_secs(1);
    let spec = StreamSpec { patience, ..StreamSpec::default() };
    let answers = tokio::spawn(async move {
        check_all_answered(client.score_all(posts, spec), 2).await;
    });
    sender.send(0).await.expect("the job runs");
    scored(&first).await;
    first.stop().await;
    tokio::time::sleep(patience + Duration::from_millis(100)).await;
    let second = Service::start(Spec { addr, ..Spec::default() }).await;
    sender.send(1).await.expect("the job runs");
    scored(&second).await;
    second.stop().await;
    drop(sender);
    answers.await.expect("both were answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trickle_leaves_with_the_next_batch_of_a_firehose() {
    let mut spec = Spec::default();
    spec.scorer.workers = 1;
    let service = Service::start(spec).await;
    service.script.hold();
    let firehose = (0..60).map(|n| message(post(n, format!("firehose {n}")))).collect();
    let trickle = async {
        eventually("the firehose fills the queue", || service.scorer.posts_open() == 60).await;
        let replies =
            exchange(&service, vec![message(post(1, "a trickle of quite another length"))]);
        let release = async {
            eventually("the trickle waits", || service.scorer.posts_open() == 61).await;
            service.script.release();
        };
        tokio::join!(replies, release).0
    };
    let (_, replies) = tokio::join!(exchange(&service, firehose), trickle);
    assert_eq!(summary(&replies).scored, 1);
    let widths = service.script.widths.lock().expect("no panic").clone();
    let batch = widths.iter().position(|width| *width == 6).expect("the trickle was scored");
    assert!(batch <= 3, "the trickle's post left in batch {batch} of {widths:?}");
    service.stop().await;
}
