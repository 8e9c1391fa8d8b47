//! A topic whose share of discontent shifts, seen by 1, 3 and 12 replicas that get its posts at
//! random: each counting for itself, and all through one log.

use pounce_alerts::alert::ChangeKind;
use pounce_alerts::key::AlertKind;
use pounce_types::post::{Timestamp, Topic};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Poisson};

use super::fleet::{Log, START, observation};

/// Posts a minute of a topic.
const RATE: f64 = 3.0;
const USUAL: f64 = 0.12;
const SHIFTED: f64 = 0.36;
const TOPICS: u64 = 120;
/// Minutes before the shift that are counted for false alarms, after a day that is not.
const CALM: u64 = 24 * 60;
/// A shift that was not told within this many minutes was missed.
const HORIZON: u64 = 8 * 60;

/// How replicas count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counting {
    EachForItself,
    ThroughOneLog,
}

/// What was seen of one topic. Minutes from the shift; none: missed.
struct Seen {
    /// By each replica.
    delays: Vec<Option<f64>>,
    false_alarms: usize,
    /// Alerts after the shift, over all replicas; one that all have counts once.
    alerts: usize,
}

pub(crate) fn print_table() {
    println!(
        "A shift from {USUAL} to {SHIFTED} at {RATE} posts a minute, {TOPICS} topics: minutes to the \
         alert, median / 95th percentile\n"
    );
    println!(
        "| replicas | counting | first replica | a given replica | missed by a given one \
         | false alarms a topic-day | alerts a shift |\n| --- | --- | --- | --- | --- | --- | --- |"
    );
    let rows = [
        (1, Counting::EachForItself),
        (3, Counting::EachForItself),
        (12, Counting::EachForItself),
        (1, Counting::ThroughOneLog),
        (3, Counting::ThroughOneLog),
        (12, Counting::ThroughOneLog),
    ];
    for (replicas, counting) in rows {
        print_row(replicas, counting);
    }
}

#[allow(clippy::cast_precision_loss, reason = "small counts")]
fn print_row(replicas: u64, counting: Counting) {
    let seen: Vec<Seen> = (0..TOPICS).map(|topic| watch(topic, replicas, counting)).collect();
    let first = seen.iter().map(|seen| {
        let delays = seen.delays.iter().flatten().copied();
        delays.min_by(f64::total_cmp)
    });
    let given = seen.iter().flat_map(|seen| seen.delays.iter().copied());
    let missed =
        given.clone().filter(Option::is_none).count() as f64 / given.clone().count() as f64;
    let days = (TOPICS * CALM) as f64 / (24.0 * 60.0);
    let sum = |of: fn(&Seen) -> usize| seen.iter().map(of).sum::<usize>() as f64;
    let how = match counting {
        Counting::EachForItself => "each for itself",
        Counting::ThroughOneLog => "through one log",
    };
    println!(
        "| {replicas} | {how} | {} | {} | {:.0} % | {:.2} | {:.1} |",
        show(first),
        show(given),
        100.0 * missed,
        sum(|seen| seen.false_alarms) / days,
        sum(|seen| seen.alerts) / TOPICS as f64,
    );
}

/// Median and 95th percentile.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index of a short list"
)]
fn show(delays: impl Iterator<Item = Option<f64>>) -> String {
    let mut sorted: Vec<f64> = delays.map(|delay| delay.unwrap_or(f64::INFINITY)).collect();
    sorted.sort_by(f64::total_cmp);
    let cells = [0.5, 0.95].map(|q| {
        let value = sorted[((q * sorted.len() as f64).ceil() as usize).max(1) - 1];
        if value.is_finite() { format!("{value:.0}") } else { "missed".to_owned() }
    });
    cells.join(" / ")
}

fn watch(seed: u64, replicas: u64, counting: Counting) -> Seen {
    let mut rng = StdRng::seed_from_u64(7000 + seed);
    let topic = Topic::parse(b"kite").expect("a topic");
    let mut logs: Vec<Log> = match counting {
        Counting::EachForItself => (0..replicas).map(|_| Log::new(1, 10)).collect(),
        Counting::ThroughOneLog => vec![Log::new(replicas, 10)],
    };
    let shift = 24 * 60 + CALM;
    let mut seen = Seen { delays: vec![None; logs.len()], false_alarms: 0, alerts: 0 };
    let mut posts = 0;
    for second in 0..(shift + HORIZON) * 60 {
        let (minute, at) = (second / 60, Timestamp::from_millis(START + second * 1000));
        let poisson = Poisson::new(RATE / 60.0).expect("a rate");
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        for _ in 0..poisson.sample(&mut rng) as u64 {
            posts += 1;
            let share = if minute < shift { USUAL } else { SHIFTED };
            let observation = observation(&topic, posts, rng.random_bool(share), at);
            let place = rng.random_range(0..usize::try_from(replicas).expect("a few"));
            match counting {
                Counting::EachForItself => logs[place].scored(0, observation),
                Counting::ThroughOneLog => logs[0].scored(place, observation),
            }
        }
        for (log, delay) in logs.iter_mut().zip(&mut seen.delays) {
            let mut changes =
                log.append_all(usize::try_from(second % replicas).expect("a few"), at);
            if second % 10 == 0 {
                changes.extend(log.append(0, at));
            }
            let opened = changes.iter().filter(|change| {
                change.kind == ChangeKind::Opened && change.alert.kind == AlertKind::Share
            });
            match (opened.count(), minute) {
                (0, _) => {}
                (count, minute) if (24 * 60..shift).contains(&minute) => seen.false_alarms += count,
                (count, minute) if minute >= shift => {
                    seen.alerts += count;
                    #[allow(clippy::cast_precision_loss, reason = "a few hours of seconds")]
                    delay.get_or_insert((second - shift * 60) as f64 / 60.0);
                }
                _ => {}
            }
        }
    }
    seen
}
