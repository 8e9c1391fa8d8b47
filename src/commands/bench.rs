//! `pounce bench`: the engine's bare rate and the service's, side by side.
//!
//! The bare engine gets the posts in advance, split into tokens and sorted by
//! length: the most that these workers can do. The service gets them over
//! gRPC on the loopback interface, in the order in which they come.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use futures::StreamExt;
use pounce::client::{Client, Reply, StreamSpec};
use pounce::config::{Config, ServeFlags};
use pounce::discontent::Board;
use pounce::inference::engine::TokenBatch;
use pounce::inference::model::Model;
use pounce::inference::scorer::Scorer;
use pounce::proto::scoring_service_client::ScoringServiceClient;
use pounce::proto::{Post, ScoreRequest};
use pounce::service::crowds::Crowds;
use pounce::service::drain::{self, Phase};
use pounce::service::health::Health;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;

use super::made_up;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Posts of which the latency is measured one at a time.
const SINGLES: usize = 200;

/// The flags of `pounce bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchFlags {
    #[command(flatten)]
    serve: ServeFlags,
    /// JSON lines with `text` to score instead of made-up posts
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Posts to score
    #[arg(long, default_value_t = 4000, value_name = "N")]
    posts: usize,
    /// Streams at once in the second service run
    #[arg(long, default_value_t = 50, value_name = "N")]
    streams: usize,
}

/// Measures and prints; every figure is of this machine, now.
#[allow(clippy::print_stdout, reason = "the command's output")]
pub(crate) async fn run(flags: BenchFlags) -> Outcome<ExitCode> {
    let posts = match &flags.file {
        Some(file) => read(file, flags.posts)?,
        None => made_up::posts(flags.posts),
    };
    let mut config = flags.serve.checked()?;
    // A post that was scored before costs nothing: it must not count here.
    config.scorer.cache_bytes_max = 0;
    let open = || Model::open(&config.model, &config.model_spec);
    let model = open()?;
    let tokens = split(&model, &posts)?;
    let mean = tokens.iter().map(Vec::len).sum::<usize>() / tokens.len().max(1);
    println!(
        "model {} {} ({} engine), {} workers, {} posts of {mean} tokens on average\n",
        model.name,
        model.revision,
        model.engine.name(),
        config.scorer.workers,
        posts.len(),
    );

    let bare = bare_rate(&model, &config, &tokens)?;
    let bare_single = bare_latency(&model, &posts)?;
    let service = Service::start(open()?, &config).await?;
    // One round first, so that connections and pages are there.
    service.rate(&posts[..posts.len() / 10], 1).await?;
    let one = service.rate(&posts, 1).await?;
    let many = service.rate(&posts, flags.streams).await?;
    let single = service.latency(&posts).await?;
    service.stop().await?;

    println!("| posts a second | rate | of the bare engine |");
    println!("| --- | --- | --- |");
    println!(
        "| bare engine, batches of {} sorted by length | {bare:.0} | 1.00 |",
        config.scorer.batch.posts_max
    );
    println!("| service, one stream | {one:.0} | {:.2} |", one / bare);
    println!("| service, {} streams | {many:.0} | {:.2} |", flags.streams, many / bare);
    println!("\n| one post at a time | median | of the bare engine |");
    println!("| --- | --- | --- |");
    println!("| bare engine | {:.2} ms | 1.00 |", millis(bare_single));
    println!(
        "| service, unary call | {:.2} ms | {:.2} |",
        millis(single),
        single.as_secs_f64() / bare_single.as_secs_f64()
    );
    Ok(ExitCode::SUCCESS)
}

fn read(file: &std::path::Path, count: usize) -> Outcome<Vec<Post>> {
    let lines = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut posts = Vec::new();
    for (line, number) in lines.split(|byte| *byte == b'\n').zip(1..) {
        if !line.trim_ascii().is_empty() && posts.len() < count {
            let post = pounce::client::json::parse_post(line, number);
            posts.push(post.map_err(|rejection| rejection.reason)?);
        }
    }
    Ok(posts)
}

fn split(model: &Model, posts: &[Post]) -> Outcome<Vec<Vec<i32>>> {
    posts.iter().map(|post| ids(model, post)).collect()
}

fn ids(model: &Model, post: &Post) -> Outcome<Vec<i32>> {
    let text = std::str::from_utf8(&post.text)?;
    Ok(model.tokenizer.encode(&model.normalisation.apply(text))?.ids)
}

