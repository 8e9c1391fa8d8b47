//! SHARE on made-up streams: false alarms a topic-day, and delays after the
//! share of negative posts shifts.

use pounce_alerts::Settings;
use pounce_alerts::key::AlertKind;

use super::naive::{Naive, Rule};
use super::oracle::{self, Oracle};
use super::stream::{DAY, Minute, Mood, OVERDISPERSION, Player, USUAL, lag, opened};

const RATES: [f64; 4] = [0.2, 1.0, 3.0, 10.0];
const SHIFTS: [f64; 3] = [0.24, 0.36, 0.5];
/// Topics of a day to warm up and this many to count.
const TOPICS: u64 = 48;
const DAYS: u64 = 5;
/// Shifts a cell, each on a stream of its own.
const TRIALS: u64 = 240;
/// A shift that was not told within this many minutes was missed.
const HORIZON: u64 = 8 * 60;

/// What watches a stream.
#[derive(Clone)]
enum Watcher {
    Pounce(Settings, AlertKind),
    Naive(Rule),
    Oracle(Oracle),
}

enum Rules {
    Pounce(Box<Player>, AlertKind),
    Naive(Box<Naive>),
    Oracle(Oracle),
}

struct Running {
    rules: Rules,
    minute: u64,
}

impl Watcher {
    fn start(&self) -> Running {
        let rules = match self {
            Self::Pounce(settings, kind) => {
                Rules::Pounce(Box::new(Player::new(settings.clone())), *kind)
            }
            Self::Naive(rule) => Rules::Naive(Box::new(Naive::new(*rule))),
            Self::Oracle(oracle) => Rules::Oracle(*oracle),
        };
        Running { rules, minute: 0 }
    }
}

impl Running {
    /// Minutes since the start at which alarms were told.
    #[allow(clippy::cast_precision_loss, reason = "a few days of minutes")]
    fn play(&mut self, minute: Minute) -> Vec<f64> {
        self.minute += 1;
        let alarms = match &mut self.rules {
            Rules::Pounce(player, kind) => {
                let told = player.play(minute);
                let alarms = told.iter().filter(|(_, change)| opened(change, *kind));
                return alarms.map(|(at, _)| *at).collect();
            }
            Rules::Naive(naive) => naive.alarms(minute),
            Rules::Oracle(oracle) => oracle.alarms(minute),
        };
        let at = self.minute as f64 + lag().as_secs_f64() / 60.0;
        if alarms { vec![at] } else { Vec::new() }
    }

    fn is_firing(&self) -> bool {
        match &self.rules {
            Rules::Pounce(player, kind) => {
                player.engine.alerts(false).iter().any(|alert| alert.kind == *kind)
            }
            Rules::Naive(_) => false,
            Rules::Oracle(oracle) => oracle.is_pausing(),
        }
    }
}

/// False alarms on all topic-days.
fn false_alarms(watcher: &Watcher, rate: f64) -> u64 {
    let mut alarms = 0;
    for topic in 0..TOPICS {
        let mut running = watcher.start();
        for (at, minute) in Mood::new(1000 + topic, rate).take(days(1 + DAYS)).enumerate() {
            let told = running.play(minute).len();
            if at >= days(1) {
                alarms += told as u64;
            }
        }
    }
    alarms
}

/// Alarms a topic-day.
#[allow(clippy::cast_precision_loss, reason = "a few alarms")]
fn a_day(alarms: u64) -> f64 {
    alarms as f64 / (TOPICS * DAYS) as f64
}

/// Delays in minutes, sorted; infinite where the shift was missed. A stream
/// that was firing already when its share shifted is left out.
#[allow(clippy::cast_precision_loss, reason = "a few days of minutes")]
fn delays(watcher: &Watcher, rate: f64, share: f64, steady: bool) -> Vec<f64> {
    let mut delays = Vec::new();
    for trial in 0..TRIALS {
        let shift = DAY + DAY / 2 + trial * DAY / TRIALS;
        let mood = Mood::new(2000 + trial, rate).shifted(shift, u64::MAX, share);
        let mood = if steady { mood.steady() } else { mood };
        let mut running = watcher.start();
        let mut delay = Some(f64::INFINITY);
        for (at, minute) in (0_u64..).zip(mood) {
            if at == shift && running.is_firing() {
                delay = None;
                break;
            }
            let told = running.play(minute);
            if let Some(first) = told.first().filter(|_| at >= shift) {
                delay = Some(first - shift as f64);
                break;
            }
            if at >= shift + HORIZON {
                break;
            }
        }
        delays.extend(delay);
    }
    delays.sort_by(f64::total_cmp);
    delays
}

