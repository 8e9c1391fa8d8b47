//! What is known of topics outlives the process, or is set aside with a word.

#![cfg(feature = "embedded")]

mod binary;

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Output, Stdio};

use binary::{Server, free_port, pounce};
use serde_json::Value;

/// Runs a command to its end; its lines of JSON and what it told a person.
fn finish(args: &[&str]) -> (Vec<Value>, String) {
    let Output { status, stdout, stderr } = pounce(args).output().expect("the binary runs");
    let stderr = String::from_utf8(stderr).expect("UTF-8");
    assert_eq!(status.code(), Some(0), "{args:?}: {stderr}");
    let stdout = String::from_utf8(stdout).expect("UTF-8");
    let lines = stdout.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    (lines.collect(), stderr)
}

/// A watch that is connected: its lines for programs, and its words to a person.
struct Watch {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    words: Lines<BufReader<ChildStderr>>,
}

impl Watch {
    fn start(addr: &str) -> Self {
        let mut command = pounce(&["watch", "--addr", addr]);
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("the binary runs");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let words = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut watch = Self { child, lines, words };
        assert_eq!(watch.word(), "watching");
        watch
    }

    /// The next line that tells of no higher severity: when that comes is not the matter here.
    fn line(&mut self) -> Value {
        loop {
            let line = self.lines.next().expect("it watches on").expect("UTF-8");
            let line: Value = serde_json::from_str(&line).expect("JSON");
            if line["change"] != "escalated" {
                return line;
            }
        }
    }

    fn word(&mut self) -> String {
        self.words.next().expect("it watches on").expect("UTF-8")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sixty complaints, an author each, within twenty minutes, and then praise of
/// somebody with an audience.
fn write_posts(file: &Path) {
    let complaint = |nth: u64| {
        serde_json::json!({
            "id": format!("c{nth}"), "author": format!("author {nth}"), "topic": "kite",
            "text": format!("order {nth} arrived broken and nobody answers, terrible service"),
            "posted_at": 1_700_000_000 + 20 * nth,
        })
    };
    let praise = serde_json::json!({
        "id": "praise", "author": "star", "followers": 50_000, "topic": "lark",
        "text": "The staff were lovely and my refund came in five minutes. Five stars!",
        "posted_at": 1_700_002_000,
    });
    let lines = (0..60).map(complaint).chain([praise]).map(|line| format!("{line}\n"));
    std::fs::write(file, lines.collect::<String>()).expect("written");
}

#[test]
fn after_a_kill_the_same_posts_open_no_second_alert_and_a_watch_repeats_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let posts = folder.path().join("posts.jsonl");
    write_posts(&posts);
    let posts = posts.to_str().expect("UTF-8");
    let state = folder.path().join("state");
    let state = state.to_str().expect("UTF-8");
    let log = ["--log", "info,pounce::background=debug"];
    let kept = [&["--drain-notice", "0", "--state-dir", state], &log[..]].concat();
    let port = free_port();

    let first = Server::start_with(port, &kept);
    let mut watch = Watch::start(&first.addr);
    let (changes, words) = finish(&["replay", posts, "--addr", &first.addr]);
    assert!(words.contains("scored 61, rejected 0"), "{words}");
    assert_eq!(changes[0]["change"], "opened", "{changes:?}");
    let id = changes[0]["id"].clone();
    let mut told = [watch.line(), watch.line()];
    told.sort_by_key(|line| line["id"] != id);
    assert_eq!(told[0]["id"], id);
    assert_eq!(told[1]["advocate"]["post_id"], "praise");
    assert_eq!(told[1]["advocate"]["followers"], 50_000);

    let take = ["acknowledge", id.as_str().expect("text"), "--addr", &first.addr];
    for by in ["ann", "bob"] {
        let (taken, _) = finish(&[&take[..], &["--by", by]].concat());
        assert_eq!(taken[0]["acknowledged_by"], "ann", "the first one stays");
    }
    assert_eq!(watch.line()["acknowledged_by"], "ann");
    let close = ["alerts", "close", take[1], "--by", "bob", "--outcome", "no-answer-needed"];
    let more = ["--note", "they know", "--addr", &first.addr];
    let (closed, _) = finish(&[&close[..], &more].concat());
    assert_eq!((&closed[0]["change"], &closed[0]["closed_by"]), (&"closed".into(), &"bob".into()));
    assert_eq!(watch.line(), closed[0], "everybody who watches hears of it");
    assert_eq!(closed[0]["closed_note"], "they know");
    let logged = loop {
        let line = first.logged("alert changed");
        if line["change"] == "closed" {
            break line["alert"].to_string();
        }
    };
    assert!(logged.contains("bob") && !logged.contains("they know"), "{logged}");

    // The next snapshot may have begun before all this was known; the one after
    // holds it.
    first.forget_log();
    first.logged("state written");
    first.logged("state written");
    // Killed by a signal that nobody can catch.
    drop(first);
    assert!(watch.word().contains("connection lost"));

    let second = Server::start_with(port, &kept);
    assert!(second.said("state restored").is_some(), "{:?}", second.begun);
    assert_eq!(watch.word(), "watching");
    let (topics, _) = finish(&["topics", "--json", "--addr", &second.addr]);
    let names: Vec<_> = topics.iter().map(|topic| topic["topic"].as_str()).collect();
    assert_eq!(names, [Some("kite"), Some("lark")]);
    assert_eq!(topics[0]["alert_ids"], serde_json::json!([id]));
    let (one, _) = finish(&["topics", "kite", "--json", "--addr", &second.addr]);
    assert_eq!(one, topics[..1]);

    let (changes, words) = finish(&["replay", posts, "--addr", &second.addr]);
    assert!(words.contains("duplicate 61"), "{words}");
    let kinds: Vec<_> = changes.iter().map(|change| (&change["change"], &change["id"])).collect();
    assert_eq!(kinds, [(&Value::from("firing"), &id)], "what fired goes on, and nothing opens");
    assert_eq!(changes[0]["acknowledged_by"], "ann");
    assert_eq!(changes[0]["outcome"], "no_answer_needed");
    let (exported, _) = finish(&["alerts", "export", "--addr", &second.addr]);
    let [line] = &exported[..] else { panic!("one alert was closed: {exported:?}") };
    assert_eq!((&line["id"], &line["closed_by"]), (&id, &"bob".into()));
    assert!(line["evidence"]["sample_post_ids"].as_array().is_some_and(|ids| !ids.is_empty()));
    second.drain();
    assert!(watch.word().contains("connection lost"));
    watch.child.kill().expect("it runs");
    assert!(watch.lines.next().is_none(), "nothing was told twice");
}

#[test]
fn a_damaged_state_is_set_aside_with_a_word_and_topics_warm_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().to_str().expect("UTF-8");
    let kept = ["--drain-notice", "0", "--state-dir", state];
    let posts = folder.path().join("posts.jsonl");
    write_posts(&posts);
    let posts = posts.to_str().expect("UTF-8");

