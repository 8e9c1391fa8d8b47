//! `pounce bridge`: posts from a message broker, events to one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use pounce::lifecycle::signals::Signals;
use pounce::metrics;
use pounce::transport::probe_port;
use pounce_bridge::access::Access;
use pounce_bridge::address::Address;
use pounce_bridge::ends::{self, Bounds, End};
use pounce_bridge::status::Status;
use pounce_bridge::stop;
use tokio::net::TcpListener;

use super::connection::ConnectionFlags;

/// The flags of `pounce bridge`.
#[derive(Debug, Args)]
pub(crate) struct BridgeFlags {
    #[command(flatten)]
    from: SourceFlags,
    #[command(flatten)]
    to: SinkFlags,
    #[command(flatten)]
    connection: ConnectionFlags,
    /// Messages read and not yet acknowledged, at most; memory holds so many of the largest message
    /// that the broker allows
    #[arg(
        long,
        env = "POUNCE_BRIDGE_IN_FLIGHT",
        default_value_t = 256,
        value_parser = clap::value_parser!(u32).range(1..=10_000),
        value_name = "N"
    )]
    in_flight: u32,
    /// Seconds within which messages in flight must be done after SIGTERM; the source hands out the
    /// others again
    #[arg(long, env = "POUNCE_BRIDGE_DRAIN_TIMEOUT", default_value_t = 25, value_name = "SECONDS")]
    drain_timeout: u64,
    /// Address of /metrics, /healthz and /readyz
    #[arg(
        long,
        env = "POUNCE_BRIDGE_HTTP_ADDR",
        default_value = "127.0.0.1:9465",
        value_name = "ADDR"
    )]
    http_addr: SocketAddr,
}

#[derive(Debug, Args)]
struct SourceFlags {
    /// Broker that posts come from: nats://HOST:4222/STREAM?subject=..&consumer=.. or
    /// kafka://HOST:9092/TOPIC?group=..; nats+tls or kafka+tls for TLS; format=json or protobuf;
    /// start=oldest or newest for a new consumer or group
    #[arg(long, env = "POUNCE_BRIDGE_FROM", value_name = "URL")]
    from: Address,
    /// Credentials file of NATS (.creds) for the source
    #[arg(long, env = "POUNCE_BRIDGE_FROM_CREDENTIALS", value_name = "FILE")]
    from_credentials: Option<PathBuf>,
    /// User name for the source
    #[arg(
        long,
        env = "POUNCE_BRIDGE_FROM_USER",
        requires = "from_password_file",
        conflicts_with = "from_credentials",
        value_name = "NAME"
    )]
    from_user: Option<String>,
    /// File with the password of that user
    #[arg(
        long,
        env = "POUNCE_BRIDGE_FROM_PASSWORD_FILE",
        requires = "from_user",
        value_name = "FILE"
    )]
    from_password_file: Option<PathBuf>,
    /// CA bundle (PEM) used to verify the certificate of the source [default: the system's]
    #[arg(long, env = "POUNCE_BRIDGE_FROM_CA", value_name = "FILE")]
    from_ca: Option<PathBuf>,
    /// Client certificate (PEM), for a source that asks for one
    #[arg(long, env = "POUNCE_BRIDGE_FROM_CERT", requires = "from_key", value_name = "FILE")]
    from_cert: Option<PathBuf>,
    /// Private key of that certificate (PEM)
    #[arg(long, env = "POUNCE_BRIDGE_FROM_KEY", requires = "from_cert", value_name = "FILE")]
    from_key: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct SinkFlags {
    /// Broker that events go to: nats://HOST:4222/STREAM?subject=..&dead=.. or
    /// kafka://HOST:9092/TOPIC?dead=..; `dead` gets the messages that can't be scored
    #[arg(long, env = "POUNCE_BRIDGE_TO", value_name = "URL")]
    to: Address,
    /// Credentials file of NATS (.creds) for the sink
    #[arg(long, env = "POUNCE_BRIDGE_TO_CREDENTIALS", value_name = "FILE")]
    to_credentials: Option<PathBuf>,
    /// User name for the sink
    #[arg(
        long,
        env = "POUNCE_BRIDGE_TO_USER",
        requires = "to_password_file",
        conflicts_with = "to_credentials",
        value_name = "NAME"
    )]
    to_user: Option<String>,
    /// File with the password of that user
    #[arg(long, env = "POUNCE_BRIDGE_TO_PASSWORD_FILE", requires = "to_user", value_name = "FILE")]
    to_password_file: Option<PathBuf>,
    /// CA bundle (PEM) used to verify the certificate of the sink [default: the system's]
    #[arg(long, env = "POUNCE_BRIDGE_TO_CA", value_name = "FILE")]
    to_ca: Option<PathBuf>,
    /// Client certificate (PEM), for a sink that asks for one
    #[arg(long, env = "POUNCE_BRIDGE_TO_CERT", requires = "to_key", value_name = "FILE")]
    to_cert: Option<PathBuf>,
    /// Private key of that certificate (PEM)
    #[arg(long, env = "POUNCE_BRIDGE_TO_KEY", requires = "to_cert", value_name = "FILE")]
    to_key: Option<PathBuf>,
}

/// Bridges until SIGTERM or SIGINT, then lets what is in flight be done.
pub(crate) async fn run(flags: BridgeFlags) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let client = flags.connection.fleet()?;
    let (from, to) = (flags.from.end(), flags.to.end());
    let bounds = Bounds {
        in_flight_max: flags.in_flight,
        drain_timeout: Duration::from_secs(flags.drain_timeout),
    };
    let handle = metrics::install_bridge(env!("CARGO_PKG_VERSION"))?;
    let listener = TcpListener::bind(flags.http_addr).await;
    let listener = listener.map_err(|error| format!("--http-addr {}: {error}", flags.http_addr))?;
    let signals = Signals::new()?;
    let (stopper, stop) = stop::channel();
    tokio::spawn(async move {
        signals.end_asked_for(Duration::ZERO).await;
        tracing::info!("stopping: no more messages are read");
        stopper.stop();
    });
    tracing::info!(
        from = from.address.name,
        to = to.address.name,
        http = %listener.local_addr()?,
        "the bridge has started"
    );
    let status = Arc::new(Status::default());
    let seen = Arc::clone(&status);
    let bridge = Box::pin(ends::run(client, &from, &to, bounds, status, stop));
    probe_port::serve_while(listener, handle, metrics::UPKEEP, move || seen.ready(), bridge)
        .await?;
    tracing::info!("stopped: nothing is in flight");
    Ok(ExitCode::SUCCESS)
}

impl SourceFlags {
    fn end(self) -> End {
        let access = Access {
            credentials: self.from_credentials,
            user: self.from_user.zip(self.from_password_file),
            ca: self.from_ca,
            identity: self.from_cert.zip(self.from_key),
        };
        End { address: self.from, access }
    }
}

impl SinkFlags {
    fn end(self) -> End {
        let access = Access {
            credentials: self.to_credentials,
            user: self.to_user.zip(self.to_password_file),
            ca: self.to_ca,
            identity: self.to_cert.zip(self.to_key),
        };
        End { address: self.to, access }
    }
}
