//! VOLUME on the tweet counts of ten brands, every tweet taken as negative.

use pounce_alerts::alert::ChangeKind;
use pounce_alerts::key::AlertKind;
use pounce_alerts::{AlertEngine, Observation, Settings, SignalId};
use pounce_types::post::{PostId, Timestamp, Topic};
use pounce_types::score::{Sentiment, Severity};

use super::nab::Series;
use super::naive::{Naive, Rule};
use super::stream::Minute;

/// Points at the start in which nothing is counted, as the benchmark has it.
const PROBATION: usize = 750;
const STEP_SECONDS: u64 = 300;

/// Labelled windows in which an alarm was raised, and alarms in none.
#[derive(Debug, Clone, Copy, Default)]
struct Score {
    found: u32,
    windows: u32,
    false_alarms: u32,
    days: f64,
}

impl Score {
    fn of(series: &Series, alarms: &[u64]) -> Self {
        let start = series.counts.get(PROBATION).map_or(u64::MAX, |&(at, _)| at);
        let inside = |at: u64| series.windows.iter().any(|&(from, to)| (from..=to).contains(&at));
        let found = series
            .windows
            .iter()
            .filter(|&&(from, to)| alarms.iter().any(|at| (from..=to).contains(at)));
        let wrong = alarms.iter().filter(|&&at| at >= start && !inside(at));
        let points = series.counts.len().saturating_sub(PROBATION);
        #[allow(clippy::cast_precision_loss, reason = "a few weeks")]
        let days = points as f64 * 5.0 / 1440.0;
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            found: count(found.count()),
            windows: count(series.windows.len()),
            false_alarms: count(wrong.count()),
            days,
        }
    }

    fn add(&mut self, other: Self) {
        self.found += other.found;
        self.windows += other.windows;
        self.false_alarms += other.false_alarms;
        self.days += other.days;
    }

    fn a_day(self) -> f64 {
        f64::from(self.false_alarms) / self.days
    }
}

fn total(scores: impl IntoIterator<Item = Score>) -> Score {
    let mut sum = Score::default();
    scores.into_iter().for_each(|score| sum.add(score));
    sum
}

/// Plays a series to an engine; returns when alerts opened.
fn play(series: &Series, settings: &Settings) -> Vec<u64> {
    let mut engine = AlertEngine::new(settings.clone(), 10);
    let topic = Topic::parse(series.name.as_bytes()).expect("a topic");
    let (mut opened, mut posts) = (Vec::new(), 0_u64);
    let mut observed = |changes: Vec<pounce_alerts::alert::AlertChange>| {
        for change in changes {
            if change.kind == ChangeKind::Opened && change.alert.kind == AlertKind::Volume {
                opened.push(change.alert.opened_at.millis() / 1000);
            }
        }
    };
    for &(start, count) in &series.counts {
        for nth in 0..count {
            posts += 1;
            let at = Timestamp::from_millis(start * 1000 + nth * STEP_SECONDS * 1000 / count);
            let observation = Observation {
                topic: topic.clone(),
                place: None,
                post_id: PostId::parse(posts.to_string().as_bytes()).expect("an id"),
                author: None,
                followers: 0,
                at,
                foreign: false,
                sentiment: Sentiment::Negative,
                discontent: Some(Severity::Low),
                signal: SignalId::default(),
                near_text: None,
            };
            observed(engine.observe(&observation, at).changes);
        }
        observed(engine.tick(Timestamp::from_millis((start + STEP_SECONDS) * 1000)));
    }
    opened
}

fn naive(series: &Series) -> Vec<u64> {
    let mut rule = Naive::new(Rule::CountSigma);
    let mut alarms = Vec::new();
    for &(start, count) in &series.counts {
        for minute in 0..5 {
            let posts = (minute + 1) * count / 5 - minute * count / 5;
            if rule.alarms(Minute { posts, negatives: posts }) {
                alarms.push(start + (minute + 1) * 60);
            }
        }
    }
    alarms
}

