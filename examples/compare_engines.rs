//! Scores the posts of a JSONL file with several engines and tells how far apart they are.
//!
//! ```text
//! cargo run --release --features torch --example compare_engines -- \
//!     posts.jsonl --model model --engines torch:fp32,torch:bf16,embedded --workers 2
//! ```
//!
//! Each line of the file is an object with a `text`. The first engine is the one
//! that the others are held against. Memory is the process's: give one engine for
//! a figure that is that engine's.

#![allow(clippy::print_stdout, reason = "a command's output")]

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use pounce::inference::engine::{Device, Engine, Precision, TokenBatch};
use pounce::inference::model::{EngineKind, Model, ModelSpec};
use pounce::score::Probabilities;

#[derive(Parser)]
struct Flags {
    /// JSON lines with `text`
    file: PathBuf,
    /// Folder of the model
    #[arg(long, default_value = "model")]
    model: PathBuf,
    /// Engines, each with its precision where it has one
    #[arg(long, value_delimiter = ',', default_value = "torch:fp32,torch:bf16,embedded")]
    engines: Vec<String>,
    /// Device of the torch engine
    #[arg(long, default_value_t = Device::Cpu)]
    device: Device,
    /// Names of the model's outputs, instead of config.json's
    #[arg(long, value_delimiter = ',')]
    labels: Option<Vec<String>>,
    /// Posts to read
    #[arg(long, default_value_t = 2000)]
    posts: usize,
    /// Posts that run through the model together
    #[arg(long, default_value_t = 8)]
    batch: usize,
    /// Threads, each with an engine and its share of the posts
    #[arg(long, default_value_t = 1)]
    workers: usize,
}

#[derive(serde::Deserialize)]
struct Line {
    text: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::parse();
    let lines = std::fs::read_to_string(&flags.file)?;
    let lines = lines.lines().take(flags.posts).map(serde_json::from_str::<Line>);
    let texts: Vec<String> =
        lines.map(|line| line.map(|line| line.text)).collect::<Result<_, _>>()?;
    println!(
        "{:<12} {:>9} {:>10} {:>12} {:>12} {:>9} {:>9}",
        "engine", "posts/s", "same class", "mean |dP|", "max |dP|", "RSS MiB", "peak MiB"
    );
    let mut reference: Option<Vec<Probabilities>> = None;
    for name in &flags.engines {
        let model = Model::open(&flags.model, &spec(name, &flags)?)?;
        let started = Instant::now();
        let scores = score(&model, &texts, &flags)?;
        let rate = count(texts.len()) / started.elapsed().as_secs_f64();
        let held_against = reference.get_or_insert_with(|| scores.clone());
        let (same, mean, max) = differences(held_against, &scores);
        let [now, peak] = [memory("VmRSS:")?, memory("VmHWM:")?];
        println!("{name:<12} {rate:>9.0} {same:>9.2}% {mean:>12.6} {max:>12.6} {now:>9} {peak:>9}");
    }
    Ok(())
}

/// `embedded`, `torch`, `torch:fp32` or `torch:bf16`.
fn spec(name: &str, flags: &Flags) -> Result<ModelSpec, String> {
    let (engine, precision) = match name.split_once(':') {
        Some((engine, precision)) => (engine, Some(Precision::from_str(precision, true)?)),
        None => (name, None),
    };
    let engine = EngineKind::from_str(engine, true)?;
    let device = if engine == EngineKind::Torch { flags.device } else { Device::Cpu };
    Ok(ModelSpec { engine: Some(engine), labels: flags.labels.clone(), device, precision })
}

/// Scores all texts, each worker every so-manieth batch of posts of like length.
fn score(
    model: &Model,
    texts: &[String],
    flags: &Flags,
) -> Result<Vec<Probabilities>, Box<dyn Error>> {
    let mut posts = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let tokens = model.tokenizer.encode(&model.normalisation.apply(text))?;
        posts.push((index, tokens.ids));
    }
    posts.sort_by_key(|(_, ids)| ids.len());
    let batches: Vec<_> = posts.chunks(flags.batch.max(1)).collect();
    let workers = flags.workers.max(1);
    let mut scored: Vec<(usize, Probabilities)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|worker| {
                let own = batches.iter().skip(worker).step_by(workers);
                scope.spawn(move || {
                    let mut engine = model.engine.build().map_err(|e| e.to_string())?;
                    let mut scored = Vec::new();
                    for batch in own {
                        scored.extend(score_batch(model, engine.as_mut(), batch)?);
                    }
                    Ok::<_, String>(scored)
                })
            })
            .collect();
        let results = threads.into_iter().map(|thread| thread.join().map_err(|_| "a worker died"));
        results.map(|result| result?).collect::<Result<Vec<_>, String>>()
    })?
    .into_iter()
    .flatten()
    .collect();
    scored.sort_by_key(|(index, _)| *index);
    Ok(scored.into_iter().map(|(_, score)| score).collect())
}

fn score_batch(
    model: &Model,
    engine: &mut dyn Engine,
    posts: &[(usize, Vec<i32>)],
) -> Result<Vec<(usize, Probabilities)>, String> {
    let batch = TokenBatch::new(posts.iter().map(|(_, ids)| &ids[..]), model.padding_id);
    let logits = engine.logits(&batch).map_err(|e| e.to_string())?;
    let rows = logits.chunks(model.labels.outputs());
    let scores = posts.iter().zip(rows).map(|((index, _), logits)| {
        let score = model.labels.probabilities(logits).ok_or("a logit is not finite")?;
        Ok((*index, score))
    });
    scores.collect()
}

/// Percentage of equal classes, mean and largest difference of a probability.
fn differences(a: &[Probabilities], b: &[Probabilities]) -> (f64, f64, f32) {
    let same = a.iter().zip(b).filter(|(a, b)| a.sentiment() == b.sentiment()).count();
    let apart = |a: &Probabilities, b: &Probabilities| {
        let of = [a.negative - b.negative, a.neutral - b.neutral, a.positive - b.positive];
        of.into_iter().map(f32::abs).fold(0.0, f32::max)
    };
    let all: Vec<f32> = a.iter().zip(b).map(|(a, b)| apart(a, b)).collect();
    let mean = all.iter().copied().map(f64::from).sum::<f64>() / count(all.len());
    (100.0 * count(same) / count(a.len()), mean, all.into_iter().fold(0.0, f32::max))
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// A line of /proc/self/status, in MiB.
fn memory(key: &str) -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("0");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024)
}
