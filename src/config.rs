//! Flags and `POUNCE_*` variables become one checked [`Config`].
//!
//! Only `app`, `main` and `commands` import it; every check across settings lives here.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::traces::TraceSpec;
use crate::transport::grpc::ServiceSpec;
use crate::transport::tls::TlsFiles;
use pounce_alerts::Settings;
use pounce_alerts::flags::{ThresholdError, Thresholds};
use pounce_inference::engine::{Device, Precision};
use pounce_inference::model::{EngineKind, Model, ModelSeverities, ModelSpec, ModelThresholds};
use pounce_inference::normalise::Normalisation;
use pounce_inference::scorer::ScorerLimits;
use pounce_inference::waiting::BatchLimits;

/// How to run the service.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where gRPC listens.
    pub grpc_addr: SocketAddr,
    /// Where HTTP listens.
    pub http_addr: SocketAddr,
    /// The model's folder.
    pub model: PathBuf,
    /// How to read it.
    pub model_spec: ModelSpec,
    /// What inference may use.
    pub scorer: ScorerLimits,
    /// What callers are granted.
    pub service: ServiceSpec,
    /// Which thresholds of the service are flags'.
    given: ModelThresholds,
    /// TLS for gRPC.
    pub tls: Option<TlsFiles>,
    /// File of the tokens that callers need.
    pub tokens: Option<PathBuf>,
    /// Whether the HTTP port serves the live board.
    pub board: bool,
    /// Whether it shows the texts of flagged posts.
    pub board_texts: bool,
    /// How posts become alerts on topics.
    pub alerts: Settings,
    /// Topics and places counted at a time.
    pub topics_max: usize,
    /// Where what is known of topics is kept.
    pub state_dir: Option<PathBuf>,
    /// Where traces go.
    pub traces: Option<TraceSpec>,
    /// Time between not being ready and asking streams to end.
    pub drain_notice: Duration,
    /// Time for streams to end.
    pub drain_timeout: Duration,
}

impl Config {
    /// Takes the thresholds of the model's folder where no flag sets one.
    /// # Errors
    /// [`ConfigError::Conflict`] naming config.json and the field.
    pub fn with_thresholds_of(mut self, model: &Model) -> Result<Self, ConfigError> {
        let own = put(&model.thresholds, self.service.thresholds);
        let thresholds = put(&self.given, own);
        let file = self.model.join("config.json");
        let fault = |error: ThresholdError| {
            let field = error.to_string().replace(".discontent_", ".discontent.");
            ConfigError::Conflict(format!("{}: pounce.{field}", file.display()))
        };
        self.service.thresholds = thresholds.checked().map_err(fault)?;
        Ok(self)
    }
}

/// Puts what is set `over` thresholds.
fn put(set: &ModelThresholds, mut over: Thresholds) -> Thresholds {
    if let Some(ModelSeverities { low, medium, high }) = set.discontent {
        over.discontent_low = low;
        over.discontent_medium = medium;
        over.discontent_high = high;
    }
    over.advocate = set.advocate.unwrap_or(over.advocate);
    over
}

/// A setting that can't be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Below its least value.
    #[error("{flag} must be at least {min}, but is {value}")]
    TooSmall {
        /// The flag at fault.
        flag: &'static str,
        /// What it is.
        value: usize,
        /// What it must be.
        min: usize,
    },
    /// Two settings that contradict each other.
    #[error("{0}")]
    Conflict(String),
}

