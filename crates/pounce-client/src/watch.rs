//! One watch over as many streams as it takes.
//!
//! A new stream goes on after the last change, if the service can, or begins with what fires: of
//! that only what was not told before is told. What ended meanwhile is looked up.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures::Stream;
use tokio::time::Instant;
use tonic::{Status, Streaming};

use crate::backoff::Backoff;
use crate::connection::Line;
use crate::error::{ClientError, is_passing, reason};
use pounce_proto::alert_service_client::AlertServiceClient;
use pounce_proto::watch_alerts_response::Message;
use pounce_proto::{
    Advocate, Alert, AlertChange, AlertChangeKind, AlertFilter, AlertState, ListAlertsRequest,
    WatchAlertsRequest, WatchAlertsResponse,
};

/// A stream that lived for less did not help: the next pause is longer.
const STABLE_AFTER: Duration = Duration::from_secs(2);

/// Alerts of a page: the most that a service gives.
const PAGE_SIZE: i32 = 500;

/// What a watch wants to hear of.
#[derive(Debug, Clone, Default)]
pub struct WatchSpec {
    /// Which alerts; its topics and places hold for advocates too.
    pub filter: AlertFilter,
    /// Whether to hear of advocates.
    pub advocates: bool,
}

/// What a watch tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Watched {
    /// The stream is open; what fires and was not told before follows.
    Connected,
    /// The stream ended, for this reason; a new one is being opened.
    Lost(String),
    /// An alert changed, or was firing when the watch began.
    Change(Box<AlertChange>),
    /// An alert that was firing is unknown to the service: it restarted without
    /// its state. As it was told last.
    Forgotten(Box<Alert>),
    /// Praise of an author with an audience.
    Advocate(Advocate),
    /// So many changes came too fast to be told. What they led to follows.
    Missed(u64),
    /// So many advocates came too fast to be told.
    AdvocatesMissed(u64),
}

pub(super) fn watch(
    service: AlertServiceClient<Line>,
    spec: WatchSpec,
) -> impl Stream<Item = Result<Watched, ClientError>> + Send {
    async_stream::stream! {
        let mut told = Told::default();
        let mut backoff = Backoff::new();
        let mut connected = false;
        // One word for each loss, however many attempts it takes.
        let mut lost = false;
        loop {
            let opened = Instant::now();
            let status = match open(service.clone(), &spec, &told).await {
                Ok((mut stream, listed)) => {
                    (connected, lost) = (true, false);
                    yield Ok(Watched::Connected);
                    for news in told.catch_up(listed) {
                        yield Ok(news);
                    }
                    loop {
                        match stream.message().await {
                            Ok(Some(response)) => {
                                let Some(news) = told.hear(response) else { continue };
                                let missed = matches!(news, Watched::Missed(_));
                                yield Ok(news);
                                if missed {
                                    match list(&mut service.clone(), &spec.filter).await {
                                        Ok(listed) => for news in told.catch_up_missed(listed) {
                                            yield Ok(news);
                                        },
                                        Err(status) => break status,
                                    }
                                }
                            }
                            Ok(None) => break Status::unavailable("the service ended the watch"),
                            Err(status) => break status,
                        }
                    }
                }
                Err(status) => status,
            };
            if !connected || !is_passing(&status) {
                yield Err(ClientError::of(status));
                break;
            }
            if !std::mem::replace(&mut lost, true) {
                yield Ok(Watched::Lost(reason(&status)));
            }
            if opened.elapsed() >= STABLE_AFTER {
                backoff.reset();
            }
            backoff.wait().await;
        }
    }
}

/// Opens a stream and then, if alerts were firing when the last one ended, looks
/// up what has become of them.
async fn open(
    mut service: AlertServiceClient<Line>,
    spec: &WatchSpec,
    told: &Told,
) -> Result<(Streaming<WatchAlertsResponse>, Option<Vec<Alert>>), Status> {
    let filter = Some(spec.filter.clone());
    let request = WatchAlertsRequest {
        filter: filter.clone(),
        advocates: spec.advocates,
        resume_after: told.position.clone(),
    };
    let stream = service.watch_alerts(request).await?.into_inner();
    if told.firing.is_empty() {
        return Ok((stream, None));
    }
    let listed = list(&mut service, &spec.filter).await?;
    Ok((stream, Some(listed)))
}

