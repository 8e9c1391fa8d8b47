//! Bytes that nobody wrote: what they do to the parts that read from outside.
//!
//! `cargo test` tries each target for a second; `make fuzz` for as long as one likes. Under
//! `cargo bolero test --engine libfuzzer fuzz NAME` the same targets are guided by coverage.

use std::path::Path;
use std::sync::LazyLock;

use bolero::{check, generator::produce};
use pounce::scoring::read_post;
use pounce_alerts::{AlertEngine, Settings};
use pounce_client::json::parse_post;
use pounce_inference::normalise::Normalisation;
use pounce_inference::tokens::TextTokenizer;
use pounce_proto::{ScoreStreamRequest, score_stream_request::Request};
use pounce_types::post::Timestamp;
use prost::Message;

const TEXT_BYTES_MAX: usize = 8192;
const TOKENS_MAX: usize = 128;

/// A line of JSON becomes a post or a rejection that does not repeat it.
#[test]
fn json_line() {
    check!().for_each(|line: &[u8]| {
        if let Err(rejection) = parse_post(line, "run", 7) {
            assert_eq!(&rejection.post_id[..], "run-7");
            assert!(rejection.reason.len() < 300, "{}", rejection.reason);
        }
    });
}

/// A JSON object with fields of any content: all of it goes to the service, which decides.
#[test]
fn json_fields() {
    check!().with_type::<(String, String, i64, f64)>().for_each(|(text, topic, seconds, part)| {
        let line = serde_json::json!({ "text": text, "topic": topic, "time": seconds, "x": part });
        let post =
            parse_post(line.to_string().as_bytes(), "run", 7).expect("all of it may be sent");
        assert_eq!((&post.text[..], &post.topic[..]), (text.as_bytes(), topic.as_bytes()));
        let _ = read_post(&post, TEXT_BYTES_MAX);
    });
}

/// A message becomes a post whose parts are within their limits, or names the field at fault.
#[test]
fn message() {
    check!().for_each(|bytes: &[u8]| {
        let Ok(message) = ScoreStreamRequest::decode(bytes) else { return };
        let Some(Request::Post(wire)) = message.request else { return };
        match read_post(&wire, TEXT_BYTES_MAX) {
            Ok(post) => {
                assert!(!post.text.as_str().is_empty() && wire.text.len() <= TEXT_BYTES_MAX);
                assert!((1..=256).contains(&post.id.as_str().len()));
                let topic = post.topic.as_ref().map_or("", |topic| topic.as_str());
                assert!(topic.len() <= 256);
            }
            Err(error) => assert!(!error.field.is_empty(), "{error}"),
        }
    });
}

/// Any text is prepared without growing out of bounds, twice the same, into tokens of the model.
#[test]
fn text() {
    static TOKENIZER: LazyLock<TextTokenizer> = LazyLock::new(|| {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("model");
        TextTokenizer::load(&model.join("tokenizer.json"), TOKENS_MAX).expect("the default model")
    });
    check!().with_type::<String>().for_each(|text| {
        for how in Normalisation::ALL {
            let prepared = how.apply(text);
            assert!(
                prepared.len() <= 4 * text.len() + 1024,
                "{} of {}",
                prepared.len(),
                text.len()
            );
            let tokens = TOKENIZER.encode(&prepared).expect("it splits");
            assert!((2..=TOKENS_MAX).contains(&tokens.ids.len()));
            assert!(tokens.total >= tokens.ids.len());
            assert_eq!(tokens.ids, TOKENIZER.encode(&how.apply(text)).expect("again").ids);
        }
    });
}

/// A state file with changed bytes is refused or read; it never brings the service down.
#[test]
fn state_file() {
    static GOOD: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        let folder = "crates/pounce-alerts/tests/data/snapshots";
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let files = folder.read_dir().expect("golden files").map(|file| file.expect("a file"));
        files.map(|file| std::fs::read(file.path()).expect("read")).collect()
    });
    check!().with_generator(produce::<(usize, Vec<(usize, u8)>, usize)>()).for_each(
        |(which, changes, cut)| {
            let mut bytes = GOOD[which % GOOD.len()].clone();
            for (at, byte) in changes {
                let length = bytes.len();
                bytes[at % length] = *byte;
            }
            bytes.truncate(bytes.len() - cut % 7);
            let now = Timestamp::from_millis(1_800_000_000_000);
            if let Ok(mut engine) = AlertEngine::restore(&bytes[..], Settings::default(), 100) {
                engine.tick(now);
            }
        },
    );
}
