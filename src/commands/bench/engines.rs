//! Engines and precisions side by side on the same posts, without a service around them.
//!
//! An engine gets the posts in advance, split into tokens, in batches of like length:
//! the most that so many workers can do.

use std::path::Path;
use std::str::FromStr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pounce::config::Config;
use pounce_inference::engine::{Device, Engine, Kernel, Precision, TokenBatch};
use pounce_inference::labels::Labels;
use pounce_inference::model::{EngineKind, Model, ModelSpec, engines_in};
use pounce_inference::scorer::ScorerLimits;
use pounce_proto::Post;
use pounce_types::score::Probabilities;

use super::figures::{Outcome, SINGLES, median, millis, rate};

/// An engine, with its precision or kernel: `bert`, `bert:avx2`, `embedded`, `torch`, `torch:fp32`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contender {
    engine: EngineKind,
    precision: Option<Precision>,
    kernel: Option<Kernel>,
}

impl FromStr for Contender {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let unknown = || {
            format!(
                "`{name}` is none of bert, bert:KERNEL, embedded, torch, torch:fp32 and torch:bf16"
            )
        };
        let (engine, form) = name.split_once(':').map_or((name, None), |(e, form)| (e, Some(form)));
        let engine = EngineKind::parse(engine).ok_or_else(unknown)?;
        let (mut precision, mut kernel) = (None, None);
        match (engine, form) {
            (_, None) => {}
            (EngineKind::Bert, Some(form)) => {
                kernel = Some(Kernel::named(form).map_err(|error| error.to_string())?);
            }
            (EngineKind::Embedded, Some(_)) => return Err(unknown()),
            (EngineKind::Torch, Some(form)) => {
                precision = Some(Precision::parse(form).ok_or_else(unknown)?);
            }
        }
        Ok(Self { engine, precision, kernel })
    }
}

impl std::fmt::Display for Contender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.engine.name())?;
        let form = self.precision.map(Precision::name).or(self.kernel.map(Kernel::name));
        form.map_or(Ok(()), |form| write!(f, ":{form}"))
    }
}

impl Contender {
    /// All that this build and the files of `folder` allow, the reference first.
    pub(super) fn all(folder: &Path) -> Vec<Self> {
        let of = |engine| match engine {
            EngineKind::Torch => vec![Some(Precision::Fp32), Some(Precision::Bf16)],
            EngineKind::Bert | EngineKind::Embedded => vec![None],
        };
        let all = engines_in(folder).into_iter().flat_map(|engine| {
            of(engine).into_iter().map(move |precision| Self { engine, precision, kernel: None })
        });
        all.collect()
    }

    fn open(self, config: &Config) -> Outcome<Model> {
        let device = match self.engine {
            EngineKind::Torch => config.model.spec.device,
            EngineKind::Bert | EngineKind::Embedded => Device::Cpu,
        };
        let spec = ModelSpec {
            engine: Some(self.engine),
            kernel: self.kernel.map(|kernel| kernel.name().to_owned()),
            precision: self.precision,
            device,
            ..config.model.spec.clone()
        };
        Ok(Model::open(&config.model.folder, &spec)?)
    }
}

/// Prints a row for each contender: its speed, and how far its scores are from the first's.
#[allow(clippy::print_stdout, reason = "the command's output")]
pub(super) fn compare(config: &Config, contenders: &[Contender], posts: &[Post]) -> Outcome<()> {
    let mut reference: Option<Vec<Probabilities>> = None;
    for contender in contenders {
        let model = contender.open(config)?;
        let measured = measure(&model, &config.scorer, posts)?;
        if reference.is_none() {
            println!(
                "model {} {}, {} workers, {} posts of {} tokens on average\n\n\
                 | engine | posts a second | one post | same class | mean difference | largest |\n\
                 | --- | --- | --- | --- | --- | --- |",
                model.name,
                model.revision,
                config.scorer.workers,
                posts.len(),
                measured.mean_tokens,
            );
        }
        let reference = reference.get_or_insert_with(|| measured.scores.clone());
        let Apart { same, mean, largest } = apart(reference, &measured.scores, &model.labels);
        println!(
            "| {contender} | {:.0} | {:.2} ms | {same:.2} % | {mean:.4} | {largest:.3} |",
            measured.rate,
            millis(measured.single),
        );
    }
    println!();
    Ok(())
}

/// What an engine did with some posts.
struct Measured {
    /// Posts a second in batches of like length, on all workers.
    rate: f64,
    /// Median time of one post through normalising, splitting and the engine.
    single: Duration,
    /// Tokens of a post.
    mean_tokens: usize,
    /// In the posts' order.
    scores: Vec<Probabilities>,
}

/// Runs all `posts`, at least one, through a model's engines, and some of them one at a time.
fn measure(model: &Model, limits: &ScorerLimits, posts: &[Post]) -> Outcome<Measured> {
    let tokens = split(model, posts)?;
    let (scores, elapsed) = batched(model, limits, &tokens, Order::ByLength)?;
    Ok(Measured {
        rate: rate(posts.len(), elapsed),
        single: single(model, &posts[..posts.len().min(SINGLES)])?,
        mean_tokens: tokens.iter().map(Vec::len).sum::<usize>() / tokens.len().max(1),
        scores,
    })
}

