//! SHARE on topics without a baseline of their own: false alarms of their first day, and delays
//! when the share triples two hours after the first post.
//!
//! `cargo run --release -p pounce-alerts --example cold_start` prints the table of docs/alerts.md
//! from fixed seeds. Streams are made as those of `make evaluate-alerts`.

#![allow(clippy::print_stdout, reason = "it prints a table")]

use std::f64::consts::TAU;

use pounce_alerts::alert::{AlertChange, ChangeKind};
use pounce_alerts::key::AlertKind;
use pounce_alerts::{AlertEngine, Observation, Settings, SignalId};
use pounce_types::post::{PostId, Timestamp, Topic};
use pounce_types::score::{Sentiment, Severity};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Beta, Binomial, Distribution, Poisson};

/// 2026-01-05, a Monday.
const START: u64 = 1_767_571_200_000;
const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60;
/// Swing of the rate within a day, and correlation of the posts of one minute.
const SWING: f64 = 0.7;
const OVERDISPERSION: f64 = 0.03;
const RATES: [f64; 3] = [1.0, 3.0, 10.0];
/// Usual shares: from a topic that is praised to one that always complains.
const USUAL: [f64; 5] = [0.05, 0.12, 0.25, 0.45, 0.65];
const TOPICS: u64 = 120;
/// The share shifts this many minutes after the first post; a shift that was not told within
/// `HORIZON` minutes was missed.
const SHIFT: u64 = 120;
const HORIZON: u64 = 8 * 60;

/// Posts and negatives of a minute.
fn minute(rng: &mut StdRng, rate: f64, share: f64) -> (u64, u64) {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let posts = Poisson::new(rate).expect("above 0").sample(rng) as u64;
    let sum = (1.0 - OVERDISPERSION) / OVERDISPERSION;
    let p = Beta::new(share * sum, (1.0 - share) * sum).expect("above 0").sample(rng);
    (posts, Binomial::new(posts, p).expect("a share").sample(rng))
}

/// Plays a topic's minutes until `stop` says so; tells it each minute's number and the SHARE
/// alerts that opened.
#[allow(clippy::cast_precision_loss, reason = "a day of minutes")]
fn play(
    settings: &Settings,
    seed: u64,
    rate: f64,
    share: impl Fn(u64) -> f64,
    mut stop: impl FnMut(u64, u64) -> bool,
) {
    let mut engine = AlertEngine::new(settings.clone(), 10);
    let topic = Topic::parse(b"kite").expect("a topic");
    let mut rng = StdRng::seed_from_u64(seed);
    let phase = rng.random_range(0.0..TAU);
    let mut id = 0_u64;
    for at in 0_u64.. {
        let turn = at as f64 / DAY as f64 * TAU;
        let rate = rate * (1.0 + SWING * (turn + phase).sin());
        let (posts, negatives) = minute(&mut rng, rate, share(at));
        let mut opened = 0;
        for nth in 0..posts {
            id += 1;
            let millis = START + at * MINUTE + nth * MINUTE / posts;
            let negative = (nth + 1) * negatives / posts > nth * negatives / posts;
            let post = Observation {
                topic: topic.clone(),
                place: None,
                post_id: PostId::parse(id.to_string().as_bytes()).expect("an id"),
                author: None,
                followers: 0,
                at: Timestamp::from_millis(millis),
                foreign: false,
                sentiment: Sentiment::Neutral,
                discontent: negative.then_some(Severity::Low),
                signal: SignalId::default(),
                near_text: None,
            };
            opened += count(&engine.observe(&post, post.at).changes);
        }
        opened += count(&engine.tick(Timestamp::from_millis(START + (at + 1) * MINUTE)));
        if stop(at, opened) {
            return;
        }
    }
}

fn count(changes: &[AlertChange]) -> u64 {
    let opened = |change: &&AlertChange| {
        change.kind == ChangeKind::Opened && change.alert.kind == AlertKind::Share
    };
    changes.iter().filter(opened).count() as u64
}

/// Alarms of the first day of `TOPICS` topics whose share never changes, a topic.
#[allow(clippy::cast_precision_loss, reason = "a few alarms")]
fn false_alarms(settings: &Settings, rate: f64, usual: f64) -> f64 {
    let mut alarms = 0;
    for topic in 0..TOPICS {
        play(
            settings,
            1000 + topic,
            rate,
            |_| usual,
            |at, opened| {
                alarms += opened;
                at + 1 == DAY
            },
        );
    }
    alarms as f64 / TOPICS as f64
}

/// Minutes from the shift to the alert, sorted, the minute's close included; of topics without a
/// false alarm before it.
#[allow(clippy::cast_precision_loss, reason = "a few hours of minutes")]
fn delays(settings: &Settings, rate: f64, usual: f64, shifted: f64) -> Vec<f64> {
    let mut delays = Vec::new();
    for topic in 0..TOPICS {
        let share = |at| if at < SHIFT { usual } else { shifted };
        let mut delay = Some(f64::INFINITY);
        play(settings, 2000 + topic, rate, share, |at, opened| {
            match opened {
                0 => return at >= SHIFT + HORIZON,
                _ if at < SHIFT => delay = None,
                _ => delay = Some((at + 1 - SHIFT) as f64),
            }
            true
        });
        delays.extend(delay);
    }
    delays.sort_by(f64::total_cmp);
    delays
}

/// The median and the 95th percentile.
fn cell(sorted: &[f64]) -> String {
    let quantile = |percent: usize| {
        let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        match sorted.get(rank) {
            Some(value) if value.is_finite() => format!("{value:.0}"),
            _ => "missed".to_owned(),
        }
    };
    format!("{} / {}", quantile(50), quantile(95))
}

fn main() {
    let with = |text: &str| Settings::parse(text).expect("good settings");
    let rules = [
        // A prior of such a weight stays as it is, whatever the topic's own posts say.
        ("prior of 0.15 alone", with("[share]\ncold_prior_posts = 1000000\ncold_z = 0.0\n")),
        ("own posts", with("")),
    ];
    println!("False alarms of a topic's first day, {TOPICS} topics a cell\n");
    println!("| usual share | rule | 1 post a minute | 3 | 10 |\n| --- | --- | --- | --- | --- |");
    for usual in USUAL {
        for (name, settings) in &rules {
            let cells = RATES.map(|rate| format!("{:.2}", false_alarms(settings, rate, usual)));
            println!("| {usual} | {name} | {} |", cells.join(" | "));
        }
    }
    println!(
        "\nMinutes from a shift {SHIFT} minutes after the first post to the alert: median / 95th \
         percentile (missed: not within {} h)\n",
        HORIZON / 60
    );
    println!("| share | rule | 1 post a minute | 3 | 10 |\n| --- | --- | --- | --- | --- |");
    for (usual, shifted) in [(0.12, 0.24), (0.12, 0.36), (0.12, 0.5), (0.25, 0.5), (0.45, 0.75)] {
        for (name, settings) in &rules {
            let cells = RATES.map(|rate| cell(&delays(settings, rate, usual, shifted)));
            println!("| {usual} to {shifted} | {name} | {} |", cells.join(" | "));
        }
    }
}
