//! How much of one core the state machine takes, and how much the log carries, at so many posts a
//! second. Every replica does all of it, so that one stands for all.

use std::time::Duration;

use pounce_types::post::{Timestamp, Topic};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::fleet::{Log, START, observation};
use pounce_alerts::{AuthorHash, Observation, TextHash};

const POSTS_A_SECOND: u64 = 1500;
/// Seconds of the log's time that are played.
const SECONDS: u64 = 60;
const TOPICS: usize = 10_000;

pub(crate) fn print_table() {
    println!(
        "\n{POSTS_A_SECOND} posts a second and replica, {TOPICS} topics, {SECONDS} s of the log: what \
         each replica spends on reading it\n"
    );
    println!(
        "| replicas | observations a second | of one core | to each replica | peak memory |\n\
         | --- | --- | --- | --- | --- |"
    );
    for replicas in [12, 100] {
        print_row(replicas);
    }
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn print_row(replicas: u64) {
    let mut log = Log::new(replicas, TOPICS);
    let mut rng = StdRng::seed_from_u64(9);
    let topics: Vec<Topic> = (0..TOPICS)
        .map(|n| Topic::parse(format!("topic {n:04}").as_bytes()).expect("a topic"))
        .collect();
    let (mut posts, mut reading) = (0_u64, Duration::ZERO);
    for tick in 0..SECONDS * 10 {
        let at = Timestamp::from_millis(START + tick * 100);
        for writer in 0..usize::try_from(replicas).expect("a few") {
            for _ in 0..POSTS_A_SECOND / 10 {
                posts += 1;
                let topic = &topics[rng.random_range(0..TOPICS)];
                let scored = observation(topic, posts, rng.random_bool(0.12), at);
                // As most posts have them.
                let author = Some(AuthorHash::from_bits(rng.random()));
                let near_text = Some(TextHash::from_bits(rng.random()));
                log.scored(writer, Observation { author, near_text, ..scored });
            }
        }
        let began = busy();
        log.append_all(0, at);
        reading += busy().saturating_sub(began);
    }
    let of_a_core = 100.0 * reading.as_secs_f64() / SECONDS as f64;
    println!(
        "| {replicas} | {} | {of_a_core:.0} % | {:.1} MB/s | {} MiB |",
        posts / SECONDS,
        log.bytes as f64 / SECONDS as f64 / 1e6,
        memory_peak().map_or("?".to_owned(), |mib| mib.to_string()),
    );
}

/// Processor time of this thread, whatever else the machine does.
fn busy() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("Linux tells"))
}

/// MiB that this process has held at most, where the system tells.
fn memory_peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? / 1024)
}
