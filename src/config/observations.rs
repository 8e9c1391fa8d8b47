//! The log through which the replicas of a fleet count as one.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use pounce_replication::jet_stream::is_fleet_name;
use pounce_replication::{Credentials, JetStreamSpec};

use super::error::{ConfigError, within};

/// Room for some seconds of a large fleet.
const BYTES_MIN: u64 = 16 << 20;
/// Shortest silence that may be asked for, in milliseconds.
const SILENCE_MIN: u64 = 50;
/// In milliseconds.
const SILENCE_DEFAULT: u64 = 250;

#[derive(Debug, Args)]
#[command(next_help_heading = "Replicas that count as one")]
pub(super) struct ObservationFlags {
    /// Servers of NATS JetStream, such as nats://HOST:4222 or tls://HOST:4222, whose log all
    /// replicas of a fleet share: topics, alerts and acknowledgements are then the same on each
    /// [default: each process counts for itself]
    #[arg(long, env = "POUNCE_OBSERVATIONS", value_delimiter = ',', value_name = "URL,..")]
    observations: Vec<String>,
    /// Name of the fleet: replicas with the same name share a log; letters, digits, - and _
    #[arg(long, env = "POUNCE_FLEET", default_value = "pounce", value_name = "NAME")]
    fleet: String,
    /// File with a secret of the fleet, 16 bytes or more, the same for each replica: it keys the
    /// hashes of authors and texts in the log [default: none: who reads the log can try names]
    #[arg(long, env = "POUNCE_FLEET_SECRET", requires = "observations", value_name = "FILE")]
    fleet_secret: Option<PathBuf>,
    /// Credentials file for NATS (.creds)
    #[arg(
        long,
        env = "POUNCE_OBSERVATIONS_CREDENTIALS",
        requires = "observations",
        value_name = "FILE"
    )]
    observations_credentials: Option<PathBuf>,
    /// User name for NATS
    #[arg(
        long,
        env = "POUNCE_OBSERVATIONS_USER",
        requires_all = ["observations", "observations_password_file"],
        conflicts_with = "observations_credentials",
        value_name = "NAME"
    )]
    observations_user: Option<String>,
    /// File with the password of that user
    #[arg(
        long,
        env = "POUNCE_OBSERVATIONS_PASSWORD_FILE",
        requires = "observations_user",
        value_name = "FILE"
    )]
    observations_password_file: Option<PathBuf>,
    /// CA bundle (PEM) used to verify the certificate of NATS; with it, the connection must be TLS
    /// [default: the system's]
    #[arg(long, env = "POUNCE_OBSERVATIONS_CA", requires = "observations", value_name = "FILE")]
    observations_ca: Option<PathBuf>,
    /// Servers of NATS that keep a copy of the log: 1, 3 or 5; applies when the log is made
    #[arg(long, env = "POUNCE_OBSERVATIONS_COPIES", default_value_t = 1, value_name = "N")]
    observations_copies: usize,
    /// Bytes that the log may take in NATS; snapshots may take half as much besides; applies when
    /// the log is made
    #[arg(
        long,
        env = "POUNCE_OBSERVATIONS_BYTES_MAX",
        default_value_t = 1 << 30,
        value_name = "BYTES"
    )]
    observations_bytes_max: u64,
    /// Longest silence of the log for which replies wait, in milliseconds, at most half of
    /// --drain-timeout or 250; after it, posts are answered as not counted yet, and count when the log is back
    #[arg(
        long,
        env = "POUNCE_OBSERVATIONS_SILENCE_MAX",
        default_value_t = SILENCE_DEFAULT,
        value_name = "MILLISECONDS"
    )]
    observations_silence_max: u64,
}

/// The log of a fleet.
#[derive(Debug, Clone)]
pub struct ObservationsConfig {
    /// How to reach it.
    pub log: JetStreamSpec,
    /// File with the secret of the fleet.
    pub secret: Option<PathBuf>,
    /// Replies wait for a log that is silent no longer than this.
    pub silence_max: Duration,
}

impl ObservationFlags {
    pub(super) fn checked(
        self,
        drain_timeout: Duration,
    ) -> Result<Option<ObservationsConfig>, ConfigError> {
        if self.observations.is_empty() {
            return Ok(None);
        }
        let fault = |flag, value: &str, range: &str| ConfigError::OutOfRange {
            flag,
            value: value.to_owned(),
            range: range.to_owned(),
        };
        let servers = self.observations.iter().map(|url| {
            let range = "a URL such as nats://HOST:4222 or tls://HOST:4222";
            url.parse().map_err(|_| fault("--observations", url, range))
        });
        let servers = servers.collect::<Result<_, _>>()?;
        if !is_fleet_name(&self.fleet) {
            return Err(fault("--fleet", &self.fleet, "1 to 32 letters, digits, - and _"));
        }
        if ![1, 3, 5].contains(&self.observations_copies) {
            let copies = self.observations_copies.to_string();
            return Err(fault("--observations-copies", &copies, "1, 3 or 5"));
        }
        let password = self.observations_user.zip(self.observations_password_file);
        let password =
            password.map(|(user, password_file)| Credentials::Password { user, password_file });
        let log = JetStreamSpec {
            servers,
            fleet: self.fleet,
            credentials: self.observations_credentials.map(Credentials::Creds).or(password),
            ca: self.observations_ca,
            copies: self.observations_copies,
            bytes_max: within(
                "--observations-bytes-max",
                self.observations_bytes_max,
                BYTES_MIN,
                1 << 40,
            )?,
        };
        // A drain has to answer what waits.
        let half = u64::try_from(drain_timeout.as_millis() / 2).unwrap_or(u64::MAX);
        let (silence_max, max) = (self.observations_silence_max, half.max(SILENCE_DEFAULT));
        if !(SILENCE_MIN..=max).contains(&silence_max) {
            let range = format!(
                "{SILENCE_MIN} to {max} milliseconds: half of --drain-timeout, and {SILENCE_DEFAULT} at least"
            );
            return Err(fault("--observations-silence-max", &silence_max.to_string(), &range));
        }
        Ok(Some(ObservationsConfig {
            log,
            secret: self.fleet_secret,
            silence_max: Duration::from_millis(silence_max),
        }))
    }
}
