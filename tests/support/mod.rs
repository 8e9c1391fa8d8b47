//! A whole service in this process, on an engine whose every move the test decides.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub, reason = "parts by test files")]

pub mod replica;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use pounce::alerting::monitor::AlertMonitor;
use pounce::alerting::replicated::unsent;
use pounce::alerting::state::StateDir;
use pounce::auth::tokens::Tokens;
use pounce::cases::monitor::CaseSpec;
use pounce::lifecycle::drain::{DrainSender, Phase};
use pounce::lifecycle::health::Health;
use pounce::lifecycle::reload::Reloaded;
use pounce::metrics;
use pounce::notifications::sender::{NotificationSpec, Notifier};
use pounce::parts::Parts;
use pounce::recent::posts::RecentPosts;
use pounce::server::{Server, ServerError, ServerParts, SharedLog};
use pounce::transport::grpc::ServiceSpec;
use pounce::transport::tls::Tls;
use pounce_alerts::flags::Thresholds;
use pounce_alerts::{AlertEngine, HashKey, Settings};
use pounce_cases::CaseEngine;
use pounce_client::Client;
use pounce_inference::batching::BatchLimits;
use pounce_inference::engine::{Engine, EngineError, EngineFactory, TokenBatch};
use pounce_inference::labels::Labels;
use pounce_inference::model::{Model, ModelThresholds};
use pounce_inference::normalise::Normalisation;
use pounce_inference::scorer::{Scorer, ScorerLimits};
use pounce_inference::tokens::TextTokenizer;
use pounce_proto::scoring_service_client::ScoringServiceClient;
use pounce_proto::{Author, Post, ScoreStreamRequest, score_stream_request};
use pounce_replication::{JetStreamLog, Membership};
use pounce_types::post::Topic;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

/// The key of every fleet here.
pub const HASH_KEY: HashKey = HashKey::from_bytes([7; 16]);

const GOOD: i32 = 2;
const BAD: i32 = 3;
const BOOM: i32 = 4;
const NAN: i32 = 5;

/// What the engine does, and what it has seen.
#[derive(Default)]
pub struct Script {
    held: Mutex<bool>,
    released: Condvar,
    pub rows: AtomicUsize,
    /// The width of each batch, in the order in which they ran.
    pub widths: Mutex<Vec<usize>>,
}

impl Script {
    /// Makes every worker wait before its next batch.
    pub fn hold(&self) {
        *self.held.lock().expect("no panic under the lock") = true;
    }

    /// Lets workers go on.
    pub fn release(&self) {
        *self.held.lock().expect("no panic under the lock") = false;
        self.released.notify_all();
    }

    fn pass(&self) {
        let held = self.held.lock().expect("no panic under the lock");
        let _free = self.released.wait_while(held, |held| *held).expect("no panic under the lock");
    }
}

/// Scores by counting: more `good` than `bad` is positive; a `bad` is discontent, if the model has
/// an output for it. `boom` panics, `nan` gives logits that are no numbers.
struct CountingEngine {
    script: Arc<Script>,
    outputs: usize,
}

impl Engine for CountingEngine {
    fn logits(&mut self, batch: &TokenBatch) -> Result<Vec<f32>, EngineError> {
        self.script.pass();
        self.script.rows.fetch_add(batch.rows(), Ordering::SeqCst);
        self.script.widths.lock().expect("no panic").push(batch.width());
        let mut logits = Vec::new();
        for row in batch.padded().chunks(batch.width()) {
            assert!(!row.contains(&BOOM), "boom");
            let count = |token| row.iter().filter(|id| **id == token).count();
            let score = f32::from(u8::try_from(count(GOOD)).expect("few"))
                - f32::from(u8::try_from(count(BAD)).expect("few"));
            let score = if row.contains(&NAN) { f32::NAN } else { score * 4.0 };
            let discontent = if row.contains(&BAD) { 4.0 } else { -4.0 };
            logits.extend(&[-score, 0.0, score, discontent][..self.outputs]);
        }
        Ok(logits)
    }
}

struct CountingFactory {
    script: Arc<Script>,
    outputs: usize,
}

impl EngineFactory for CountingFactory {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn build(&self) -> Result<Box<dyn Engine>, EngineError> {
        let script = Arc::clone(&self.script);
        Ok(Box::new(CountingEngine { script, outputs: self.outputs }))
    }
}