/// All alerts that fire or resolved in the last day, read by pages.
pub(super) async fn list(
    service: &mut AlertServiceClient<Line>,
    filter: &AlertFilter,
) -> Result<Vec<Alert>, Status> {
    let (mut alerts, mut page_token) = (Vec::new(), String::new());
    loop {
        let filter = Some(filter.clone());
        let request =
            ListAlertsRequest { filter, resolved: true, page_size: PAGE_SIZE, page_token };
        let page = service.list_alerts(request).await?.into_inner();
        alerts.extend(page.alerts);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(alerts);
        }
    }
}

/// What was told already.
#[derive(Default)]
struct Told {
    /// Alerts that fire, by id, as they were told last.
    firing: HashMap<String, Alert>,
    /// Alerts whose end was looked up: their stream may tell of it again.
    ended: HashSet<String>,
    /// Of the last change; empty where the service has none.
    position: String,
}

impl Told {
    /// What `listed`, all alerts that fire or resolved in the last day, tells of those
    /// that were firing and fire no more.
    fn catch_up(&mut self, listed: Option<Vec<Alert>>) -> Vec<Watched> {
        self.ended.clear();
        let Some(listed) = listed else { return Vec::new() };
        let mut now: HashMap<String, Alert> =
            listed.into_iter().map(|alert| (alert.id.clone(), alert)).collect();
        let mut news = Vec::new();
        self.firing.retain(|id, last| match now.remove(id) {
            Some(alert) if alert.state() == AlertState::Resolved => {
                self.ended.insert(id.clone());
                let kind = AlertChangeKind::Resolved.into();
                news.push(Watched::Change(Box::new(AlertChange {
                    kind,
                    alert: Some(alert),
                    ..AlertChange::default()
                })));
                false
            }
            Some(_) => true,
            None => {
                news.push(Watched::Forgotten(Box::new(std::mem::take(last))));
                false
            }
        });
        news
    }

    /// What `listed`, all alerts that fire or resolved in the last day, tells of the changes that
    /// came too fast. Those that the stream has still to tell are in it too.
    fn catch_up_missed(&mut self, listed: Vec<Alert>) -> Vec<Watched> {
        let firing: Vec<Alert> =
            listed.iter().filter(|alert| alert.state() == AlertState::Firing).cloned().collect();
        let mut news = self.catch_up(Some(listed));
        for alert in firing {
            let kind = AlertChangeKind::Firing.into();
            let alert = Some(alert);
            news.extend(self.change(AlertChange { kind, alert, ..AlertChange::default() }));
        }
        news
    }

    /// What a message of the stream tells that is new.
    fn hear(&mut self, response: WatchAlertsResponse) -> Option<Watched> {
        match response.message? {
            Message::Change(change) => self.change(change),
            Message::Advocate(advocate) => Some(Watched::Advocate(advocate)),
            Message::Missed(missed) => Some(Watched::Missed(missed)),
            Message::AdvocatesMissed(missed) => Some(Watched::AdvocatesMissed(missed)),
        }
    }