/// Posts a second of the engine alone, on as many threads as there are workers.
fn bare_rate(model: &Model, config: &Config, tokens: &[Vec<i32>]) -> Outcome<f64> {
    let mut sorted: Vec<&[i32]> = tokens.iter().map(Vec::as_slice).collect();
    sorted.sort_by_key(|ids| ids.len());
    let batches: Vec<&[&[i32]]> = sorted.chunks(config.scorer.batch.posts_max).collect();
    let next = AtomicUsize::new(0);
    let barrier = std::sync::Barrier::new(config.scorer.workers + 1);
    let worker = || -> Result<(), pounce::inference::engine::EngineError> {
        let built = model.engine.build();
        let warm = built.and_then(|mut engine| {
            engine.logits(&TokenBatch::new([sorted[0]], model.padding_id)).map(|_| engine)
        });
        barrier.wait();
        let mut engine = warm?;
        while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
            engine.logits(&TokenBatch::new(batch.iter().copied(), model.padding_id))?;
        }
        Ok(())
    };
    let elapsed = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..config.scorer.workers).map(|_| scope.spawn(worker)).collect();
        barrier.wait();
        let started = Instant::now();
        for thread in threads {
            thread.join().map_err(|_| "a worker panicked")??;
        }
        Ok::<_, Box<dyn std::error::Error>>(started.elapsed())
    })?;
    Ok(rate(tokens.len(), elapsed))
}

/// Median time of one post through normalising, splitting and the engine.
fn bare_latency(model: &Model, posts: &[Post]) -> Outcome<Duration> {
    let mut engine = model.engine.build()?;
    let mut times = Vec::new();
    for post in posts.iter().take(SINGLES) {
        let started = Instant::now();
        let ids = ids(model, post)?;
        engine.logits(&TokenBatch::new([ids.as_slice()], model.padding_id))?;
        times.push(started.elapsed());
    }
    Ok(median(times))
}

/// The service in this process, behind a socket.
struct Service {
    url: String,
    drain: drain::DrainSender,
    scorer: Scorer,
    served: tokio::task::JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Service {
    async fn start(model: Model, config: &Config) -> Outcome<Self> {
        let (scorer, _workers, warm) = Scorer::start(model, config.scorer.clone())?;
        let (drain, listener) = drain::channel();
        let health = Health::new(scorer.clone(), listener.clone());
        let socket = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", socket.local_addr()?);
        let incoming = TcpIncoming::from(socket).with_nodelay(Some(true));
        let spec = config.service.clone();
        let crowds = Crowds::new(Board::new(config.alerts.clone(), config.topics_max));
        let served =
            pounce::service::serve(incoming, spec, None, scorer.clone(), crowds, health, listener);
        let served = tokio::spawn(served);
        warm.await?;
        Ok(Self { url, drain, scorer, served })
    }

    /// Posts a second over so many streams at once.
    async fn rate(&self, posts: &[Post], streams: usize) -> Outcome<f64> {
        let client = Client::connect(&self.url)?;
        let started = Instant::now();
        let share = posts.len().div_ceil(streams.max(1)).max(1);
        let jobs = posts.chunks(share).map(|posts| {
            let posts: Vec<_> = posts.iter().cloned().map(Ok).collect();
            let replies = client.score_all(futures::stream::iter(posts), StreamSpec::default());
            replies.filter(|reply| std::future::ready(matches!(reply, Ok(Reply::Event(_))))).count()
        });
        let scored: usize = futures::future::join_all(jobs).await.into_iter().sum();
        if scored != posts.len() {
            return Err(format!("only {scored} of {} posts were scored", posts.len()).into());
        }
        Ok(rate(scored, started.elapsed()))
    }

    /// Median time of a unary call with nobody else about.
    async fn latency(&self, posts: &[Post]) -> Outcome<Duration> {
        let mut client = ScoringServiceClient::connect(self.url.clone()).await?;
        let mut times = Vec::new();
        for post in posts.iter().take(SINGLES) {
            let request = ScoreRequest { post: Some(post.clone()), thresholds: None };
            let started = Instant::now();
            client.score(request).await?;
            times.push(started.elapsed());
        }
        Ok(median(times))
    }

    async fn stop(self) -> Outcome<()> {
        self.drain.advance(Phase::Draining);
        self.served.await??;
        self.scorer.close();
        Ok(())
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn rate(posts: usize, elapsed: Duration) -> f64 {
    posts as f64 / elapsed.as_secs_f64()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
