//! The binary's small commands, and how it ends.

mod support;

use std::process::{Command, Output};

use pounce::lifecycle::drain::Phase;
use support::{Service, Spec};

/// Runs the binary to its end, off the async threads.
async fn pounce(arguments: Vec<String>) -> Output {
    let run = move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pounce"));
        command.args(arguments).env_clear().output().expect("the binary runs")
    };
    tokio::task::spawn_blocking(run).await.expect("no panic")
}

fn arguments(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn lines(bytes: &[u8]) -> Vec<&str> {
    std::str::from_utf8(bytes).expect("text").lines().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn healthcheck_succeeds_only_while_the_service_serves() {
    let service = Service::start(Spec::default()).await;
    let url = service.url();
    let check = |more: &[&str]| {
        let mut all = arguments(&["healthcheck", "--addr", &url]);
        all.extend(arguments(more));
        pounce(all)
    };
    let serving = async {
        // Health is looked at twice a second.
        while check(&[]).await.status.code() != Some(0) {}
    };
    let bound = std::time::Duration::from_secs(20);
    tokio::time::timeout(bound, serving).await.expect("it serves");
    assert_eq!(lines(&check(&[]).await.stdout), ["SERVING"]);
    let ours = check(&["--service", "pounce.v1.ScoringService"]).await;
    assert_eq!(ours.status.code(), Some(0));
    let unknown = check(&["--service", "nobody"]).await;
    assert_eq!(unknown.status.code(), Some(1));
    assert!(lines(&unknown.stderr)[0].starts_with("pounce: NotFound"), "{unknown:?}");

    service.drain.advance(Phase::Notice);
    let draining = async { while check(&[]).await.status.code() != Some(1) {} };
    tokio::time::timeout(bound, draining).await.expect("it stops serving");
    assert_eq!(check(&["--service", "liveness"]).await.status.code(), Some(0));
    service.stop().await;
    assert_eq!(check(&[]).await.status.code(), Some(1));
}

#[tokio::test]
async fn bad_security_settings_end_with_one_line_and_code_2() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tokens");
    std::fs::write(&file, "shop nonsense score\n").expect("written");
    let file = file.to_str().expect("UTF-8");
    for (settings, says) in [
        (vec!["--tls-cert", "/none", "--tls-key", "/none"], "/none: No such file"),
        (vec!["--tokens", file], "line 1: the second word"),
        (vec!["--token-posts-per-second-max", "5"], "without --tokens"),
        (vec!["--connections-max", "0"], "--connections-max is 0; it must be from 1 to"),
        (vec!["--workers", "100000"], "--workers is 100000; it must be from 1 to 1024"),
        (vec!["--queue-posts-max", "99999999999"], "--queue-posts-max is 99999999999"),
        (vec!["--batch-posts-max", "9000"], "from 1 to 8192"),
        (vec!["--otlp-endpoint", "not an address"], "--otlp-endpoint: "),
        (vec!["--otlp-root-share", "2"], "--otlp-root-share"),
    ] {
        let ended = pounce([arguments(&["--log", "off", "serve"]), arguments(&settings)].concat());
        let ended = ended.await;
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        let said = lines(&ended.stderr);
        assert!(said.len() == 1 && said[0].contains(says), "{said:?}");
    }
}

#[tokio::test]
async fn token_shows_the_secret_alone_and_writes_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tokens");
    let path = file.to_str().expect("UTF-8");
    let made = pounce(arguments(&["token", "shop", "--scopes", "score,alerts:read"])).await;
    assert_eq!((lines(&made.stdout).len(), lines(&made.stderr).len()), (1, 1));
    assert!(lines(&made.stderr)[0].ends_with(" score,alerts:read"));
    let made = pounce(arguments(&["token", "shop", "--tokens", path])).await;
    let secret = lines(&made.stdout)[0].to_owned();
    let content = std::fs::read_to_string(&file).expect("written");
    assert!(made.stderr.is_empty() && !content.contains(&secret) && content.starts_with("shop "));
    pounce::auth::tokens::open(file, None).expect("of use to the service");
}

#[tokio::test]
async fn the_documented_settings_are_those_of_the_binary() {
    let shown = pounce(arguments(&["docs"])).await;
    let written = std::fs::read_to_string("docs/configuration.md").expect("the page is there");
    let shown = String::from_utf8(shown.stdout).expect("text");
    assert!(shown == written, "out of date: cargo run -- docs > docs/configuration.md");
}

#[tokio::test(flavor = "multi_thread")]
async fn load_counts_every_post_of_its_schedule_once() {
    let service = Service::start(Spec::default()).await;
    let url = service.url();
    let lasts = ["load", "--addr", &url, "--seconds", "1", "--rate", "200", "--json"];
    for shape in [&["--streams", "3"][..], &["--unary", "--streams", "2"], &["--batch", "10"]] {
        let ended = pounce([arguments(&lasts), arguments(shape)].concat()).await;
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        let result: serde_json::Value = serde_json::from_slice(&ended.stdout).expect("JSON");
        let count = |name: &str| result[name].as_u64().expect("a count");
        assert_eq!((count("rejected"), count("failed")), (0, 0), "{result}");
        assert!((190..=200).contains(&count("scored")), "{result}");
        assert!(result["p50"].as_f64() <= result["max"].as_f64(), "{result}");
    }
    service.stop().await;
}

#[tokio::test]
async fn shells_and_man_get_the_same_commands_as_help() {
    for shell in ["bash", "zsh", "fish"] {
        let script = pounce(arguments(&["completions", shell])).await;
        assert!(script.status.success());
        let script = String::from_utf8(script.stdout).expect("UTF-8");
        assert!(script.contains("acknowledge") && script.contains("grpc-addr"), "{shell}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("UTF-8");
    assert!(pounce(arguments(&["man", path])).await.status.success());
    let page = std::fs::read_to_string(folder.path().join("pounce-serve.1")).expect("a page");
    assert!(page.contains("grpc\\-addr"), "{page}");
    assert!(!folder.path().join("pounce-docs.1").exists(), "hidden commands have no page");
}
