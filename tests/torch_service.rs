//! Hub models behind the real binary: what the service answers is what PyTorch says.

mod binary;

use std::path::Path;
use std::process::Stdio;

use binary::{Server, pounce};

/// Largest difference of a probability from PyTorch's in fp32.
const TOLERANCE: f64 = 1e-4;

#[derive(serde::Deserialize)]
struct Golden {
    text: String,
    logits: Vec<f64>,
}

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/torch").join(name);
    folder.to_str().expect("UTF-8").to_owned()
}

/// Serves a fixture and scores its posts in one stream, short and long ones together.
/// `classes` are the outputs of negative, neutral and positive.
fn check(name: &str, flags: &[&str], classes: [&[usize]; 3]) {
    let folder = fixture(name);
    let model = ["--model", &folder, "--precision", "fp32", "--drain-notice", "0"];
    let server = Server::serve(0, &[&model, flags].concat());
    let golden = std::fs::read_to_string(format!("{folder}/golden.jsonl")).expect("golden.jsonl");
    let mut job = pounce(&["score", "--addr", &server.addr, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    let posts: String = golden
        .lines()
        .map(|line| {
            let post: Golden = serde_json::from_str(line).expect("a golden post");
            serde_json::json!({ "text": post.text }).to_string() + "\n"
        })
        .collect();
    std::io::Write::write_all(&mut job.stdin.take().expect("piped"), posts.as_bytes())
        .expect("the job reads");
    let output = job.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{name}: {}", output.status);
    let replies = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(replies.lines().count(), golden.lines().count(), "{name}");
    for (reply, post) in replies.lines().zip(golden.lines()) {
        let reply: serde_json::Value = serde_json::from_str(reply).expect("JSON");
        let Golden { text, logits } = serde_json::from_str(post).expect("a golden post");
        let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
        for (class, outputs) in ["negative", "neutral", "positive"].iter().zip(classes) {
            let wanted: f64 = outputs.iter().map(|&output| logits[output].exp() / sum).sum();
            let got = reply["probabilities"][class].as_f64().expect("a number");
            let apart = (got - wanted).abs();
            assert!(apart <= TOLERANCE, "{name}: P({class}) {got}, not {wanted}, of {text:?}");
        }
    }
}

#[test]
fn posts_in_a_stream_get_the_scores_of_pytorch() {
    check("roberta", &[], [&[0], &[1], &[2]]);
}

#[test]
fn stars_become_three_classes_and_two_classes_leave_neutral_at_zero() {
    check("bert", &[], [&[0, 1], &[2], &[3, 4]]);
    check("distilbert", &[], [&[0], &[], &[1]]);
}

#[test]
fn nameless_labels_have_the_names_of_the_flag() {
    check("electra", &["--labels", "positive,neutral,negative"], [&[2], &[1], &[0]]);
}

#[test]
fn bench_holds_the_engines_of_the_default_model_against_each_other() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/model");
    let output = pounce(&["bench", "--model", model, "--posts", "64", "--streams", "0"]).output();
    let output = output.expect("the binary runs");
    let table = String::from_utf8(output.stdout).expect("UTF-8");
    let row = |engine: &str| -> Vec<String> {
        let line = table.lines().find(|line| line.starts_with(&format!("| {engine} |")));
        let line = line.unwrap_or_else(|| panic!("no row of {engine}: {table}"));
        line.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    assert_eq!(row("torch:fp32")[4..7], ["100.00 %", "0.0000", "0.000"]);
    for engine in ["torch:bf16", "embedded"] {
        let row = row(engine);
        let same: f64 = row[4].trim_end_matches(" %").parse().expect("a percentage");
        assert!(same >= 95.0, "{row:?}");
        assert!(row[6].parse::<f64>().expect("a number") < 0.1, "{row:?}");
        assert_ne!(row[5], "0.0000", "{engine} computes in another way");
    }
}