fn settings(z: f64, ratio: f64, quantile: f64) -> Settings {
    let text = format!("[volume]\nz = {z:?}\npeak_ratio = {ratio:?}\npeak_quantile = {quantile:?}");
    Settings::parse(&text).expect("good settings")
}

pub(crate) fn print_tables(series: &[Series]) {
    let pounce: Vec<Score> = series
        .iter()
        .map(|series| Score::of(series, &play(series, &Settings::default())))
        .collect();
    let sigma = series.iter().map(|series| Score::of(series, &naive(series)));
    println!("\nVOLUME on the tweet counts of ten brands (Numenta Anomaly Benchmark)\n");
    println!("| rule | windows found | false alarms a day a series |\n| --- | --- | --- |");
    let before = settings(4.0, 1.1, 0.995);
    let before = series.iter().map(|series| Score::of(series, &play(series, &before)));
    for (name, score) in [
        ("VOLUME, defaults (chosen on these series)", total(pounce.iter().copied())),
        ("VOLUME as first drafted (chosen on these series)", total(before)),
        ("mean + 3 sigma of a day", total(sigma)),
    ] {
        println!("| {name} | {} of {} | {:.3} |", score.found, score.windows, score.a_day());
    }
    leave_one_out(series);
    println!("\n| brand | windows found | false alarms a day |\n| --- | --- | --- |");
    for (series, score) in series.iter().zip(&pounce) {
        let Score { found, windows, .. } = score;
        println!("| {} | {found} of {windows} | {:.3} |", series.name, score.a_day());
    }
}

/// Chooses the settings on nine series and measures them on the tenth.
fn leave_one_out(series: &[Series]) {
    let mut grid = Vec::new();
    for z in [3.0, 4.0, 5.0] {
        for ratio in [0.9, 1.0, 1.1, 1.3] {
            for quantile in [0.99, 0.995, 0.999] {
                let settings = settings(z, ratio, quantile);
                let scores: Vec<Score> = series
                    .iter()
                    .map(|series| Score::of(series, &play(series, &settings)))
                    .collect();
                grid.push(((z, ratio, quantile), scores));
            }
        }
    }
    let mut held_out = Score::default();
    let mut chosen = Vec::new();
    for left_out in 0..series.len() {
        let others = |scores: &[Score]| {
            let kept = scores.iter().enumerate().filter(|(index, _)| *index != left_out);
            total(kept.map(|(_, score)| *score))
        };
        // As many windows as can be had at no more false alarms than the goal.
        let best = grid.iter().filter(|(_, scores)| others(scores).a_day() <= 0.22).max_by(
            |(_, a), (_, b)| {
                let (a, b) = (others(a), others(b));
                a.found.cmp(&b.found).then(b.false_alarms.cmp(&a.false_alarms))
            },
        );
        if let Some((settings, scores)) = best {
            held_out.add(scores[left_out]);
            chosen.push((series[left_out].name.as_str(), *settings));
        }
    }
    let Score { found, windows, .. } = held_out;
    println!("| VOLUME, set on the other nine | {found} of {windows} | {:.3} |", held_out.a_day());
    println!("\nSet on the other nine (z, peak ratio, peak quantile):");
    for (name, (z, ratio, quantile)) in chosen {
        println!("- without {name}: {z}, {ratio}, {quantile}");
    }
    let mut best: Vec<_> =
        grid.iter().map(|(settings, scores)| (settings, total(scores.iter().copied()))).collect();
    best.sort_by(|(_, a), (_, b)| b.found.cmp(&a.found).then(a.false_alarms.cmp(&b.false_alarms)));
    println!("\n| z | peak ratio | peak quantile | windows found | false alarms a day a series |");
    println!("| --- | --- | --- | --- | --- |");
    for ((z, ratio, quantile), score) in best {
        println!("| {z} | {ratio} | {quantile} | {} | {:.3} |", score.found, score.a_day());
    }
}