fn days(days: u64) -> usize {
    usize::try_from(days * DAY).expect("a few days")
}

/// The value below which a share `q` of the sorted values lies.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index of a short list"
)]
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

fn cell(value: f64) -> String {
    if value.is_finite() { format!("{value:.0}") } else { "missed".to_owned() }
}

pub(crate) fn print_tables() {
    let with = |text: &str| Settings::parse(text).expect("good settings");
    let pounce = Watcher::Pounce(Settings::default(), AlertKind::Share);
    let before = with(
        "[share]\nz = 2.576\nwindows_minutes = [15, 60, 240]\n[volume]\nz = 4.0\npeak_ratio = 1.1",
    );
    let from = |posts: u32| {
        Watcher::Pounce(with(&format!("[share]\nposts_min = {posts}")), AlertKind::Share)
    };
    let watchers = [
        ("SHARE", pounce.clone()),
        ("SHARE as first drafted", Watcher::Pounce(before.clone(), AlertKind::Share)),
        ("SHARE from 15 posts on", from(15)),
        ("SHARE from 10 posts on", from(10)),
        ("fixed share of 0.40", Watcher::Naive(Rule::FixedShare(0.40))),
        ("fixed share of 0.25", Watcher::Naive(Rule::FixedShare(0.25))),
        ("mean + 3 sigma of the share", Watcher::Naive(Rule::ShareSigma)),
    ];
    println!(
        "False alarms a topic-day, {} topic-days a cell (share {USUAL}, rate +-70 % within a \
         day, overdispersion {OVERDISPERSION})\n",
        TOPICS * DAYS
    );
    println!("| rule | 0.2 a minute | 1 | 3 | 10 |\n| --- | --- | --- | --- | --- |");
    let volume = [
        ("VOLUME", Watcher::Pounce(Settings::default(), AlertKind::Volume)),
        ("VOLUME as first drafted", Watcher::Pounce(before, AlertKind::Volume)),
        ("mean + 3 sigma of the count", Watcher::Naive(Rule::CountSigma)),
    ];
    for (name, watcher) in watchers.iter().chain(&volume) {
        let cells = RATES.map(|rate| format!("{:.3}", a_day(false_alarms(watcher, rate))));
        println!("| {name} | {} |", cells.join(" | "));
    }
    println!(
        "\nMinutes from a shift to the alert: median / 95th percentile / worst (missed: not \
         within {} h), of {TRIALS} shifts a cell, at a steady rate\n",
        HORIZON / 60
    );
    for (name, watcher) in &watchers {
        print_delays(name, watcher, true);
    }
    print_oracle(&pounce);
    println!("\nThe same at all times of a day whose rate swings by +-70 %\n");
    print_delays("SHARE", &pounce, false);
}

fn print_delays(name: &str, watcher: &Watcher, steady: bool) {
    if name == "SHARE" {
        println!(
            "| rule | to | 0.2 a minute | 1 | 3 | 10 |\n| --- | --- | --- | --- | --- | --- |"
        );
    }
    for share in SHIFTS {
        let cells = RATES.map(|rate| show(&delays(watcher, rate, share, steady)));
        println!("| {name} | {share} | {} |", cells.join(" | "));
    }
}

/// What an oracle needs that raises as few false alarms as `watcher` at each rate.
fn print_oracle(watcher: &Watcher) {
    let bounds = RATES.map(|rate| {
        (rate, false_alarms(watcher, rate), oracle::streams(TOPICS, days(1 + DAYS), rate))
    });
    for share in SHIFTS {
        let cells = bounds.each_ref().map(|(rate, alarms, streams)| {
            let oracle = Watcher::Oracle(Oracle::as_rare(share, *alarms, streams));
            show(&delays(&oracle, *rate, share, true))
        });
        println!("| oracle with as few false alarms | {share} | {} |", cells.join(" | "));
    }
}

/// Median, 95th percentile and worst.
fn show(delays: &[f64]) -> String {
    [0.5, 0.95, 1.0].map(|q| cell(quantile(delays, q))).join(" / ")
}
