//! Posts alerts to every Alertmanager: at once when one changes, and all of them at an interval.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use pounce_alerts::AlertEngine;
use pounce_alerts::alert::{Alert, AlertChange};
use pounce_alerts::key::AlertId;
use pounce_replication::NumberedChange;
use pounce_types::clock::now;
use pounce_types::post::Timestamp;
use reqwest::Client;
use tokio::sync::broadcast::error::RecvError;

use super::alertmanager::{AlertTemplate, PostableAlert};
use super::freshness::{Freshness, Telling};
use super::metrics;
use super::outbox::{AS_TOLD_FOR, Firing, INTERVAL, Outbox};
use crate::alerting::monitor::AlertMonitor;
use crate::change_feed::{Changes, News};
use crate::lifecycle::reload::FileError;
use crate::transport::trust;

/// Longest time for an Alertmanager to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Changes within so long of each other are told in one request.
const GROUP_WAIT: Duration = Duration::from_secs(1);
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
    /// An alert on a topic that is further behind the clock than this calls nobody.
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

    /// Tells of the alerts of `monitor`, which are those of now while `is_up_to_date`, without end.
    /// Safe to drop: what fires then ends by itself.
    pub async fn run(self, monitor: AlertMonitor, is_up_to_date: impl Fn() -> bool + Send) {
        let mut outbox = Outbox::new(self.spec.template.clone(), self.spec.age_max);
        let mut freshness = Freshness::new(is_up_to_date, AS_TOLD_FOR);
        let ((), mut changes) = monitor.watch(|_| ());
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let heard = tokio::select! {
                _ = interval.tick() => None,
                news = changes.recv() => match news {
                    Ok(News::Changed(change)) => heard_soon(change, &mut changes).await,
                    Ok(News::Replaced) | Err(RecvError::Lagged(_)) => None,
                    Err(RecvError::Closed) => return,
                },
            };
            let telling = freshness.look(Instant::now());
            let due = due(&mut outbox, &monitor, heard.as_deref(), telling, now());
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

/// A change and those that come soon after it; none if they are not all that happened.
async fn heard_soon(
    first: Arc<NumberedChange>,
    changes: &mut Changes<AlertChange>,
) -> Option<Vec<Arc<NumberedChange>>> {
    let mut heard = vec![first];
    let soon = async {
        loop {
            match changes.recv().await {
                Ok(News::Changed(change)) => heard.push(change),
                Ok(News::Replaced) | Err(RecvError::Lagged(_)) => break true,
                Err(RecvError::Closed) => break false,
            }
        }
    };
    let missed = tokio::time::timeout(GROUP_WAIT, soon).await.unwrap_or(false);
    (!missed).then_some(heard)
}

/// What is to be told after changes; without them, all that fires and what has ended.
fn due(
    outbox: &mut Outbox,
    monitor: &AlertMonitor,
    heard: Option<&[Arc<NumberedChange>]>,
    telling: Telling,
    now: Timestamp,
) -> Vec<PostableAlert> {
    match (telling, heard) {
        (Telling::AsItIs, Some(heard)) => {
            let heard = heard.iter().map(|numbered| &numbered.change);
            let told = heard.filter(|change| outbox.hear(change, now));
            let ids: BTreeSet<AlertId> = told.map(|change| change.alert.id.clone()).collect();
            ids.iter().flat_map(|id| outbox.due(id, now)).collect()
        }
        (Telling::AsItIs, None) => {
            outbox.sync(monitor.read(firing), now);
            outbox.all_due(now)
        }
        (Telling::AsItWas, None) => outbox.all_as_told(now),
        // Seen at the first interval at which it is up to date.
        (Telling::AsItWas, Some(_)) | (Telling::Nothing, _) => Vec::new(),
    }
}

fn firing(engine: &AlertEngine) -> Vec<Firing> {
    let with_watermark = |alert: Alert| {
        let watermark = engine.watermark_of(&alert.key.topic)?;
        Some(Firing { alert, watermark })
    };
    engine.alerts(false).into_iter().filter_map(with_watermark).collect()
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

#[cfg(test)]
mod tests {
    use pounce_alerts::{HashKey, Observation, Settings, Signal};
    use pounce_types::post::{AuthorId, PostId, Topic};
    use pounce_types::score::{DiscontentSource, Sentiment, Severity};

    use super::super::alertmanager::tests::at;
    use super::*;

    const DAY: u64 = 24 * 60;
    /// Minutes after which it is now.
    const NOW: u64 = 8 * DAY;

    fn signal() -> Signal {
        Signal {
            model: "tiny".to_owned(),
            revision: "r1".to_owned(),
            source: DiscontentSource::Output,
            threshold: 0.5,
        }
    }

    /// An engine whose alert was opened by posts of minute `posted` that came at [`NOW`]; it has
    /// been restarted 40 minutes later, while the alert fires.
    fn engine(posted: u64) -> AlertEngine {
        let mut engine = AlertEngine::new(Settings::default(), 10);
        engine.use_signal(signal());
        for author in 0..3 {
            let name = format!("author-{author}");
            let author = AuthorId::parse(name.as_bytes()).expect("an author");
            let observation = Observation {
                topic: Topic::parse(b"kite").expect("a topic"),
                place: None,
                post_id: PostId::parse(name.as_bytes()).expect("an id"),
                author: Some(HashKey::from_bytes([7; 16]).author(&author)),
                followers: 50_000,
                at: at(posted),
                foreign: false,
                sentiment: Sentiment::Negative,
                discontent: Some(Severity::Low),
                signal: signal().id(),
                near_text: None,
            };
            engine.observe(&observation, at(NOW));
        }
        for minute in 0..=40 {
            engine.tick(at(NOW + minute));
        }
        let mut snapshot = Vec::new();
        engine.snapshot().write(&mut snapshot).expect("a vector takes everything");
        let engine = AlertEngine::restore(&*snapshot, Settings::default(), 10).expect("its own");
        assert_eq!(engine.alerts(false).len(), 1);
        engine
    }

    fn monitor(posted: u64) -> AlertMonitor {
        AlertMonitor::new(engine(posted), signal()).expect("random bytes")
    }

    fn outbox() -> Outbox {
        Outbox::new(AlertTemplate::default(), Duration::from_secs(25 * 60))
    }

    #[test]
    fn after_a_restart_alerts_of_live_posts_are_told_and_those_of_recorded_ones_are_not() {
        for (posted, told) in [(NOW, 1), (NOW - 7 * DAY, 0)] {
            let now = at(NOW + 40);
            let due = due(&mut outbox(), &monitor(posted), None, Telling::AsItIs, now);
            assert_eq!(due.len(), told, "posts of minute {posted}");
        }
    }

    #[test]
    fn a_replica_that_is_behind_escalates_nothing_and_is_silent_in_the_end() {
        let (mut outbox, monitor) = (outbox(), monitor(NOW));
        let mut escalations = |telling, minute| -> Vec<String> {
            let due = due(&mut outbox, &monitor, None, telling, at(minute));
            due.iter().map(|post| post.labels["escalation"].clone()).collect()
        };
        assert!(escalations(Telling::Nothing, NOW + 2).is_empty());
        assert_eq!(escalations(Telling::AsItIs, NOW + 3), ["none"]);
        assert_eq!(escalations(Telling::AsItWas, NOW + 30), ["none"]);
        assert!(escalations(Telling::Nothing, NOW + 30).is_empty());
        assert_eq!(escalations(Telling::AsItIs, NOW + 30), ["none", "overdue"]);
    }
}
