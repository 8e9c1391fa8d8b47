//! `AlertService`: shells around the engine.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::alerting::advocates::Advocates;
use crate::alerting::counter::Counter;
use crate::alerting::monitor::AlertMonitor;
use crate::alerting::replicated::error::{AcknowledgeError, CloseAlertError};
use crate::alerting::wire::{
    Filter, show_advocate, show_alert, show_change, show_firing, show_topic,
};
use crate::auth::caller::Caller;
use crate::change_feed::{Changes, News};
use crate::lifecycle::drain::{Drain, Phase};
use crate::requests::{self, NOTE_BYTES_MAX, acting, at_most, check_by, invalid, page_token};
use crate::wire::outcome;
use pounce_alerts::alert::{Alert, AlertChange};
use pounce_alerts::{Acknowledged, CloseAction, CloseError, ClosedAlert};
use pounce_proto::alert_service_server::AlertService;
use pounce_proto::watch_alerts_response::Message;
use pounce_proto::{
    AcknowledgeAlertRequest, AcknowledgeAlertResponse, CloseAlertRequest, CloseAlertResponse,
    GetTopicRequest, GetTopicResponse, ListAlertsRequest, ListAlertsResponse, ListTopicsRequest,
    ListTopicsResponse, WatchAlertsRequest, WatchAlertsResponse,
};
use pounce_replication::{ChangePosition, NumberedChange};
use pounce_types::post::{Fault, Place, Topic};

/// Domain of the reasons in error details.
const DOMAIN: &str = "pounce.v1.AlertService";
/// Longer than any id of an alert.
const ID_BYTES_MAX: usize = 64;
/// Alerts of a page: with names and notes of any length they fit into the 4 MiB that clients
/// take by default.
const ALERTS_MAX: usize = 500;
/// Alerts of a list that is not read by pages.
const UNPAGED_MAX: usize = 10_000;
/// Topics or places of a page.
const TOPICS_MAX: usize = 1000;
const TOPICS_DEFAULT: usize = 100;

/// The service's handlers.
pub(crate) struct Alerts {
    pub(crate) monitor: AlertMonitor,
    pub(crate) counter: Counter,
    pub(crate) advocates: Advocates,
    pub(crate) drain: Drain,
}

#[tonic::async_trait]
impl AlertService for Alerts {
    type WatchAlertsStream =
        Pin<Box<dyn Stream<Item = Result<WatchAlertsResponse, Status>> + Send>>;

    async fn watch_alerts(
        &self,
        request: Request<WatchAlertsRequest>,
    ) -> Result<Response<Self::WatchAlertsStream>, Status> {
        let mut caller = Caller::of(request.extensions());
        let WatchAlertsRequest { filter, advocates, resume_after } = request.into_inner();
        let filter = Filter::parse(filter)?;
        let mut advocates = advocates.then(|| self.advocates.watch());
        let seen = requests::resume_after(&resume_after)?;
        let Begun { missed, firing, seen, mut changes } = begin(&self.monitor, seen);
        let mut drain = self.drain.clone();
        let watched = async_stream::stream! {
            for alert in firing.iter().rev().filter(|alert| filter.passes(alert)) {
                yield Message::Change(show_firing(alert));
            }
            for change in missed.iter().filter(|change| filter.passes(&change.change.alert)) {
                yield Message::Change(show_change(change));
            }
            loop {
                tokio::select! {
                    // However many advocates there are, alerts come first.
                    biased;
                    change = changes.recv() => match change {
                        // The watcher comes again, and begins with what is known now.
                        Ok(News::Replaced) => break,
                        Ok(News::Changed(change))
                            if filter.passes(&change.change.alert) && !change.was_seen(seen) =>
                        {
                            yield Message::Change(show_change(&change));
                        }
                        Ok(News::Changed(_)) => {}
                        Err(RecvError::Lagged(missed)) => yield Message::Missed(missed),
                        Err(RecvError::Closed) => break,
                    },
                    advocate = next(&mut advocates) => match advocate {
                        Ok(advocate) if filter.passes_advocate(&advocate) => {
                            yield Message::Advocate(show_advocate(&advocate));
                        }
                        Ok(_) => {}
                        Err(RecvError::Lagged(missed)) => yield Message::AdvocatesMissed(missed),
                        Err(RecvError::Closed) => break,
                    },
                }
            }
        };
        let over = async move {
            tokio::select! {
                () = drain.reached(Phase::Draining) => {}
                () = caller.taken_away() => {}
            }
        };
        let watched = watched.map(|message| Ok(WatchAlertsResponse { message: Some(message) }));
        Ok(Response::new(Box::pin(watched.take_until(Box::pin(over)))))
    }

