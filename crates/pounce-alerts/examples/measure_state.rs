//! What the topics' state takes: memory, file, and the time that posts wait for a snapshot.
//!
//! `cargo run --release -p pounce-alerts --example measure_state` plays 1.1 million made-up posts of eight days
//! on 10,000 topics, writes the state as the service does, and restores it in a process of its
//! own.

#![allow(clippy::print_stdout, reason = "it prints a table")]

use std::fs::File;
use std::io::{BufReader, BufWriter, Error, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use pounce_alerts::{AlertEngine, HashKey, Observation, Settings, SignalId, Snapshot};
use pounce_types::post::{AuthorId, Place, PostId, Timestamp, Topic};
use pounce_types::score::{Sentiment, Severity};

const START: u64 = 1_748_851_200_000;
const DAYS: u64 = 8;
const POSTS: u64 = 1_100_000;
const TOPICS: u64 = 10_000;
const KEY: HashKey = HashKey::from_bytes(*b"of made-up posts");
const TOPICS_MAX: usize = 20_000;

/// An order without pattern that is the same in every run.
fn scattered(nth: u64) -> u64 {
    let mixed = (nth ^ (nth >> 13)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ (mixed >> 29)
}

fn post(nth: u64) -> Observation {
    let random = scattered(nth);
    let negative = random.is_multiple_of(8);
    let author = AuthorId::parse((random % 1_000_003).to_string().as_bytes());
    Observation {
        topic: Topic::parse(format!("topic-{}", random % TOPICS).as_bytes()).expect("a topic"),
        place: (random % 10 == 3).then(|| Place::parse(b"Lisbon").expect("a place")),
        post_id: PostId::parse(nth.to_string().as_bytes()).expect("an id"),
        author: author.ok().map(|id| KEY.author(&id)),
        followers: random % 3_000,
        at: Timestamp::from_millis(START + nth * (DAYS * 86_400_000 / POSTS)),
        foreign: false,
        sentiment: Sentiment::Neutral,
        discontent: negative.then_some(Severity::Low),
        signal: SignalId::default(),
        near_text: KEY.near_text(&format!("each post has a text of its own: {nth}")),
    }
}

/// A field of the process's status, in MiB.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1024
}

fn write(snapshot: Snapshot, file: &Path) -> std::io::Result<()> {
    let mut to = BufWriter::with_capacity(1 << 20, File::create(file)?);
    snapshot.write(&mut to)?;
    to.flush()?;
    to.get_ref().sync_all()
}

fn fill(file: &Path) -> std::io::Result<()> {
    let mut engine = AlertEngine::new(Settings::default(), TOPICS_MAX);
    for nth in 0..POSTS {
        let post = post(nth);
        engine.observe(&post, post.at);
        if nth % 1000 == 0 {
            engine.tick(post.at);
        }
    }
    println!("keys                     {}", engine.keys());
    println!("known of keys            {} MiB", engine.history_bytes() >> 20);
    println!("memory before a save     {} MiB", memory("VmRSS:"));
    let started = Instant::now();
    let snapshot = engine.snapshot();
    println!("posts wait for           {:?}", started.elapsed());
    // Posts go on while it is written: what they change is copied.
    let to = file.to_owned();
    let writing = std::thread::spawn(move || {
        let started = Instant::now();
        write(snapshot, &to).map(|()| started.elapsed())
    });
    let (mut nth, mut longest) = (POSTS, Duration::ZERO);
    while !writing.is_finished() {
        let post = post(nth);
        let started = Instant::now();
        engine.observe(&post, post.at);
        longest = longest.max(started.elapsed());
        nth += 1;
    }
    let took = writing.join().map_err(|_| Error::other("the writer failed"))??;
    println!("written in               {took:?}");
    println!("posts counted meanwhile  {}, the longest took {longest:?}", nth - POSTS);
    println!("peak memory of a save    {} MiB", memory("VmHWM:"));
    println!("file                     {} MiB", std::fs::metadata(file)?.len() >> 20);
    Ok(())
}

fn restore(file: &Path) -> std::io::Result<()> {
    let before = memory("VmRSS:");
    let started = Instant::now();
    let from = BufReader::with_capacity(1 << 20, File::open(file)?);
    let engine = AlertEngine::restore(from, Settings::default(), TOPICS_MAX);
    let engine = engine.map_err(Error::other)?;
    println!("restored in              {:?}, {} keys", started.elapsed(), engine.keys());
    println!("peak memory of a restore {} MiB ({before} before)", memory("VmHWM:"));
    Ok(())
}

fn main() -> std::io::Result<()> {
    if let Some(file) = std::env::args_os().nth(1) {
        return restore(Path::new(&file));
    }
    let name = format!("pounce-state-{}", std::process::id());
    let file = std::env::temp_dir().join(name);
    fill(&file)?;
    let child = Command::new(std::env::current_exe()?).arg(&file).status()?;
    std::fs::remove_file(&file)?;
    if child.success() { Ok(()) } else { Err(Error::other("the restore failed")) }
}
