//! The real binary: bad configuration, and a job that outlives a server.

#![cfg(feature = "embedded")]

mod binary;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{ChildStdin, Output, Stdio};

use binary::{MODEL, Server, free_port, pounce};
use pounce_proto::scoring_service_client::ScoringServiceClient;
use pounce_proto::{GetModelRequest, Post, ScoreStreamRequest, score_stream_request};
use serde_json::Value;

fn check_refused(args: &[&str], word: &str) {
    let Output { status, stderr, .. } = pounce(args).output().expect("the binary runs");
    let stderr = String::from_utf8(stderr).expect("UTF-8");
    let last = stderr.lines().last().unwrap_or_default();
    assert_eq!(status.code(), Some(2), "{args:?}: {stderr}");
    assert!(last.contains(word), "{args:?} says: {last}");
    assert!(!stderr.contains("serving"), "{args:?} opened a socket: {stderr}");
}

#[test]
fn bad_configuration_ends_with_one_clear_line_and_exit_code_2() {
    let any = ["--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"];
    let serve = |more: &[&'static str]| [&["serve"], &any[..], more].concat();
    check_refused(&serve(&["--model", "no/such/folder"]), "no/such/folder");
    check_refused(&serve(&["--model", MODEL, "--workers", "0"]), "--workers");
    check_refused(&serve(&["--model", MODEL, "--labels", "good,bad"]), "--labels");
    check_refused(
        &serve(&["--model", MODEL, "--labels", "a,b,c"]),
        "3 labels, but the model has 4",
    );
    check_refused(&serve(&["--model", MODEL, "--discontent", "0.9,0.8,0.7"]), "discontent_low");
    check_refused(&serve(&["--model", MODEL, "--message-bytes-max", "9"]), "--message-bytes-max");

    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = taken.local_addr().expect("bound").to_string();
    let occupied = ["serve", "--model", MODEL, "--grpc-addr", &addr, "--http-addr", "127.0.0.1:0"];
    check_refused(&occupied, &addr);
    let occupied = ["serve", "--model", MODEL, "--http-addr", &addr, "--grpc-addr", "127.0.0.1:0"];
    check_refused(&occupied, &addr);

    check_refused(&serve(&["--model", MODEL, "--log", "pounce=loud"]), "pounce=loud");
    check_refused(&["bench", "--model", MODEL, "--workers", "0"], "--workers");
}

#[test]
fn a_damaged_model_is_told_by_its_file() {
    let folder = tempfile::tempdir().expect("a folder");
    for file in ["config.json", "tokenizer.json", "model.onnx"] {
        std::fs::copy(Path::new(MODEL).join(file), folder.path().join(file)).expect("a copy");
    }
    let path = folder.path().to_str().expect("UTF-8");
    let args =
        ["serve", "--model", path, "--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"];
    for file in ["model.onnx", "tokenizer.json", "config.json"] {
        let path = folder.path().join(file);
        let whole = std::fs::read(&path).expect("a file");
        std::fs::write(&path, &whole[..whole.len() / 2]).expect("written");
        check_refused(&args, file);
        std::fs::write(&path, &whole).expect("written");
    }
    let config = folder.path().join("config.json");
    let json = std::fs::read(&config).expect("a file");
    let mut json: Value = serde_json::from_slice(&json).expect("JSON");
    json["pounce"]["label_weights"] =
        serde_json::json!({"negative": 0, "neutral": 1, "positive": 1});
    std::fs::write(&config, json.to_string()).expect("written");
    check_refused(&args, "label_weights");
    json["pounce"]["label_weights"] = Value::Null;
    json["pounce"]["thresholds"]["discontent"]["low"] = serde_json::json!(0.9);
    std::fs::write(&config, json.to_string()).expect("written");
    check_refused(&args, "pounce.thresholds must satisfy");
    json["pounce"]["thresholds"]["discontent"]["low"] = serde_json::json!(-0.1);
    std::fs::write(&config, json.to_string()).expect("written");
    check_refused(&args, "pounce.thresholds.discontent.low must be");
    json["pounce"]["thresholds"] = serde_json::json!({});
    // A model that loads and gives another number of outputs than config.json names.
    json["pounce"]["answers"] = Value::Null;
    json["id2label"] = serde_json::json!({"0": "negative", "1": "positive"});
    std::fs::write(&config, json.to_string()).expect("written");
    check_refused(&args, "1 posts and 2 labels");
}

fn feed(stdin: &mut ChildStdin, ids: std::ops::Range<u32>) {
    for id in ids {
        writeln!(stdin, r#"{{"id": {id}, "text": "the parcel number {id} is late again"}}"#)
            .expect("the job reads");
    }
}

#[test]
fn a_job_finishes_against_a_restarted_server() {
    let port = free_port();
    let first = Server::start(port);
    let mut job = pounce(&["score", "--addr", &first.addr])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdin = job.stdin.take().expect("piped");
    let mut lines = BufReader::new(job.stdout.take().expect("piped")).lines();
    let mut check = |ids: std::ops::Range<u32>| {
        for id in ids {
            let line = lines.next().expect("a reply for each post").expect("UTF-8");
            let reply: Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!(reply["post_id"], id.to_string());
            assert_eq!(reply["sequence"], id + 1);
            assert!(reply["probabilities"]["negative"].is_number(), "{reply}");
        }
    };
    feed(&mut stdin, 0..300);
    check(0..100);
    first.signal("-TERM");
    feed(&mut stdin, 300..400);
    let mut first = first;
    assert_eq!(first.child.wait().expect("it ends").code(), Some(0), "a clean drain");
    let second = Server::start(port);
    feed(&mut stdin, 400..500);
    drop(stdin);
    check(100..500);
    assert_eq!(job.wait().expect("it ends").code(), Some(0));
    let mut summary = String::new();
    job.stderr.take().expect("piped").read_to_string(&mut summary).expect("UTF-8");
    assert!(summary.contains("received 500, scored 500, rejected 0"), "{summary}");
    drop(second);
}

#[test]
fn input_that_ends_in_an_error_is_told_and_is_no_success() {
    let server = Server::start(0);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("UTF-8");
    let score = pounce(&["score", path, "--addr", &server.addr]).output();
    let Output { status, stderr, .. } = score.expect("the binary runs");
    assert_eq!(status.code(), Some(1));
    let said = String::from_utf8_lossy(&stderr);
    assert!(said.lines().last().is_some_and(|last| last.contains(path)), "{said}");
}

#[test]
fn a_job_goes_to_whichever_server_is_there() {
    let server = Server::start(0);
    let addrs = format!("http://127.0.0.1:{},{}", free_port(), server.addr);
    let mut job = pounce(&["score", "--addr", &addrs])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    feed(&mut job.stdin.take().expect("piped"), 0..20);
    let Output { status, stdout, stderr } = job.wait_with_output().expect("it ends");
    assert_eq!(status.code(), Some(0), "{}", String::from_utf8_lossy(&stderr));
    assert_eq!(stdout.lines().count(), 20);

    // A single question goes to the next server where one can't be reached.
    let topics = pounce(&["topics", "--addr", &addrs]).status().expect("the binary runs");
    assert_eq!(topics.code(), Some(0));
    let Output { status, stderr, .. } =
        pounce(&["healthcheck", "--addr", &addrs]).output().expect("the binary runs");
    assert_eq!(status.code(), Some(1));
    let said = String::from_utf8_lossy(&stderr);
    assert!(said.contains("this command asks one server"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_connection_is_closed_once_its_calls_have_ended() {
    let server = Server::start_with(
        0,
        &["--workers", "1", "--connection-age-max", "1", "--drain-notice", "0"],
    );
    let open = || {
        let (_, metrics) = server.get("/metrics");
        let value = metrics.lines().find_map(|line| line.strip_prefix("pounce_connections_open "));
        value.expect("the gauge").parse::<f64>().expect("a number")
    };
    let channel = || async {
        let endpoint = tonic::transport::Endpoint::from_shared(server.addr.clone());
        ScoringServiceClient::new(
            endpoint.expect("an address").connect().await.expect("it listens"),
        )
    };
    let (mut idle, mut busy) = (channel().await, channel().await);
    idle.get_model(GetModelRequest {}).await.expect("an answer");
    let (posts, receiver) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut replies = busy.score_stream(requests).await.expect("a stream").into_inner();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while open() > 1.0 {
        assert!(std::time::Instant::now() < until, "the idle connection stays open");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // The stream goes on beyond the age, and a new call finds a new connection.
    let post = Post { id: "1".into(), text: "late again".into(), ..Post::default() };
    let request = score_stream_request::Request::Post(Box::new(post));
    posts.send(ScoreStreamRequest { request: Some(request) }).await.expect("the stream is open");
    assert!(replies.message().await.expect("no status").is_some());
    idle.get_model(GetModelRequest {}).await.expect("an answer");
    drop(posts);
    server.drain();
}