    async fn list_alerts(
        &self,
        request: Request<ListAlertsRequest>,
    ) -> Result<Response<ListAlertsResponse>, Status> {
        let ListAlertsRequest { filter, resolved, page_size, page_token } = request.into_inner();
        let filter = Filter::parse(filter)?;
        let list = (&filter, resolved);
        let after = page_token::decode(&list, &page_token)?;
        let paged = page_size != 0 || after.is_some();
        let max = if paged { requests::page_size(page_size, ALERTS_MAX)? } else { UNPAGED_MAX };
        let page = self.monitor.read(|engine| {
            engine.alerts_page(resolved, |alert| filter.passes(alert), after.as_ref(), max)
        });
        let next = page.next.map(|next| page_token::encode(&list, &next));
        if !paged && next.is_some() {
            let told = format!("more than {UNPAGED_MAX} alerts: set page_size to read by pages");
            return Err(Status::resource_exhausted(told));
        }
        Ok(Response::new(ListAlertsResponse {
            alerts: page.items.iter().map(show_alert).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn acknowledge_alert(
        &self,
        request: Request<AcknowledgeAlertRequest>,
    ) -> Result<Response<AcknowledgeAlertResponse>, Status> {
        let AcknowledgeAlertRequest { id, by, note } = request.into_inner();
        let acknowledged = acknowledge(&self.counter, &id, &by, &note).await?;
        let alert = Some(show_alert(&acknowledged.alert));
        Ok(Response::new(AcknowledgeAlertResponse { alert }))
    }

    async fn close_alert(
        &self,
        request: Request<CloseAlertRequest>,
    ) -> Result<Response<CloseAlertResponse>, Status> {
        let caller = Caller::of(request.extensions());
        let CloseAlertRequest { id, by, outcome: wire, note } = request.into_inner();
        let action = CloseAction { id, by, outcome: outcome(wire)?, note };
        let closed = close(&self.counter, &caller, action).await?;
        let alert = Some(show_alert(&closed.alert));
        Ok(Response::new(CloseAlertResponse { alert }))
    }

    async fn get_topic(
        &self,
        request: Request<GetTopicRequest>,
    ) -> Result<Response<GetTopicResponse>, Status> {
        let GetTopicRequest { topic, place } = request.into_inner();
        let topic = Topic::parse(topic.as_bytes()).map_err(|fault| invalid("topic", &fault))?;
        let place = (!place.is_empty()).then(|| Place::parse(place.as_bytes())).transpose();
        let place = place.map_err(|fault| invalid("place", &fault))?;
        let status = self.monitor.read(|engine| engine.topic(&topic, place.as_ref()));
        let unknown = match &place {
            Some(_) => "no post of this topic and place was counted",
            None => "no post of this topic was counted",
        };
        let status = status.ok_or_else(|| Status::not_found(unknown))?;
        Ok(Response::new(GetTopicResponse { status: Some(show_topic(&status)) }))
    }

    async fn list_topics(
        &self,
        request: Request<ListTopicsRequest>,
    ) -> Result<Response<ListTopicsResponse>, Status> {
        let ListTopicsRequest { topics_max, page_size, page_token, topic } = request.into_inner();
        let of = (!topic.is_empty()).then(|| Topic::parse(topic.as_bytes())).transpose();
        let of = of.map_err(|fault| invalid("topic", &fault))?;
        let after = page_token::decode(&of, &page_token)?;
        let max = match usize::try_from(topics_max).unwrap_or(usize::MAX) {
            _ if page_size != 0 => requests::page_size(page_size, TOPICS_MAX)?,
            0 => TOPICS_DEFAULT,
            max if max <= TOPICS_MAX => max,
            _ => return Err(invalid("topics_max", &Fault::OutOfRange { range: "1 to 1000" })),
        };
        let page = self.monitor.read(|engine| match &of {
            Some(topic) => engine.places_page(topic, after.as_ref(), max),
            None => Some(engine.topics_page(after.as_ref(), max)),
        });
        let page = page.ok_or_else(|| Status::not_found("no post of this topic was counted"))?;
        let next = page.next.map(|next| page_token::encode(&of, &next));
        Ok(Response::new(ListTopicsResponse {
            topics: page.items.iter().map(show_topic).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }
}

/// Notes who took an alert.
pub(crate) async fn acknowledge(
    counter: &Counter,
    id: &str,
    by: &str,
    note: &str,
) -> Result<Acknowledged, Status> {
    check_by(by)?;
    at_most("id", id, ID_BYTES_MAX)?;
    at_most("note", note, NOTE_BYTES_MAX)?;
    counter.acknowledge(id, by, note).await.map_err(|error| match error {
        AcknowledgeError::Unknown(_) => Status::not_found(error.to_string()),
        AcknowledgeError::LogSilent => Status::unavailable(error.to_string()),
    })
}

/// Closes an alert with an outcome, by whoever calls.
pub(crate) async fn close(
    counter: &Counter,
    caller: &Caller,
    action: CloseAction,
) -> Result<ClosedAlert, Status> {
    let by = acting(caller, action.by)?;
    at_most("id", &action.id, ID_BYTES_MAX)?;
    at_most("note", &action.note, NOTE_BYTES_MAX)?;
    let closed = counter.close_alert(CloseAction { by, ..action }).await;
    closed.map_err(|error| match &error {
        CloseAlertError::Close(CloseError::Unknown(_)) => Status::not_found(error.to_string()),
        CloseAlertError::Close(CloseError::Closed { by, outcome }) => {
            let known = [("by", by.as_str()), ("outcome", outcome.name())];
            let known = known.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let details = ErrorDetails::with_error_info("CLOSED", DOMAIN, known);
            Status::with_error_details(Code::FailedPrecondition, error.to_string(), details)
        }
        CloseAlertError::LogSilent | CloseAlertError::OlderReplicas => {
            Status::unavailable(error.to_string())
        }
    })
}

/// How a watch begins: with the changes that it missed, or with what fires.
struct Begun {
    missed: Vec<Arc<NumberedChange>>,
    firing: Vec<Alert>,
    /// The last change that the watcher knows, where it goes on after it.
    seen: Option<ChangePosition>,
    /// Every change after those.
    changes: Changes<AlertChange>,
}

fn begin(monitor: &AlertMonitor, seen: Option<ChangePosition>) -> Begun {
    if let Some((missed, changes)) = seen.and_then(|seen| monitor.watch_after(seen)) {
        return Begun { missed, firing: Vec::new(), seen, changes };
    }
    let (firing, changes) = monitor.watch(|engine| engine.alerts(false));
    Begun { missed: Vec::new(), firing, seen: None, changes }
}

/// What is heard next; waits without end where nobody listens.
async fn next<T: Clone>(receiver: &mut Option<Receiver<T>>) -> Result<T, RecvError> {
    match receiver {
        Some(receiver) => receiver.recv().await,
        None => std::future::pending().await,
    }
}
