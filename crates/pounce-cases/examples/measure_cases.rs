//! What a million flagged posts take: memory, the snapshot's size, and the time of a post.
//!
//! `cargo run --release -p pounce-cases --example measure_cases`

#![allow(clippy::print_stdout, reason = "it prints a table")]

use std::time::{Duration, Instant};

use pounce_alerts::AuthorHash;
use pounce_cases::{ActionKind, CaseAction, CaseEngine, CaseSettings, FlaggedPost, Outcome};
use pounce_types::post::{PostId, Timestamp, Topic};
use pounce_types::score::Severity;

const POSTS: u64 = 1_000_000;
const START: u64 = 1_800_000_000_000;

/// An order without pattern that is the same in every run.
fn scattered(nth: u64) -> u64 {
    let mixed = (nth ^ (nth >> 13)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ (mixed >> 29)
}

/// A field of the process's status, in MiB.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1024
}

fn main() {
    let mut engine = CaseEngine::new(CaseSettings::default());
    let began = Instant::now();
    let before = memory("VmRSS:");
    println!("{:>9} {:>7} {:>9} {:>8}", "posts", "cases", "evicted", "MiB");
    for nth in 0..POSTS {
        let random = scattered(nth);
        // Ten posts a second of 700,000 authors on 200 topics: 28 hours.
        let now = Timestamp::from_millis(START + nth * 100);
        let changes = engine.observe(
            &FlaggedPost {
                topic: Topic::parse(format!("topic {}", random % 200).as_bytes()).expect("a topic"),
                place: None,
                post_id: PostId::parse(format!("network:post:{nth}").as_bytes()).expect("an id"),
                author: Some(AuthorHash::from_bits(random % 700_001)),
                severity: Severity::ALL[usize::try_from(random % 3).expect("small")],
                at: now,
                respond_within: Duration::from_secs(900),
            },
            now,
        );
        if random.is_multiple_of(50) {
            let (id, by) = (changes[0].case.id, "ann".to_owned());
            let kind = ActionKind::Close { outcome: Outcome::Answered, note: String::new() };
            // It may have left again for want of room.
            let _ = engine.act(&CaseAction { id, by, kind }, now);
        }
        engine.tick(now);
        if (nth + 1) % (POSTS / 10) == 0 {
            let used = memory("VmRSS:").saturating_sub(before);
            println!("{:>9} {:>7} {:>9} {used:>8}", nth + 1, engine.len(), engine.evicted());
        }
    }
    let each = began.elapsed() / u32::try_from(POSTS).expect("a million");
    let mut bytes = Vec::new();
    let asked = Instant::now();
    let snapshot = engine.snapshot();
    let waited = asked.elapsed();
    snapshot.write(&mut bytes).expect("a vector takes everything");
    println!(
        "{each:?} a post; a snapshot of {} KiB, for which posts wait {waited:?}",
        bytes.len() >> 10
    );
}
