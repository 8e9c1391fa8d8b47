//! The service over gRPC on the loopback interface, beside its bare engine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use metrics_exporter_prometheus::PrometheusHandle;
use pounce::cases::monitor::CaseSpec;
use pounce::config::Config;
use pounce::lifecycle::drain::{DrainSender, Phase};
use pounce::recent::posts::RecentPosts;
use pounce::server::{Server, ServerError, ServerParts};
use pounce_alerts::AlertEngine;
use pounce_cases::{CaseEngine, CaseSettings};
use pounce_client::{Client, Reply, StreamSpec};
use pounce_inference::model::Model;
use pounce_inference::scorer::Scorer;
use pounce_proto::scoring_service_client::ScoringServiceClient;
use pounce_proto::{Post, ScoreRequest};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::Endpoint;

use super::engines::{self, Order};
use super::figures::{Outcome, SINGLES, median, millis, rate};
use super::no_op::NoOp;

/// Parts of the posts, each measured on the bare engine and through the service.
const ROUNDS: usize = 7;

/// Prints medians of the rates and latencies of the service with the engine
/// that `serve` would take, and of that engine alone.
#[allow(clippy::print_stdout, reason = "the command's output")]
pub(super) async fn compare(config: &Config, posts: &[Post], streams: usize) -> Outcome<()> {
    let open = || Model::open(&config.model.folder, &config.model.spec);
    let model = open()?;
    let name = model.engine.name();
    let metrics = pounce::metrics::install()?;
    let service = Service::start(open()?, config, &metrics).await?;
    // Some first, so that connections and pages are there.
    service.rate(&posts[..posts.len().div_ceil(10)], 1).await?;
    let mut rates: [Vec<f64>; 4] = Default::default();
    let (mut bare_single, mut single) = (Vec::new(), Vec::new());
    // In turns, since a machine's own speed drifts by more than what is compared,
    // and the other way round every other time, since it is faster after a rest.
    for (round, posts) in posts.chunks(posts.len().div_ceil(ROUNDS)).enumerate() {
        let mut turns = [0, 1, 2, 3];
        if round % 2 == 1 {
            turns.reverse();
        }
        for turn in turns {
            let bare = |order| engines::batched_rate(&model, &config.scorer, posts, order);
            rates[turn].push(match turn {
                0 => bare(Order::AsTheyCome)?,
                1 => service.rate(posts, 1).await?,
                2 => service.rate(posts, streams).await?,
                _ => bare(Order::ByLength)?,
            });
        }
    }
    for posts in posts.chunks(SINGLES).take(ROUNDS) {
        bare_single.push(engines::single(&model, posts)?);
        single.push(service.latency(posts).await?);
    }
    service.stop().await?;

    let [bare, one, many, sorted] = rates.map(median);
    let [bare_single, single] = [bare_single, single].map(median);

    let batch = config.scorer.batch.posts_max;
    let row = |what: &str, rate: f64| println!("| {what} | {rate:.0} | {:.2} |", rate / bare);
    println!("| posts a second, {name} engine | rate | of the bare engine |");
    println!("| --- | --- | --- |");
    row(&format!("bare engine, batches of {batch} of like length as they come"), bare);
    row("service, one stream", one);
    row(&format!("service, {streams} streams"), many);
    row("bare engine, the same batches, short ones first", sorted);
    println!("\n| one post at a time | median | of the bare engine |");
    println!("| --- | --- | --- |");
    println!("| bare engine | {:.2} ms | 1.00 |", millis(bare_single));
    println!(
        "| service, unary call | {:.2} ms | {:.2} |\n",
        millis(single),
        single.as_secs_f64() / bare_single.as_secs_f64()
    );
    without_model(config, posts, &metrics).await
}

/// Prints what the service does of posts through one stream without a model behind it, and with
/// every score remembered. The client's work is in the figures.
#[allow(clippy::print_stdout, reason = "the command's output")]
async fn without_model(config: &Config, posts: &[Post], metrics: &PrometheusHandle) -> Outcome<()> {
    println!("| one stream, no-op engine | posts a second | a core, with the client |");
    println!("| --- | --- | --- |");
    let mut config = config.clone();
    for (what, cache) in [("each text split into tokens", 0), ("each text remembered", 64 << 20)] {
        config.scorer.cache_bytes_max = cache;
        let mut model = Model::open(&config.model.folder, &config.model.spec)?;
        model.engine = Arc::new(NoOp { outputs: model.labels.outputs() });
        let service = Service::start(model, &config, metrics).await?;
        service.rate(posts, 1).await?;
        let mut rates = Vec::new();
        let mut rates_a_core = Vec::new();
        for _ in 0..ROUNDS {
            let before = processor_time();
            rates.push(service.rate(posts, 1).await?);
            let spent = processor_time().zip(before).map(|(after, before)| after - before);
            rates_a_core.extend(spent.map(|spent| rate(posts.len(), spent)));
        }
        service.stop().await?;
        let a_core = (!rates_a_core.is_empty()).then(|| median(rates_a_core));
        let a_core = a_core.map_or("unknown".to_owned(), |rate| format!("{rate:.0}"));
        println!("| {what} | {:.0} | {a_core} |", median(rates));
    }
    println!();
    Ok(())
}

/// Time that all cores spent on this process so far, where the system tells.
fn processor_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // After the name, which may hold anything: fields 14 and 15, in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit(") ").next()?.split(' ').collect();
    let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (ticks(11)? + ticks(12)?)))
}

/// The service in this process, behind sockets.
struct Service {
    url: String,
    drain: DrainSender,
    served: JoinHandle<Result<(), ServerError>>,
}

impl Service {
    async fn start(model: Model, config: &Config, metrics: &PrometheusHandle) -> Outcome<Self> {
        let (scorer, workers, mut warm) = Scorer::start(model, config.scorer.clone())?;
        warm.first().await?;
        let server = Server::build(ServerParts {
            grpc: TcpListener::bind("127.0.0.1:0").await?,
            http: TcpListener::bind("127.0.0.1:0").await?,
            scorer,
            workers,
            warm,
            cases: CaseSpec::off(),
            case_engine: CaseEngine::new(CaseSettings::default()),
            engine: AlertEngine::new(config.alerts.clone(), config.topics_max),
            state: None,
            observations: None,
            tls: None,
            tokens: None,
            notifier: None,
            recent: config.dashboard.enabled.then(|| RecentPosts::new(config.dashboard.texts)),
            post_url: config.post_url.clone(),
            service: config.service.clone(),
            drain_timeout: config.drain.timeout,
            metrics: metrics.clone(),
        })?;
        let url = format!("http://{}", server.addrs()[0]);
        let drain = server.drain();
        let served = tokio::spawn(server.run(std::future::pending()));
        Ok(Self { url, drain, served })
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
        let mut client =
            ScoringServiceClient::new(Endpoint::from_shared(self.url.clone())?.connect().await?);
        let mut times = Vec::new();
        for post in posts {
            let request = ScoreRequest { post: Some(post.clone()), ..Default::default() };
            let started = Instant::now();
            client.score(request).await?;
            times.push(started.elapsed());
        }
        Ok(median(times))
    }

    async fn stop(self) -> Outcome<()> {
        self.drain.advance(Phase::Draining);
        Ok(self.served.await??)
    }
}