    let server = Server::start_with(0, &kept);
    finish(&["score", posts, "--addr", &server.addr]);
    server.drain();
    let snapshot = folder.path().join("topics.snapshot");
    let mut bytes = std::fs::read(&snapshot).expect("written by the drain");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&snapshot, &bytes).expect("written");

    let server = Server::start_with(0, &kept);
    let line = server.said("the saved state was set aside; topics start without a baseline");
    let line = line.unwrap_or_else(|| panic!("no word of it: {:?}", server.begun));
    assert_eq!(line["level"], "ERROR");
    assert!(line["file"].as_str().is_some_and(|file| file.ends_with("topics.snapshot")), "{line}");
    assert!(line["error"].as_str().is_some_and(|error| error.contains("damaged")), "{line}");
    assert_eq!(std::fs::read(folder.path().join("topics.snapshot.bad-1")).expect("kept"), bytes);
    let (topics, _) = finish(&["topics", "--json", "--addr", &server.addr]);
    assert!(topics.is_empty(), "{topics:?}");
    finish(&["score", posts, "--addr", &server.addr]);
    let (topics, _) = finish(&["topics", "--json", "--addr", &server.addr]);
    assert_eq!(topics.len(), 2);
    assert!(topics.iter().all(|topic| topic["warming"] == true), "{topics:?}");
}

#[test]
fn a_disk_that_takes_nothing_costs_neither_scores_nor_the_last_state() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state");
    let posts = folder.path().join("posts.jsonl");
    write_posts(&posts);
    let [state, posts] = [&state, &posts].map(|path| path.to_str().expect("UTF-8"));
    let kept = ["--drain-notice", "0", "--state-dir", state];
    let server = Server::start_on_limited_disk(
        &[&kept[..], &["--log", "info,pounce::background=debug"]].concat(),
    );
    finish(&["score", posts, "--addr", &server.addr]);
    server.forget_log();
    server.logged("state written");
    server.logged("state written");

    server.limit_files("64");
    let failed = server.logged("the state can't be written");
    assert_eq!(failed["level"], "ERROR");
    let (events, _) = finish(&["score", posts, "--addr", &server.addr]);
    assert!(events.iter().all(|event| event["sentiment"].is_string()), "{events:?}");
    let (_, metrics) = server.get("/metrics");
    let failures = metrics.lines().find_map(|line| {
        line.strip_prefix("pounce_state_saves_total{result=\"failed\"} ")?.parse::<f64>().ok()
    });
    assert!(failures.is_some_and(|failures| failures >= 1.0), "{failures:?}");
    drop(server);

    let server = Server::start_with(0, &kept);
    let (topics, _) = finish(&["topics", "--json", "--addr", &server.addr]);
    assert_eq!(topics.len(), 2, "the last state that could be written is there: {topics:?}");
    server.drain();
}