/// The flags of `pounce serve`.
#[derive(Debug, Args)]
pub struct ServeFlags {
    /// Address of the gRPC port
    #[arg(
        long,
        env = "POUNCE_GRPC_ADDR",
        default_value = "127.0.0.1:50051",
        value_name = "IP:PORT"
    )]
    grpc_addr: SocketAddr,
    /// Address of the HTTP port: the live board, /metrics, /healthz, /readyz
    #[arg(
        long,
        env = "POUNCE_HTTP_ADDR",
        default_value = "127.0.0.1:9464",
        value_name = "IP:PORT"
    )]
    http_addr: SocketAddr,
    /// Folder of the model
    #[arg(long, env = "POUNCE_MODEL", default_value = "model", value_name = "DIR")]
    model: PathBuf,
    /// Engine that runs the model [default: what the folder holds]
    #[arg(long, env = "POUNCE_ENGINE", value_parser = engines())]
    engine: Option<EngineKind>,
    /// Where the torch engine computes: cpu or cuda:N
    #[arg(long, env = "POUNCE_DEVICE", default_value_t = Device::Cpu, value_name = "DEVICE")]
    device: Device,
    /// Number format of the torch engine [default: bf16 on processors that have it, else fp32]
    #[arg(long, env = "POUNCE_PRECISION", value_parser = precisions())]
    precision: Option<Precision>,
    /// Names of the model's outputs, in output order, instead of config.json's
    #[arg(long, env = "POUNCE_LABELS", value_delimiter = ',', value_name = "NAME,..")]
    labels: Option<Vec<String>>,
    /// How texts are prepared [default: what config.json says; nothing is changed if it does not]
    #[arg(long, env = "POUNCE_NORMALISATION", value_parser = normalisations())]
    normalisation: Option<Normalisation>,
    /// Worker threads [default: one a core of the process's quota]
    #[arg(long, env = "POUNCE_WORKERS", value_name = "N")]
    workers: Option<usize>,
    /// Posts waiting or being scored, over all streams and calls
    #[arg(long, env = "POUNCE_QUEUE_POSTS_MAX", default_value_t = 8192, value_name = "N")]
    queue_posts_max: usize,
    /// Bytes of their texts
    #[arg(long, env = "POUNCE_QUEUE_BYTES_MAX", default_value_t = 16 << 20, value_name = "BYTES")]
    queue_bytes_max: usize,
    /// Bytes of remembered scores; 0 remembers none
    #[arg(long, env = "POUNCE_CACHE_BYTES_MAX", default_value_t = 16 << 20, value_name = "BYTES")]
    cache_bytes_max: usize,
    /// Posts that run through the model together
    #[arg(long, env = "POUNCE_FORWARD_POSTS_MAX", default_value_t = 8, value_name = "N")]
    forward_posts_max: usize,
    /// Tokens that run through the model together, padding included
    #[arg(long, env = "POUNCE_FORWARD_TOKENS_MAX", default_value_t = 2048, value_name = "N")]
    forward_tokens_max: usize,
    /// Bytes of a post's text
    #[arg(long, env = "POUNCE_TEXT_BYTES_MAX", default_value_t = 8192, value_name = "BYTES")]
    text_bytes_max: usize,
    /// Bytes of a gRPC message
    #[arg(long, env = "POUNCE_MESSAGE_BYTES_MAX", default_value_t = 4 << 20, value_name = "BYTES")]
    message_bytes_max: usize,
    /// Posts of a ScoreBatch call
    #[arg(long, env = "POUNCE_BATCH_POSTS_MAX", default_value_t = 256, value_name = "N")]
    batch_posts_max: usize,
    /// Unanswered posts of a stream
    #[arg(
        long,
        env = "POUNCE_STREAM_POSTS_IN_FLIGHT_MAX",
        default_value_t = 256,
        value_name = "N"
    )]
    stream_posts_in_flight_max: usize,
    /// Open streams a connection
    #[arg(long, env = "POUNCE_CONNECTION_STREAMS_MAX", default_value_t = 128, value_name = "N")]
    connection_streams_max: u32,
    /// Open gRPC connections; more are closed at once
    #[arg(long, env = "POUNCE_CONNECTIONS_MAX", default_value_t = 1024, value_name = "N")]
    connections_max: usize,
    /// Seconds after which a stream is asked to move to another server, each at 80 to 100 % of
    /// them; 0: never
    #[arg(long, env = "POUNCE_STREAM_AGE_MAX", default_value_t = 1800, value_name = "SECONDS")]
    stream_age_max: u64,
    /// P(discontent) from which a post is flagged with severity low, medium, high [default: what the
    /// model's folder says, or 0.6,0.8,0.95]
    #[arg(long, env = "POUNCE_DISCONTENT", value_delimiter = ',', value_name = "LOW,MEDIUM,HIGH")]
    discontent: Option<Vec<f64>>,
    /// P(positive) from which the post of an influential author is an advocate's [default: what the
    /// model's folder says, or 0.8]
    #[arg(long, env = "POUNCE_ADVOCATE", value_name = "P")]
    advocate: Option<f64>,
    /// Followers from which an author is influential
    #[arg(long, env = "POUNCE_INFLUENTIAL_FOLLOWERS", default_value_t = 10_000, value_name = "N")]
    influential_followers: u64,
    /// Topics that metrics name, at most 50; the rest are `_other`
    #[arg(long, env = "POUNCE_TOPIC_LABELS", value_delimiter = ',', value_name = "TOPIC,..")]
    topic_labels: Vec<String>,
    /// TOML file of how posts become alerts on topics [default: what docs/alerts.md says]
    #[arg(long, env = "POUNCE_ALERTS", value_name = "FILE")]
    alerts: Option<PathBuf>,
    /// Topics and places counted at a time; past it the one seen least recently is forgotten
    #[arg(long, env = "POUNCE_TOPICS_MAX", default_value_t = 10_000, value_name = "N")]
    topics_max: usize,
    /// Folder in which what is known of topics outlives a restart [default: it does not]
    #[arg(long, env = "POUNCE_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Offer gRPC reflection
    #[arg(
        long,
        env = "POUNCE_REFLECTION",
        default_value_t = true,
        action = clap::ArgAction::Set,
        value_name = "BOOL"
    )]
    reflection: bool,
    /// Serve the live board at / of the HTTP port
    #[arg(
        long,
        env = "POUNCE_BOARD",
        default_value_t = true,
        action = clap::ArgAction::Set,
        value_name = "BOOL"
    )]
    board: bool,
    /// Show the texts of flagged posts on the live board; the latest are kept in memory
    #[arg(long, env = "POUNCE_BOARD_TEXTS")]
    board_texts: bool,
    /// Certificate of the gRPC port in PEM, and those that vouch for it; with it, gRPC speaks TLS
    #[arg(long, env = "POUNCE_TLS_CERT", requires = "tls_key", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate, in PEM
    #[arg(long, env = "POUNCE_TLS_KEY", requires = "tls_cert", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Certificates in PEM, one of which must vouch for every client's own (mutual TLS)
    #[arg(long, env = "POUNCE_TLS_CLIENT_CA", requires = "tls_cert", value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// File of the bearer tokens that callers need, one a line, as `pounce token` makes them
    #[arg(long, env = "POUNCE_TOKENS", value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Posts a second of each token, with a burst of one second; 0: no limit
    #[arg(long, env = "POUNCE_TOKEN_POSTS_PER_SECOND_MAX", default_value_t = 0, value_name = "N")]
    token_posts_per_second_max: u32,
    /// Collector of traces (OTLP over gRPC), such as http://127.0.0.1:4317
    #[arg(long, env = "POUNCE_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// Share of the calls without a traceparent that are traced, 0 to 1; a traceparent decides
    /// for its own call
    #[arg(long, env = "POUNCE_OTLP_ROOT_SHARE", default_value_t = 0.0, value_name = "SHARE")]
    otlp_root_share: f64,
    /// Seconds between not being ready and asking streams to end, after SIGTERM
    #[arg(long, env = "POUNCE_DRAIN_NOTICE", default_value_t = 5, value_name = "SECONDS")]
    drain_notice: u64,
    /// Seconds for streams to end; what is still open then is cut off
    #[arg(long, env = "POUNCE_DRAIN_TIMEOUT", default_value_t = 20, value_name = "SECONDS")]
    drain_timeout: u64,
}