    fn change(&mut self, change: AlertChange) -> Option<Watched> {
        if !change.position.is_empty() {
            self.position.clone_from(&change.position);
        }
        let alert = change.alert.as_ref()?;
        // Some alerts are acknowledged or closed once they are over.
        let over = alert.state() == AlertState::Resolved;
        let new = match change.kind() {
            AlertChangeKind::Resolved => {
                self.firing.remove(&alert.id);
                !self.ended.remove(&alert.id)
            }
            // One that was looked up since is told already, and so is its end.
            _ if self.ended.contains(&alert.id) => false,
            _ if over => true,
            _ => {
                let last = self.firing.insert(alert.id.clone(), alert.clone());
                last.is_none_or(|last| last != *alert)
            }
        };
        new.then(|| Watched::Change(Box::new(change)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pounce_proto::Severity;

    fn alert(id: &str) -> Alert {
        let state = AlertState::Firing.into();
        Alert { id: id.to_owned(), state, ..Alert::default() }
    }

    fn over(id: &str) -> Alert {
        Alert { state: AlertState::Resolved.into(), ..alert(id) }
    }

    fn change(kind: AlertChangeKind, alert: Alert) -> WatchAlertsResponse {
        let change =
            AlertChange { kind: kind.into(), alert: Some(alert), ..AlertChange::default() };
        WatchAlertsResponse { message: Some(Message::Change(change)) }
    }

    /// A watch that was told of alerts `a` and `b`.
    fn told() -> Told {
        let mut told = Told::default();
        assert!(told.hear(change(AlertChangeKind::Firing, alert("a"))).is_some());
        assert!(told.hear(change(AlertChangeKind::Opened, alert("b"))).is_some());
        told
    }

    #[test]
    fn what_fires_is_told_again_only_if_it_changed() {
        let mut told = told();
        assert_eq!(told.catch_up(Some(vec![alert("a"), alert("b")])), []);
        assert_eq!(told.hear(change(AlertChangeKind::Firing, alert("a"))), None);
        let worse = Alert { severity: Severity::High.into(), ..alert("b") };
        assert!(told.hear(change(AlertChangeKind::Firing, worse)).is_some());
        assert!(told.hear(change(AlertChangeKind::Firing, alert("c"))).is_some());
    }

    #[test]
    fn what_ended_meanwhile_is_told_once() {
        let mut told = told();
        let news = told.catch_up(Some(vec![over("a"), alert("b"), over("never told")]));
        let [Watched::Change(end)] = &news[..] else { panic!("one end, not {news:?}") };
        assert_eq!((end.kind(), &end.alert), (AlertChangeKind::Resolved, &Some(over("a"))));
        assert_eq!(told.hear(change(AlertChangeKind::Resolved, over("a"))), None);
        assert!(told.hear(change(AlertChangeKind::Resolved, over("b"))).is_some());
    }

    #[test]
    fn what_is_closed_once_it_is_over_fires_no_more() {
        let mut told = Told::default();
        assert!(told.hear(change(AlertChangeKind::Opened, alert("a"))).is_some());
        assert!(told.hear(change(AlertChangeKind::Resolved, over("a"))).is_some());
        assert!(told.hear(change(AlertChangeKind::Closed, over("a"))).is_some());
        assert_eq!(told.catch_up(Some(vec![])), [], "nothing was firing");
    }

    #[test]
    fn what_was_missed_is_looked_up_and_told_once() {
        let mut told = told();
        let news =
            told.catch_up_missed(vec![over("a"), alert("b"), alert("c"), over("never told")]);
        let ids: Vec<_> = news
            .iter()
            .map(|news| match news {
                Watched::Change(change) => {
                    (change.kind(), change.alert.as_ref().map_or("", |alert| &alert.id))
                }
                other => panic!("a change, not {other:?}"),
            })
            .collect();
        assert_eq!(ids, [(AlertChangeKind::Resolved, "a"), (AlertChangeKind::Firing, "c")]);
        // The stream goes on with what it had in store.
        assert_eq!(told.hear(change(AlertChangeKind::Escalated, alert("a"))), None);
        assert_eq!(told.hear(change(AlertChangeKind::Resolved, over("a"))), None);
        assert_eq!(told.hear(change(AlertChangeKind::Opened, alert("c"))), None);
        assert!(told.hear(change(AlertChangeKind::Resolved, over("c"))).is_some());
    }

    #[test]
    fn what_the_service_knows_no_more_is_told_as_forgotten() {
        let mut told = told();
        let news = told.catch_up(Some(vec![alert("b")]));
        assert_eq!(news, [Watched::Forgotten(Box::new(alert("a")))]);
        assert_eq!(told.catch_up(Some(vec![alert("b")])), []);
    }
}
