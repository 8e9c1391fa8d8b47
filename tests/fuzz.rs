//! Bytes that nobody wrote: what they do to the parts that read from outside.
//!
//! `cargo test` tries each target for a second; `make fuzz` for as long as one likes. Under
//! `cargo bolero test --engine libfuzzer fuzz NAME` the same targets are guided by coverage.

use std::path::Path;
use std::sync::LazyLock;

use bolero::{check, generator::produce};
use pounce::scoring::read_post;
use pounce_alerts::{AlertEngine, AuthorHash, Observation, Settings, SignalId, TextHash};
use pounce_client::json::parse_post;
use pounce_inference::normalise::Normalisation;
use pounce_inference::tokens::TextTokenizer;
use pounce_proto::{ScoreStreamRequest, score_stream_request::Request};
use pounce_replication::Batch;
use pounce_types::post::{PostId, Timestamp, Topic};
use pounce_types::score::{Sentiment, Severity};
use prost::Message;

const TEXT_BYTES_MAX: usize = 8192;
const TOKENS_MAX: usize = 128;
/// Topics that the board of a target may have.
const TOPICS_MAX: usize = 4;
const NOW: u64 = 1_800_000_000_000;

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

/// Which of some good contents is damaged; bytes that change, by position; bytes that are missing at
/// its end.
type Damage = (usize, Vec<(usize, u8)>, usize);

fn damaged(good: &[Vec<u8>], (which, changes, missing): &Damage) -> Vec<u8> {
    let mut bytes = good[which % good.len()].clone();
    let length = bytes.len();
    for (at, byte) in changes {
        bytes[at % length] = *byte;
    }
    bytes.truncate(length - missing % 7);
    bytes
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
    check!().with_generator(produce::<Damage>()).for_each(|damage| {
        let bytes = damaged(&GOOD, damage);
        let now = Timestamp::from_millis(NOW);
        if let Ok(mut engine) = AlertEngine::restore(&bytes[..], Settings::default(), 100) {
            engine.tick(now);
        }
    });
}

/// An entry of the log with changed bytes is refused or read; the replica never guesses or falls.
#[test]
fn log_entry() {
    static GOOD: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/pounce-replication/tests/data");
        let files =
            folder.read_dir().expect("golden files").map(|file| file.expect("a file").path());
        let batches = files.filter(|file| file.extension().is_some_and(|end| end == "batch"));
        batches.map(|file| std::fs::read(file).expect("read")).collect()
    });
    check!().with_generator(produce::<Damage>()).for_each(|damage| {
        if let Ok(batch) = Batch::decode(&damaged(&GOOD, damage)) {
            assert!(batch.number > 0);
        }
    });
}

/// What a post of the target `board` is made of: seconds since the last one, seconds by which it is
/// older or newer than the clock, topic, author, severity, text.
type Step = (u16, i16, u8, u8, u8, u8);

/// Posts of any time in any order: the board keeps its bounds, and its state is what it was when it
/// is written and read.
#[test]
fn board() {
    check!().with_type::<Vec<Step>>().for_each(|steps| {
        let mut engine = AlertEngine::new(Settings::default(), TOPICS_MAX);
        let mut now = NOW;
        for (number, step) in steps.iter().enumerate() {
            now += u64::from(step.0) * 1000;
            engine.observe(&observation(number, now, step), Timestamp::from_millis(now));
            if number % 8 == 0 {
                engine.tick(Timestamp::from_millis(now));
            }
        }
        assert!(engine.topics(usize::MAX).len() <= TOPICS_MAX);
        let state = encoded(&engine);
        let again = AlertEngine::restore(&state[..], Settings::default(), TOPICS_MAX);
        assert_eq!(encoded(&again.expect("its own state")), state);
    });
}

fn observation(number: usize, now: u64, step: &Step) -> Observation {
    let (_, apart, topic, author, severity, text) = *step;
    let topic = format!("topic {}", topic % 8);
    Observation {
        topic: Topic::parse(topic.as_bytes()).expect("a topic"),
        place: None,
        post_id: PostId::parse(number.to_string().as_bytes()).expect("an id"),
        author: Some(AuthorHash::from_bits(author.into())),
        followers: u64::from(author) * 1000,
        at: Timestamp::from_millis(now.saturating_add_signed(i64::from(apart) * 1000)),
        foreign: text == 0,
        sentiment: Sentiment::Neutral,
        discontent: Severity::ALL.get(usize::from(severity % 4)).copied(),
        signal: SignalId::default(),
        near_text: (text > 64).then(|| TextHash::from_bits(text.into())),
    }
}

fn encoded(engine: &AlertEngine) -> Vec<u8> {
    let mut bytes = Vec::new();
    engine.snapshot().write(&mut bytes).expect("a vector takes any length");
    bytes
}