/// Labels of `pounce_topic_posts_total` that a dashboard can bear.
const TOPIC_LABELS_MAX: usize = 50;
/// Connections that a process may be told to hold.
const CONNECTIONS_MAX: usize = 1 << 20;
/// Share of a batch that may be padding: past it, a batch of its own is faster.
const PADDING_MAX: f64 = 0.15;

impl ServeFlags {
    /// Checks everything that can be checked without a socket, a model or a certificate; reads the
    /// file of `--alerts`.
    /// # Errors
    /// [`ConfigError`] naming the flag.
    pub fn checked(self) -> Result<Config, ConfigError> {
        let workers = self.workers.unwrap_or_else(cores);
        for (flag, value, min) in [
            ("--workers", workers, 1),
            ("--queue-posts-max", self.queue_posts_max, 1),
            ("--queue-bytes-max", self.queue_bytes_max, self.text_bytes_max),
            ("--forward-posts-max", self.forward_posts_max, 1),
            ("--forward-tokens-max", self.forward_tokens_max, 1),
            ("--text-bytes-max", self.text_bytes_max, 1),
            ("--message-bytes-max", self.message_bytes_max, self.text_bytes_max + 2048),
            ("--batch-posts-max", self.batch_posts_max, 1),
            ("--stream-posts-in-flight-max", self.stream_posts_in_flight_max, 1),
            ("--connections-max", self.connections_max, 1),
            ("--topics-max", self.topics_max, 1),
            ("--connection-streams-max", self.connection_streams_max as usize, 1),
        ] {
            if value < min {
                return Err(ConfigError::TooSmall { flag, value, min });
            }
        }
        if self.topic_labels.len() > TOPIC_LABELS_MAX {
            return Err(ConfigError::Conflict(format!(
                "--topic-labels names {} topics, more than {TOPIC_LABELS_MAX}",
                self.topic_labels.len()
            )));
        }
        // More is more than a semaphore can count, and than a process has descriptors.
        if self.connections_max > CONNECTIONS_MAX {
            return Err(ConfigError::Conflict(format!(
                "--connections-max is {}, more than {CONNECTIONS_MAX}",
                self.connections_max
            )));
        }
        let token_posts_per_second_max = NonZeroU32::new(self.token_posts_per_second_max);
        if token_posts_per_second_max.is_some() && self.tokens.is_none() {
            let needs = "--token-posts-per-second-max has no effect without --tokens";
            return Err(ConfigError::Conflict(needs.to_owned()));
        }
        if !(0.0..=1.0).contains(&self.otlp_root_share) {
            return Err(ConfigError::Conflict(format!(
                "--otlp-root-share is {}, not between 0 and 1",
                self.otlp_root_share
            )));
        }
        if self.board_texts && !self.board {
            let needs = "--board-texts has no effect with --board false";
            return Err(ConfigError::Conflict(needs.to_owned()));
        }
        let tls = self.tls_cert.zip(self.tls_key).map(|(cert, key)| TlsFiles {
            cert,
            key,
            client_ca: self.tls_client_ca,
        });
        let discontent = match self.discontent.as_deref() {
            None => None,
            Some(&[low, medium, high]) => Some(ModelSeverities { low, medium, high }),
            Some(_) => {
                return Err(ConfigError::Conflict("--discontent takes three numbers".to_owned()));
            }
        };
        let given = ModelThresholds { discontent, advocate: self.advocate };
        let defaults = Thresholds {
            influential_followers: self.influential_followers,
            ..Thresholds::default()
        };
        let thresholds = put(&given, defaults).checked();
        let thresholds = thresholds.map_err(|error| ConfigError::Conflict(error.to_string()))?;
        Ok(Config {
            grpc_addr: self.grpc_addr,
            http_addr: self.http_addr,
            model: self.model,
            model_spec: ModelSpec {
                engine: self.engine,
                labels: self.labels,
                normalisation: self.normalisation,
                device: self.device,
                precision: self.precision,
            },
            scorer: ScorerLimits {
                workers,
                queue_posts_max: self.queue_posts_max,
                queue_bytes_max: self.queue_bytes_max,
                cache_bytes_max: self.cache_bytes_max,
                batch: BatchLimits {
                    posts_max: self.forward_posts_max,
                    tokens_max: self.forward_tokens_max,
                    padding_max: PADDING_MAX,
                },
            },
            service: ServiceSpec {
                thresholds,
                text_bytes_max: self.text_bytes_max,
                message_bytes_max: self.message_bytes_max,
                batch_posts_max: self.batch_posts_max,
                stream_posts_in_flight_max: self.stream_posts_in_flight_max,
                connection_streams_max: self.connection_streams_max,
                stream_age_max: Some(Duration::from_secs(self.stream_age_max))
                    .filter(|age| !age.is_zero()),
                topic_labels: self.topic_labels,
                reflection: self.reflection,
                connections_max: self.connections_max,
                token_posts_per_second_max,
            },
            given,
            tls,
            tokens: self.tokens,
            board: self.board,
            board_texts: self.board_texts,
            alerts: self.alerts.as_deref().map_or_else(|| Ok(Settings::default()), read_alerts)?,
            topics_max: self.topics_max,
            state_dir: self.state_dir,
            traces: self
                .otlp_endpoint
                .map(|endpoint| TraceSpec { endpoint, root_share: self.otlp_root_share }),
            drain_notice: Duration::from_secs(self.drain_notice),
            drain_timeout: Duration::from_secs(self.drain_timeout),
        })
    }
}