/// In which order batches of like length run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Short ones first, over all posts: as no stream brings them.
    ByLength,
    /// As a stream brings them.
    AsTheyCome,
}

/// Posts a second in batches of like length, on all workers.
pub(super) fn batched_rate(
    model: &Model,
    limits: &ScorerLimits,
    posts: &[Post],
    order: Order,
) -> Outcome<f64> {
    Ok(rate(posts.len(), batched(model, limits, &split(model, posts)?, order)?.1))
}

/// Median time of one post through normalising, splitting and the engine.
pub(super) fn single(model: &Model, posts: &[Post]) -> Outcome<Duration> {
    let mut engine = model.engine.build()?;
    let mut times = Vec::new();
    for post in posts {
        let started = Instant::now();
        score(model, engine.as_mut(), &[&ids(model, post)?])?;
        times.push(started.elapsed());
    }
    Ok(median(times))
}

fn split(model: &Model, posts: &[Post]) -> Outcome<Vec<Vec<i32>>> {
    posts.iter().map(|post| ids(model, post)).collect()
}

/// A post's tokens, as the model reads it.
fn ids(model: &Model, post: &Post) -> Outcome<Vec<i32>> {
    let text = std::str::from_utf8(&post.text)?;
    Ok(model.tokenizer.encode(&model.normalisation.apply(text))?.ids)
}

fn batched(
    model: &Model,
    limits: &ScorerLimits,
    tokens: &[Vec<i32>],
    order: Order,
) -> Outcome<(Vec<Probabilities>, Duration)> {
    let mut sorted: Vec<usize> = (0..tokens.len()).collect();
    sorted.sort_by_key(|&post| tokens[post].len());
    let mut batches: Vec<&[usize]> = sorted.chunks(limits.batch.posts_max).collect();
    if order == Order::AsTheyCome {
        batches.sort_by_key(|batch| batch.iter().min());
    }
    let next = AtomicUsize::new(0);
    let barrier = Barrier::new(limits.workers + 1);
    let worker = || -> Result<Vec<(usize, Probabilities)>, String> {
        let built = model.engine.build().map_err(|error| error.to_string());
        let warm = built.and_then(|mut engine| {
            score(model, engine.as_mut(), &[&tokens[sorted[0]]]).map(|_| engine)
        });
        barrier.wait();
        let mut engine = warm?;
        let mut scored = Vec::new();
        while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
            let rows: Vec<&[i32]> = batch.iter().map(|&post| tokens[post].as_slice()).collect();
            let scores = score(model, engine.as_mut(), &rows)?;
            scored.extend(batch.iter().copied().zip(scores));
        }
        Ok(scored)
    };
    let (mut scored, elapsed) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..limits.workers).map(|_| scope.spawn(worker)).collect();
        barrier.wait();
        let started = Instant::now();
        let mut scored = Vec::with_capacity(tokens.len());
        for thread in threads {
            scored.extend(thread.join().map_err(|_| "a worker panicked")??);
        }
        Ok::<_, Box<dyn std::error::Error>>((scored, started.elapsed()))
    })?;
    scored.sort_unstable_by_key(|(post, _)| *post);
    Ok((scored.into_iter().map(|(_, score)| score).collect(), elapsed))
}

fn score(
    model: &Model,
    engine: &mut dyn Engine,
    rows: &[&[i32]],
) -> Result<Vec<Probabilities>, String> {
    let batch = TokenBatch::new(rows.iter().copied(), model.padding_id);
    let logits = engine.logits(&batch).map_err(|error| error.to_string())?;
    let rows = logits.chunks(model.labels.outputs());
    let scores: Option<_> = rows.map(|row| model.labels.probabilities(row)).collect();
    scores.ok_or_else(|| "the model gave a logit that is not finite".to_owned())
}

/// How far apart two engines' scores of the same posts are.
struct Apart {
    /// Percentage of equal classes.
    same: f64,
    /// Of a post's most different probability, over all posts.
    mean: f64,
    largest: f32,
}

#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn apart(a: &[Probabilities], b: &[Probabilities], labels: &Labels) -> Apart {
    let pairs = || a.iter().zip(b);
    let same = pairs().filter(|(a, b)| labels.sentiment(a) == labels.sentiment(b)).count();
    let differences = pairs().map(|(a, b)| {
        let of = [
            a.negative - b.negative,
            a.neutral - b.neutral,
            a.positive - b.positive,
            a.discontent - b.discontent,
        ];
        of.into_iter().map(f32::abs).fold(0.0, f32::max)
    });
    Apart {
        same: 100.0 * same as f64 / a.len() as f64,
        mean: differences.clone().map(f64::from).sum::<f64>() / a.len() as f64,
        largest: differences.fold(0.0, f32::max),
    }
}
