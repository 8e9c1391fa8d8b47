//! Posts over HTTP: the same answers, limits and drain as over gRPC.

mod support;

use std::net::SocketAddr;
use std::num::NonZeroU32;

use pounce::auth::tokens::{self, NewToken, Scope, Tokens};
use pounce::lifecycle::drain::Phase;
use pounce::lifecycle::reload::Reloaded;
use serde_json::{Value, json};
use support::{Service, Spec, eventually, metric};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

const JSON: &str = "content-type: application/json";
const NDJSON: &str = "content-type: application/x-ndjson";

struct Answer {
    status: u16,
    head: String,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

async fn ask(addr: SocketAddr, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
    let mut socket = TcpStream::connect(addr).await.expect("it listens");
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: pounce\r\nconnection: close\r\n{headers}\
         content-length: {length}\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("UTF-8");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let body = serde_json::from_str(body).unwrap_or_else(|_| Value::from(body));
    Answer { status, head: head.to_owned(), body }
}

async fn post(service: &Service, path: &str, body: Value) -> Answer {
    ask(service.http_addr, "POST", path, &[JSON], &body.to_string()).await
}

/// A stream of lines in both directions.
struct Lines {
    sender: OwnedWriteHalf,
    replies: BufReader<OwnedReadHalf>,
}

impl Lines {
    async fn open(service: &Service) -> Self {
        let socket = TcpStream::connect(service.http_addr).await.expect("it listens");
        let (reader, mut sender) = socket.into_split();
        let head = format!(
            "POST /v1/score HTTP/1.1\r\nhost: pounce\r\n{NDJSON}\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        sender.write_all(head.as_bytes()).await.expect("sent");
        Self { sender, replies: BufReader::new(reader) }
    }

    async fn say(&mut self, lines: &str) {
        let chunk = format!("{:x}\r\n{lines}\r\n", lines.len());
        self.sender.write_all(chunk.as_bytes()).await.expect("sent");
    }

    async fn end(&mut self) {
        self.sender.write_all(b"0\r\n\r\n").await.expect("sent");
    }

    /// The next line of the body; none at its end.
    async fn hear(&mut self) -> Option<Value> {
        loop {
            let mut line = String::new();
            self.replies.read_line(&mut line).await.expect("UTF-8");
            if line == "0\r\n" || line.is_empty() {
                return None;
            }
            if line.starts_with('{') {
                return Some(serde_json::from_str(&line).expect("a line of JSON"));
            }
        }
    }

    /// All lines to the end.
    async fn rest(&mut self) -> Vec<Value> {
        let mut all = Vec::new();
        while let Some(line) = self.hear().await {
            all.push(line);
        }
        all
    }
}

fn tokens_of(lines: &[String]) -> (tempfile::TempDir, Reloaded<Tokens>) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tokens");
    std::fs::write(&file, lines.join("\n")).expect("written");
    let tokens = tokens::open(file, None).expect("good tokens");
    (folder, tokens)
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_are_answered_in_the_form_in_which_they_come() {
    let service = Service::start(Spec::default()).await;
    let one = post(&service, "/v1/score", json!({ "id": "a", "text": "good good" })).await;
    assert_eq!((one.status, &one.body["sentiment"]), (200, &json!("positive")), "{}", one.body);
    assert_eq!((&one.body["post_id"], &one.body["sequence"]), (&json!("a"), &json!(1)));

    let posts = json!([{ "id": 1, "text": "bad" }, { "id": 2, "text": " " }, { "text": "good" }]);
    let many = post(&service, "/v1/score", posts).await;
    assert_eq!(many.status, 200);
    assert_eq!(many.body[0]["sentiment"], "negative");
    assert_eq!(many.body[1]["rejected"]["field"], "text");
    assert_eq!(many.body[2]["sentiment"], "positive");
    assert!(many.body[2]["post_id"].as_str().is_some_and(|id| id.ends_with("-3")), "{}", many.body);

    let mut lines = Lines::open(&service).await;
    lines.say("{\"id\": \"a\", \"text\": \"bad\"}\n").await;
    let first = lines.hear().await.expect("a reply before the next post");
    assert_eq!((&first["post_id"], &first["sentiment"]), (&json!("a"), &json!("negative")));
    lines.say("{\"id\": \"b\", \"text\": \"good\"}").await;
    lines.end().await;
    let rest = lines.rest().await;
    assert_eq!((&rest[0]["post_id"], &rest[0]["sequence"]), (&json!("b"), &json!(2)));
    let summary = json!({ "received": 2, "scored": 2, "rejected": 0, "flagged": 1 });
    assert_eq!(rest[1..], [json!({ "summary": summary })]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thresholds_of_the_query_hold_for_the_request() {
    let service = Service::start(Spec::default()).await;
    let strict = "discontent_low=0.99999&discontent_medium=1&discontent_high=1";
    for (query, severity) in [("", json!("high")), (strict, Value::Null)] {
        let path = format!("/v1/score?{query}");
        let answer = post(&service, &path, json!({ "text": "bad" })).await;
        assert_eq!(answer.body["severity"], severity, "{query}: {}", answer.body);
        let line = [NDJSON, "x: y"];
        let answer = ask(service.http_addr, "POST", &path, &line, "{\"text\": \"bad\"}").await;
        let body = answer.body.as_str().expect("lines");
        assert_eq!(body.contains("\"severity\":\"high\""), query.is_empty(), "{body}");
    }
    for (query, field) in [
        ("discontent_low=2", "thresholds"),
        ("discontent_low=x", "query"),
        ("history=1", "query"),
        ("unknown=1", "query"),
    ] {
        let answer = post(&service, &format!("/v1/score?{query}"), json!({ "text": "bad" })).await;
        assert_eq!((answer.status, &answer.body["field"]), (400, &json!(field)), "{query}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_is_a_problem_that_names_field_and_limit() {
    let mut spec = Spec::default();
    (spec.service.text_bytes_max, spec.service.batch_posts_max) = (100, 2);
    spec.service.message_bytes_max = 10_000;
    let service = Service::start(spec).await;
    let long = "x".repeat(101);
    let large = "x".repeat(10_001);
    let cases = [
        (json!({ "text": long }), 400, "text", "limit of 100"),
        (json!({ "id": "", "text": "good" }), 400, "id", "required"),
        (json!({ "text": "good", "topic": "x".repeat(300) }), 400, "topic", "limit of 256"),
        (json!({ "text": "good", "posted_at": -1 }), 400, "posted_at", "range"),
        (json!([{}, {}, {}]), 400, "posts", "limit of 2"),
        (json!([]), 400, "posts", "required"),
        (json!({ "text": 7 }), 400, "", "`text`"),
        (json!({ "text": large }), 413, "", "limit of 10000"),
    ];
    for (body, status, field, says) in cases {
        let answer = post(&service, "/v1/score", body).await;
        let told = &answer.body;
        assert_eq!((answer.status, &told["status"]), (status, &json!(status)), "{told}");
        assert_eq!(told.get("field").unwrap_or(&json!("")), field, "{told}");
        assert!(told["detail"].as_str().is_some_and(|detail| detail.contains(says)), "{told}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    let answer =
        ask(service.http_addr, "POST", "/v1/score", &["content-type: text/csv"], "x").await;
    assert_eq!(answer.status, 415);
    assert_eq!(ask(service.http_addr, "GET", "/v1/score", &[], "").await.status, 405);
    // As many bytes as it likes, without telling first.
    let mut endless = Lines::open(&service).await;
    endless.say(&format!("{{\"text\": \"{}\"}}\n", "x".repeat(60_000))).await;
    endless.say("{\"text\": \"good\"}\n").await;
    endless.end().await;
    let lines = endless.rest().await;
    assert_eq!(lines[0]["rejected"]["code"], "too_long");
    assert!(lines[0]["rejected"]["reason"].as_str().is_some_and(|why| why.contains("10000")));
    assert_eq!(lines[1]["sentiment"], "positive", "a long line costs itself");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_line_is_rejected_in_its_place() {
    let service = Service::start(Spec::default()).await;
    let mut lines = Lines::open(&service).await;
    lines
        .say("{\"id\":\"a\",\"text\":\"good\"}\nsecret\n\n{\"id\":\"c\",\"text\":\"bad\"}\n")
        .await;
    lines.end().await;
    let replies = lines.rest().await;
    let sequences: Vec<_> = replies.iter().map(|reply| reply["sequence"].as_u64()).collect();
    assert_eq!(sequences, [Some(1), Some(2), Some(3), None]);
    assert_eq!(replies[1]["rejected"]["code"], "malformed");
    assert!(!replies[1].to_string().contains("secret"));
    assert_eq!(replies[3]["summary"]["rejected"], 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_scopes_and_rates_hold_as_on_the_grpc_port() {
    let make = |name, scope, rate| NewToken::make(name, &[scope], rate).expect("made");
    let shop = make("shop", Scope::Score, NonZeroU32::new(1));
    let board = make("board", Scope::AlertsRead, None);
    let (_folder, tokens) = tokens_of(&[shop.line, board.line]);
    let service = Service::start(Spec { tokens: Some(tokens), ..Spec::default() }).await;
    let with = async |token: Option<&str>, path: &str, body: &str| {
        let token = token.map(|token| format!("authorization: Bearer {token}"));
        let headers: Vec<&str> = token.as_deref().into_iter().chain([JSON]).collect();
        ask(service.http_addr, "POST", path, &headers, body).await
    };
    for (path, body) in
        [("/v1/score", "{\"text\": \"good\"}"), ("/predict", "{\"inputs\": \"good\"}")]
    {
        let unknown = with(None, path, body).await;
        assert_eq!((unknown.status, unknown.header("www-authenticate")), (401, Some("Bearer")));
        assert_eq!(with(Some("pounce_guess"), path, body).await.status, 401);
        assert_eq!(with(Some(&board.token), path, body).await.status, 403);
    }
    assert_eq!(with(Some(&shop.token), "/v1/score", "{\"text\": \"good\"}").await.status, 200);
    let over = with(Some(&shop.token), "/predict", "{\"inputs\": \"good\"}").await;
    assert_eq!((over.status, over.header("retry-after")), (429, Some("1")), "{}", over.body);
    assert_eq!(over.body["code"], "resource_exhausted");
    let wait = over.body["retry_after_seconds"].as_f64().expect("a number");
    assert!(wait > 0.0 && wait <= 1.0, "{wait}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_read_no_further_than_posts_may_be_unanswered_and_drains_as_any_other() {
    let mut spec = Spec::default();
    spec.service.stream_posts_in_flight_max = 4;
    let service = Service::start(spec).await;
    service.script.hold();
    let mut lines = Lines::open(&service).await;
    let sent: String =
        (0..1000).map(|n| format!("{{\"id\":\"{n}\",\"text\":\"good {n}\"}}\n")).collect();
    lines.say(&sent).await;
    let scorer = service.scorer.clone();
    eventually("four posts are being scored", move || scorer.posts_open() == 4).await;
    service.drain.advance(Phase::Draining);
    assert_eq!(lines.hear().await, Some(json!({ "drain": { "accepted_through": 4 } })));
    service.script.release();
    for n in 0..4 {
        assert_eq!(lines.hear().await.expect("a reply")["post_id"], json!(n.to_string()));
    }
    let summary = lines.hear().await.expect("a summary");
    assert_eq!(summary["summary"]["received"], 4);
    let late = ask(service.http_addr, "POST", "/v1/score", &[NDJSON], "{}").await;
    assert_eq!((late.status, &late.body["code"]), (503, &json!("unavailable")));
    // The sender has heard; it ends its request, and so the server the answer.
    lines.end().await;
    assert_eq!(lines.hear().await, None);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_open_holds_up_the_end_until_it_is_answered() {
    let service = Service::start(Spec::default()).await;
    service.script.hold();
    let addr = service.http_addr;
    let asked = tokio::spawn(async move {
        ask(addr, "POST", "/v1/score", &[JSON], "{\"text\": \"good once more\"}").await
    });
    let scorer = service.scorer.clone();
    eventually("it is being scored", move || scorer.posts_open() == 1).await;
    let script = service.script.clone();
    let drain = service.drain.clone();
    drain.advance(Phase::Draining);
    assert!(!asked.is_finished());
    script.release();
    assert_eq!(asked.await.expect("no panic").status, 200);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_kept_for_more_requests_ends_with_the_drain() {
    let service = Service::start(Spec::default()).await;
    let mut socket = TcpStream::connect(service.http_addr).await.expect("it listens");
    let (body, mut read) = (r#"{"text": "good"}"#, [0; 4096]);
    let length = body.len();
    let request = format!(
        "POST /v1/score HTTP/1.1\r\nhost: pounce\r\n{JSON}\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    for _ in 0..2 {
        socket.write_all(request.as_bytes()).await.expect("sent");
        let bytes = socket.read(&mut read).await.expect("an answer");
        let answer = String::from_utf8_lossy(&read[..bytes]);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    service.drain.advance(Phase::Draining);
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut rest = String::new();
    socket.read_to_string(&mut rest).await.expect("closed in good order");
    assert!(rest.starts_with("HTTP/1.1 503") && rest.contains("connection: close"), "{rest}");
    assert!(rest.contains("send the posts to another one"), "{rest}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_over_the_limit_are_closed_until_there_is_a_place() {
    let mut spec = Spec::default();
    spec.service.http_connections_max = 2;
    let service = Service::start(spec).await;
    let connect = async || TcpStream::connect(service.http_addr).await.expect("it listens");
    let refused = r#"pounce_http_connections_refused_total{reason="limit"}"#;
    let before = metric(refused);
    let (first, _second) = (connect().await, connect().await);
    let mut third = connect().await;
    assert_eq!(third.read(&mut [0]).await.expect("closed"), 0);
    assert!(metric(refused) > before);
    drop(first);
    loop {
        let mut next = connect().await;
        // It may be closed before it is read, while the first one is not gone yet.
        let _ =
            next.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        let mut answer = String::new();
        if next.read_to_string(&mut answer).await.is_ok() && answer.starts_with("HTTP/1.1 200") {
            break;
        }
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_classified_as_text_embeddings_inference_does() {
    let service = Service::start(Spec { board: Some(false), ..Spec::default() }).await;
    let one = post(&service, "/predict", json!({ "inputs": "good" })).await;
    assert_eq!((one.status, &one.body[0]["label"]), (200, &json!("positive")), "{}", one.body);
    let scores: Vec<f64> =
        one.body.as_array().expect("a list").iter().filter_map(|c| c["score"].as_f64()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b) && (scores.iter().sum::<f64>() - 1.0).abs() < 1e-6);
    let many = post(&service, "/", json!({ "inputs": ["bad", ["good"]], "truncate": true })).await;
    assert_eq!(many.body[0][0]["label"], "negative");
    assert_eq!(many.body[1][0]["label"], "positive");
    let nested = json!({ "inputs": "good", "parameters": { "top_k": 1 } });
    let nested = post(&service, "/predict", nested).await;
    assert_eq!(nested.body[0].as_array().map(Vec::len), Some(1), "{}", nested.body);
    for (body, field) in [
        (json!({ "inputs": ["good", ""] }), "inputs"),
        (json!({ "inputs": [] }), "inputs"),
        (json!({ "inputs": [["a", "pair"]] }), "inputs"),
        (json!({ "inputs": "good", "raw_scores": true }), "raw_scores"),
    ] {
        let answer = post(&service, "/predict", body).await;
        assert_eq!((answer.status, &answer.body["field"]), (400, &json!(field)), "{}", answer.body);
        assert_eq!(answer.body["error"], answer.body["detail"]);
    }
    // The dashboard keeps its place.
    let page = ask(service.http_addr, "GET", "/", &[], "").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    service.stop().await;
}
