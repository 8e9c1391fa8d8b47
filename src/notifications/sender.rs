//! Posts alerts to every Alertmanager: at once when one changes, and all of them at an interval.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use pounce_alerts::alert::Alert;
use pounce_alerts::key::AlertId;
use pounce_replication::NumberedChange;
use pounce_types::clock::now;
use reqwest::Client;
use tokio::sync::broadcast::error::RecvError;

use super::alertmanager::{AlertTemplate, PostableAlert};
use super::metrics;
use super::outbox::{INTERVAL, Outbox};
use crate::alerting::monitor::{AlertMonitor, Changes, News};
use crate::lifecycle::reload::FileError;
use crate::transport::trust;

/// Longest time for an Alertmanager to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Changes within so long of each other are told in one request.
const TOGETHER: Duration = Duration::from_secs(1);
/// Alerts of one request.
const REQUEST_ALERTS_MAX: usize = 256;

/// Where alerts are told, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationSpec {
    /// Addresses of Alertmanagers, each told of everything: they know of each other's.
    pub alertmanagers: Vec<String>,
    /// What proves to an Alertmanager who we are.
    pub credentials: Option<Credentials>,
    /// CA bundle (PEM) used to verify an Alertmanager's certificate; none: the system's.
    pub ca: Option<PathBuf>,
    /// Labels, links.
    pub template: AlertTemplate,
    /// An alert of a minute longer ago than this calls nobody.
    pub age_max: Duration,
}

/// Read from their file for each request, so that they may be renewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A bearer token.
    Token {
        /// Holds it and nothing else.
        file: PathBuf,
    },
    /// A name and a password.
    Basic {
        /// The name.
        user: String,
        /// Holds the password and nothing else.
        password_file: PathBuf,
    },
}

impl Credentials {
    fn file(&self) -> &Path {
        match self {
            Self::Token { file } | Self::Basic { password_file: file, .. } => file,
        }
    }

    /// Reads the token or the password.
    fn secret(&self) -> Result<String, FileError> {
        let file = self.file();
        let secret = std::fs::read_to_string(file).map_err(|error| FileError::new(file, error))?;
        match secret.trim() {
            "" => Err(FileError::new(file, "is empty")),
            secret => Ok(secret.to_owned()),
        }
    }
}

/// Tells alerts to every Alertmanager.
pub struct Notifier {
    client: Client,
    spec: Arc<NotificationSpec>,
}

impl Notifier {
    /// Reads the files that `spec` names. Nothing is sent yet.
    /// # Errors
    /// [`FileError`] naming a file that can't be read or is invalid.
    pub fn open(spec: NotificationSpec) -> Result<Self, FileError> {
        let client = client(spec.ca.as_deref())?;
        if let Some(credentials) = &spec.credentials {
            credentials.secret()?;
        }
        metrics::register(&spec.alertmanagers);
        Ok(Self { client, spec: Arc::new(spec) })
    }

    /// Tells of the alerts of `monitor`, without end. Safe to drop: what fires then ends by itself.
    pub async fn run(self, monitor: AlertMonitor) {
        let mut outbox = Outbox::new(self.spec.template.clone(), self.spec.age_max);
        let (fired, mut changes) = monitor.watch(|engine| engine.alerts(false));
        outbox.replace(fired, now());
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let due = tokio::select! {
                _ = interval.tick() => outbox.all_due(now()),
                change = changes.recv() => match change {
                    Ok(News::Changed(change)) => {
                        let mut heard = vec![change];
                        match heard_soon(&mut changes, &mut heard).await {
                            None => told_of(&mut outbox, &heard),
                            Some(gap) => caught_up(&mut outbox, &monitor, gap),
                        }
                    }
                    Ok(News::Replaced) => caught_up(&mut outbox, &monitor, Gap::Replaced),
                    Err(RecvError::Lagged(_)) => caught_up(&mut outbox, &monitor, Gap::Missed),
                    Err(RecvError::Closed) => return,
                },
            };
            for alerts in due.chunks(REQUEST_ALERTS_MAX) {
                join_all(self.spec.alertmanagers.iter().map(|url| self.tell(url, alerts))).await;
            }
        }
    }

    /// Posts alerts to one Alertmanager; what fails is told again at the next interval.
    async fn tell(&self, url: &str, alerts: &[PostableAlert]) {
        let told = self.post(url, alerts).await;
        metrics::sent(url, told.is_ok());
        if let Err(error) = told {
            tracing::warn!(alertmanager = url, alerts = alerts.len(), error, "not notified");
        }
    }

    async fn post(&self, url: &str, alerts: &[PostableAlert]) -> Result<(), String> {
        let mut request = self.client.post(format!("{url}/api/v2/alerts")).json(alerts);
        if let Some(credentials) = &self.spec.credentials {
            let secret = credentials.secret().map_err(|error| error.to_string())?;
            request = match credentials {
                Credentials::Token { .. } => request.bearer_auth(secret),
                Credentials::Basic { user, .. } => request.basic_auth(user, Some(secret)),
            };
        }
        let response = request.send().await.map_err(|error| causes(&error.without_url()))?;
        let status = response.status();
        if status.is_success() { Ok(()) } else { Err(format!("it answered {status}")) }
    }
}

/// Takes in the changes that come soon after the first; tells of a gap among them.
async fn heard_soon(changes: &mut Changes, heard: &mut Vec<Arc<NumberedChange>>) -> Option<Gap> {
    let soon = async {
        loop {
            match changes.recv().await {
                Ok(News::Changed(change)) => heard.push(change),
                Ok(News::Replaced) => break Some(Gap::Replaced),
                Err(RecvError::Lagged(_)) => break Some(Gap::Missed),
                Err(RecvError::Closed) => break None,
            }
        }
    };
    tokio::time::timeout(TOGETHER, soon).await.ok().flatten()
}

/// Why changes are not all that happened.
#[derive(Clone, Copy)]
enum Gap {
    /// There were more than could be kept.
    Missed,
    /// Another state took the place of the one that was watched.
    Replaced,
}

/// What is to be told after changes.
fn told_of(outbox: &mut Outbox, heard: &[Arc<NumberedChange>]) -> Vec<PostableAlert> {
    let ids: BTreeSet<AlertId> = heard
        .iter()
        .filter(|change| outbox.hear(&change.change, now()))
        .map(|change| change.change.alert.id.clone())
        .collect();
    ids.iter().flat_map(|id| outbox.due(id, now())).collect()
}

/// What is to be told after a gap: all that fires, and what has ended.
fn caught_up(outbox: &mut Outbox, monitor: &AlertMonitor, gap: Gap) -> Vec<PostableAlert> {
    match gap {
        Gap::Missed => outbox.catch_up(firing(monitor), now()),
        Gap::Replaced => outbox.replace(firing(monitor), now()),
    }
    outbox.all_due(now())
}

fn firing(monitor: &AlertMonitor) -> Vec<Alert> {
    monitor.read(|engine| engine.alerts(false))
}

/// An error with what caused it: the outer one says only that a request failed.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text += &format!(": {inner}");
        cause = inner.source();
    }
    text
}

fn client(ca: Option<&Path>) -> Result<Client, FileError> {
    let client = Client::builder().tls_backend_preconfigured(trust::client_config(ca)?);
    let built = client.timeout(TIMEOUT).build();
    built.map_err(|error| FileError::new(ca.unwrap_or(Path::new("TLS")), error))
}