/// The labels of a model that knows sentiment alone.
pub fn three_classes() -> Labels {
    let names = ["negative", "neutral", "positive"].map(str::to_owned).to_vec();
    Labels::parse(names).expect("three classes")
}

/// The labels of a model that has an output for discontent too.
pub fn two_answers() -> Labels {
    let names = ["negative", "neutral", "positive", "discontent"].map(str::to_owned).to_vec();
    let answers = serde_json::json!({
        "sentiment": { "softmax": names[..3] },
        "discontent": { "sigmoid": names[3] },
    });
    let answers = serde_json::from_value(answers).expect("answers");
    Labels::parse_answers(names, &answers).expect("two answers")
}

/// A model of six words on the scripted engine.
pub fn tiny_model(script: &Arc<Script>, labels: Labels) -> Model {
    let tokens_max = 64;
    let script = Arc::clone(script);
    let tokenizer = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tiny_tokenizer.json");
    Model {
        name: "tiny".to_owned(),
        revision: "r1".to_owned(),
        languages: vec!["en".to_owned()],
        thresholds: ModelThresholds::default(),
        normalisation: Normalisation::SocialV1,
        tokens_max,
        padding_id: 0,
        tokenizer: TextTokenizer::load(&tokenizer, tokens_max).expect("the fixture"),
        engine: Arc::new(CountingFactory { script, outputs: labels.outputs() }),
        labels,
        engine_reason: "the test asks for it".to_owned(),
    }
}

/// For tests in which the log answers, however busy the machine is ...
const PATIENCE: Duration = Duration::from_secs(5);
/// ... and for those in which it falls silent.
pub const IMPATIENCE: Duration = Duration::from_millis(250);

/// How the service under test is set.
pub struct Spec {
    pub labels: Labels,
    pub scorer: ScorerLimits,
    pub service: ServiceSpec,
    pub addr: SocketAddr,
    pub tls: Option<Tls>,
    pub tokens: Option<Reloaded<Tokens>>,
    pub notifications: Option<NotificationSpec>,
    pub observations: Option<JetStreamLog>,
    /// Where observations are kept that the log did not take.
    pub unsent: Option<StateDir>,
    /// What it tells the others that it reads.
    pub membership: Membership,
    /// Replies wait for a log that is silent no longer than this.
    pub log_silence_max: Duration,
    /// Whether there is a page, and whether it shows texts.
    pub board: Option<bool>,
    pub post_url: Option<String>,
    pub alerts: AlertEngine,
    pub cases: CaseSpec,
    /// Where topics and cases are kept.
    pub state: Option<StateDir>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            labels: three_classes(),
            scorer: ScorerLimits {
                workers: 2,
                queue_posts_max: 1000,
                queue_bytes_max: 1 << 20,
                cache_bytes_max: 1 << 20,
                batch: BatchLimits { posts_max: 8, tokens_max: 1024, padding_max: Some(0.2) },
            },
            service: ServiceSpec {
                thresholds: Thresholds::default(),
                text_bytes_max: 1000,
                message_bytes_max: 1 << 20,
                batch_posts_max: 100,
                stream_posts_in_flight_max: 64,
                connection_streams_max: 128,
                stream_age_max: None,
                connection_age_max: None,
                topic_labels: vec![Topic::parse(b"acme").expect("a topic")],
                reflection: true,
                connections_max: 128,
                http_connections_max: 128,
                token_posts_per_second_max: None,
                web_origins: Vec::new(),
            },
            addr: ([127, 0, 0, 1], 0).into(),
            tls: None,
            tokens: None,
            notifications: None,
            observations: None,
            unsent: None,
            membership: Membership::default(),
            log_silence_max: PATIENCE,
            board: None,
            post_url: None,
            alerts: AlertEngine::new(Settings::default(), 100),
            cases: CaseSpec::off(),
            state: None,
        }
    }
}

/// A running service.
pub struct Service {
    pub addr: SocketAddr,
    pub http_addr: SocketAddr,
    scheme: &'static str,
    pub script: Arc<Script>,
    pub drain: DrainSender,
    pub scorer: Scorer,
    pub monitor: AlertMonitor,
    pub health: Health,
    served: JoinHandle<Result<(), ServerError>>,
}