/// Reads and checks a file of alert settings.
/// # Errors
/// [`ConfigError::Conflict`] naming the file and the field.
pub fn read_alerts(file: &Path) -> Result<Settings, ConfigError> {
    let fault = |what: String| ConfigError::Conflict(format!("{}: {what}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| fault(error.to_string()))?;
    Settings::parse(&text).map_err(|error| fault(error.to_string()))
}

/// Cores that the process may use: those of its cgroup's quota.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Reads one of `names`, each with its help, by `parse`.
fn named<T: Clone + Send + Sync + 'static>(
    names: impl IntoIterator<Item = (&'static str, &'static str)>,
    parse: fn(&str) -> Option<T>,
) -> impl TypedValueParser<Value = T> {
    let values = names.into_iter().map(|(name, help)| PossibleValue::new(name).help(help));
    PossibleValuesParser::new(values)
        .try_map(move |name| parse(&name).ok_or("is not among the possible values"))
}

fn engines() -> impl TypedValueParser<Value = EngineKind> {
    let help = |engine| match engine {
        EngineKind::Embedded => "rten on `model.onnx`",
        EngineKind::Torch => {
            "rust-bert on `model.safetensors`, `pytorch_model.bin` or `rust_model.ot`"
        }
    };
    named(EngineKind::ALL.map(|engine| (engine.name(), help(engine))), EngineKind::parse)
}

fn precisions() -> impl TypedValueParser<Value = Precision> {
    let help = |precision| match precision {
        Precision::Fp32 => "32-bit floats: the reference",
        Precision::Bf16 => "16-bit brain floats: about twice as fast where the processor has them",
    };
    named(Precision::ALL.map(|one| (one.name(), help(one))), Precision::parse)
}

fn normalisations() -> impl TypedValueParser<Value = Normalisation> {
    let help = |scheme| match scheme {
        Normalisation::None => {
            "Nothing is changed: the tokenizer gets the text as it came, as in transformers' \
             pipelines"
        }
        Normalisation::SocialV1 => {
            "Mentions, links, e-mail addresses, long numbers, entities, emoji and white space"
        }
        Normalisation::SocialV2 => {
            "As social-v1; then without mentions in front, links at the end, quotes round it and a \
             full stop"
        }
        Normalisation::TweetEval => {
            "Mentions and links alone, as the models of the TweetEval benchmark were trained"
        }
    };
    named(Normalisation::ALL.map(|one| (one.name(), help(one))), Normalisation::parse)
}