impl Service {
    pub async fn start(spec: Spec) -> Self {
        let script = Arc::new(Script::default());
        let (scorer, workers, mut warm) =
            Scorer::start(tiny_model(&script, spec.labels), spec.scorer).expect("threads");
        warm.first().await.expect("the tiny engine runs");
        let scheme = if spec.tls.is_some() { "https" } else { "http" };
        let server = Server::build(ServerParts {
            grpc: TcpListener::bind(spec.addr).await.expect("an address"),
            http: TcpListener::bind("127.0.0.1:0").await.expect("an address"),
            scorer,
            workers,
            warm,
            engine: match &spec.state {
                Some(state) => state.restore(Settings::default(), 100).expect("readable"),
                None => spec.alerts,
            },
            cases: spec.cases,
            case_engine: match &spec.state {
                Some(state) => state.restore_cases(spec.cases.settings).expect("readable"),
                None => CaseEngine::new(spec.cases.settings),
            },
            state: spec.state,
            observations: spec.observations.map(|log| SharedLog {
                log,
                hash_key: HASH_KEY,
                state: spec.unsent.clone(),
                unsent: spec.unsent.map_or_else(Vec::new, |state| {
                    unsent::read(&state, Duration::from_secs(600)).expect("readable")
                }),
                membership: spec.membership,
                silence_max: spec.log_silence_max,
            }),
            tls: spec.tls,
            tokens: spec.tokens,
            notifier: spec.notifications.map(|spec| Notifier::open(spec).expect("good files")),
            recent: spec.board.map(RecentPosts::new),
            post_url: spec.post_url,
            service: spec.service,
            drain_timeout: Duration::from_secs(20),
            metrics: metrics_handle().clone(),
        })
        .expect("bound sockets");
        let ([addr, http_addr], drain) = (server.addrs(), server.drain());
        let Parts { scorer, monitor, health, .. } = server.parts().clone();
        let served = tokio::spawn(server.run(std::future::pending()));
        let seen = health.clone();
        eventually("every engine has run", move || seen.ready()).await;
        Self { addr, http_addr, scheme, script, drain, scorer, monitor, health, served }
    }

    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.addr)
    }

    /// A channel of its own.
    pub async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(self.url()).expect("an address");
        endpoint.connect().await.expect("it listens")
    }

    /// A connection of its own.
    pub async fn connect(&self) -> ScoringServiceClient<Channel> {
        ScoringServiceClient::new(self.channel().await)
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.url()).expect("an address")
    }

    /// Drains and waits for the end.
    pub async fn stop(self) {
        self.script.release();
        self.end().await;
    }

    /// The same, with workers that stay held if they are.
    pub async fn end(self) {
        self.drain.advance(Phase::Draining);
        self.served.await.expect("no panic").expect("a clean end");
    }
}

/// A post with an id and a text.
pub fn post(id: impl ToString, text: impl Into<String>) -> Post {
    Post { id: id.to_string().into(), text: text.into().into(), ..Post::default() }
}

/// Event time of the first post of the unhappy crowd, in seconds.
const START: i64 = 1_700_000_000;

/// The n-th post of an unhappy crowd: an author of its own, 20 seconds apart.
pub fn angry(n: i64) -> Post {
    Post {
        topic: "acme".into(),
        author: Some(Author { id: format!("author {n}").into(), followers: 0 }),
        posted_at: Some(prost_types::Timestamp { seconds: START + 20 * n, nanos: 0 }),
        ..post(n, format!("bad service {n}"))
    }
}

/// A stream's message that holds a post.
pub fn message(post: Post) -> ScoreStreamRequest {
    ScoreStreamRequest { request: Some(score_stream_request::Request::Post(Box::new(post))) }
}

/// The process's recorder of metrics.
pub fn metrics_handle() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| metrics::install().expect("no other recorder"))
}

/// The value of a series, by its whole name with labels.
pub fn metric(series: &str) -> f64 {
    let text = metrics_handle().render();
    let line = text.lines().find(|line| line.split(' ').next() == Some(series));
    let value = line.and_then(|line| line.rsplit(' ').next());
    value.unwrap_or_else(|| panic!("no series {series}")).parse().expect("a number")
}

/// Waits until a replica has read its log, and its replies wait for their counts.
pub async fn counts(service: &Service) {
    let health = service.health.clone();
    let counts = move || health.alerts_ready() && health.detail().contains("replies wait for");
    eventually("replies wait for their counts", counts).await;
}

/// Waits until `done`; a minute without it is a hang.
pub async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .unwrap_or_else(|_| panic!("not within a minute: {what}"));
}
