//! Alerts closed with an outcome: through the service's own door, with tokens, on replicas that
//! share a log, and across restarts.

#[path = "support/nats.rs"]
mod nats;
mod support;
#[path = "support/token_file.rs"]
mod token_file;

use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use nats::Nats;
use pounce::alerting::state::StateDir;
use pounce::auth::tokens::Scope;
use pounce_client::{Access, Client, Reply, StreamSpec};
use pounce_proto::alert_service_client::AlertServiceClient;
use pounce_proto::watch_alerts_response::Message;
use pounce_proto::{
    AcknowledgeAlertRequest, Alert, AlertChange, AlertChangeKind, AlertFilter, AlertState,
    CaseOutcome, CloseAlertRequest, WatchAlertsRequest,
};
use pounce_replication::{EntryForm, Membership};
use support::{Service, Spec, angry, counts, metric};
use token_file::TokenFile;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

const LIMIT: Duration = Duration::from_secs(60);

async fn alerts(service: &Service) -> AlertServiceClient<Channel> {
    AlertServiceClient::new(service.channel().await)
}

/// Has a crowd scored that is unhappy.
async fn feed(client: &Client) {
    let posts = futures::stream::iter((0..60).map(angry).map(Ok));
    let replies: Vec<_> = client.score_all(posts, StreamSpec::default()).collect().await;
    assert!(replies.iter().all(|reply| matches!(reply, Ok(Reply::Event(_)))), "{replies:?}");
}

async fn listed(service: &Service) -> Vec<Alert> {
    service.client().list_alerts(&AlertFilter::default()).await.expect("a list")
}

/// An alert that fires after a crowd was unhappy.
async fn an_alert(service: &Service) -> Alert {
    feed(&service.client()).await;
    let alerts = listed(service).await;
    let firing = alerts.into_iter().find(|alert| alert.state() == AlertState::Firing);
    firing.expect("it fires")
}

fn closing(id: &str, by: &str, outcome: CaseOutcome) -> CloseAlertRequest {
    let (id, by, note) = (id.to_owned(), by.to_owned(), "a joke".to_owned());
    CloseAlertRequest { id, by, outcome: outcome.into(), note }
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, says: &str) -> Status {
    let status = answer.expect_err(says);
    assert_eq!(status.code(), code, "{status}");
    assert!(status.message().contains(says), "{status}");
    status
}

async fn watch(service: &Service) -> Streaming<pounce_proto::WatchAlertsResponse> {
    let watch = alerts(service).await.watch_alerts(WatchAlertsRequest::default()).await;
    watch.expect("a watch").into_inner()
}

/// The next closing that a watch tells.
async fn told(watch: &mut Streaming<pounce_proto::WatchAlertsResponse>) -> AlertChange {
    let next = async {
        loop {
            let next = watch.message().await.expect("no status").expect("it goes on");
            if let Some(Message::Change(change)) = next.message
                && change.kind() == AlertChangeKind::Closed
            {
                return change;
            }
        }
    };
    tokio::time::timeout(LIMIT, next).await.expect("told in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_closed_once_goes_on_firing_and_everybody_hears_of_it() {
    let service = Service::start(Spec::default()).await;
    let alert = an_alert(&service).await;
    assert_eq!((&alert.acknowledgement, &alert.closing), (&None, &None));
    let series = r#"pounce_alerts_closed_total{severity="high",outcome="false_alarm"}"#;
    let severity = alert.severity().name();
    let series = series.replace("high", severity);
    let (before, taken) =
        (metric(&series), metric(r#"pounce_alert_ack_seconds_count{kind="share"}"#));
    let mut watch = watch(&service).await;
    let mut client = alerts(&service).await;

    let unset = closing(&alert.id, "ann", CaseOutcome::Unspecified);
    refused(client.close_alert(unset).await, Code::InvalidArgument, "outcome is required");
    let unknown =
        CloseAlertRequest { outcome: 9, ..closing(&alert.id, "ann", CaseOutcome::Answered) };
    refused(client.close_alert(unknown).await, Code::InvalidArgument, "outcome has an unknown");
    let nobody = closing(&alert.id, " ", CaseOutcome::Answered);
    refused(client.close_alert(nobody).await, Code::InvalidArgument, "by is required");
    let long = CloseAlertRequest {
        note: "x".repeat(1025),
        ..closing(&alert.id, "ann", CaseOutcome::Answered)
    };
    refused(client.close_alert(long).await, Code::InvalidArgument, "note has 1025 bytes");
    let none = closing("none", "ann", CaseOutcome::Answered);
    refused(client.close_alert(none).await, Code::NotFound, "no alert has this id");

    let close = closing(&alert.id, "ann", CaseOutcome::FalseAlarm);
    for _ in 0..2 {
        let closed = client.close_alert(close.clone()).await.expect("it fires").into_inner();
        let closed = closed.alert.expect("an alert");
        assert_eq!(closed.state(), AlertState::Firing, "its rule decides when it ends");
        let taken = closed.acknowledgement.expect("whoever closes an alert takes it");
        let closing = closed.closing.expect("closed");
        assert_eq!((closing.outcome(), &*closing.by), (CaseOutcome::FalseAlarm, "ann"));
        assert_eq!((&*closing.note, &*taken.by), ("a joke", "ann"));
        assert_eq!(closing.at, taken.at);
    }
    let change = told(&mut watch).await;
    assert_eq!(change.alert.map(|alert| alert.id).as_deref(), Some(&*alert.id));
    for (by, outcome) in [("bob", CaseOutcome::FalseAlarm), ("ann", CaseOutcome::Answered)] {
        let again = client.close_alert(closing(&alert.id, by, outcome)).await;
        let says = "the alert was closed by ann as false_alarm";
        let status = refused(again, Code::FailedPrecondition, says);
        let details = status.get_error_details();
        let info = details.error_info().expect("details");
        assert_eq!((&*info.reason, &*info.domain), ("CLOSED", "pounce.v1.AlertService"));
        assert_eq!((&*info.metadata["by"], &*info.metadata["outcome"]), ("ann", "false_alarm"));
    }
    assert_eq!(metric(&series) - before, 1.0);
    assert_eq!(metric(r#"pounce_alert_ack_seconds_count{kind="share"}"#) - taken, 1.0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tokens_who_closes_an_alert_is_who_holds_the_token() {
    let file = TokenFile::new();
    let reader = file.add("reader", &[Scope::Score, Scope::AlertsRead]);
    let ann = file.add("ann", &[Scope::AlertsRead, Scope::AlertsWrite]);
    let tokens = Some(file.open());
    let service = Service::start(Spec { tokens, ..Spec::default() }).await;
    let client = |token: &str| {
        let access = Access { token: Some(token.to_owned()), ..Access::default() };
        Client::connect_with(&service.url(), &access).expect("an address")
    };
    let (reader, ann) = (client(&reader), client(&ann));
    feed(&reader).await;
    let alert = reader.list_alerts(&AlertFilter::default()).await.expect("a list").remove(0);
    let answered = closing(&alert.id, "", CaseOutcome::Answered);
    let denied = reader.alerts().close_alert(answered.clone()).await;
    refused(denied, Code::PermissionDenied, "not good for this call");
    let other = CloseAlertRequest { by: "bob".to_owned(), ..answered.clone() };
    let says = "by must be empty or the name of your token, ann";
    refused(ann.alerts().close_alert(other).await, Code::InvalidArgument, says);
    let closed = ann.alerts().close_alert(answered).await.expect("hers").into_inner().alert;
    assert_eq!(
        closed.and_then(|alert| alert.closing).map(|closing| closing.by).as_deref(),
        Some("ann")
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outcomes_outlive_a_restart_and_a_damaged_file_costs_them_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let start = async || {
        let state = Some(StateDir::open(folder.path()).expect("writable"));
        Service::start(Spec { state, ..Spec::default() }).await
    };
    let service = start().await;
    let alert = an_alert(&service).await;
    let file = folder.path().join("outcomes.snapshot");
    let close = closing(&alert.id, "ann", CaseOutcome::CouldNotReach);
    alerts(&service).await.close_alert(close.clone()).await.expect("it fires");
    let before = listed(&service).await;
    service.stop().await;

    let service = start().await;
    assert_eq!(listed(&service).await, before);
    alerts(&service).await.close_alert(close).await.expect("done before");
    service.stop().await;

    let mut bytes = std::fs::read(&file).expect("kept");
    let last = bytes.len() - 20;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).expect("written");
    let service = start().await;
    let after = listed(&service).await;
    assert_eq!(after.len(), before.len(), "alerts are kept beside");
    assert!(after.iter().all(|alert| alert.closing.is_none()));
    assert!(folder.path().join("outcomes.snapshot.bad-1").exists());
    service.stop().await;
}

async fn replica(nats: &Nats) -> Service {
    member(nats, Membership::default()).await
}

async fn member(nats: &Nats, membership: Membership) -> Service {
    let observations = Some(nats.log("test").await);
    let service = Service::start(Spec { observations, membership, ..Spec::default() }).await;
    counts(&service).await;
    service
}

/// Waits until all replicas show the same alerts, of which `closed` are closed.
async fn same_everywhere(replicas: &[&Service], closed: usize) -> Vec<Alert> {
    let agreed = async {
        loop {
            let lists = join_all(replicas.iter().map(|service| listed(service))).await;
            let count = lists[0].iter().filter(|alert| alert.closing.is_some()).count();
            if count == closed && lists.iter().all(|list| *list == lists[0]) {
                return lists.into_iter().next().expect("a list");
            }
        }
    };
    tokio::time::timeout(LIMIT, agreed).await.expect("all replicas show the same alerts")
}

/// Closes an alert as soon as the log answers: until then nobody knows what came of it.
async fn answered(service: &Service, close: &CloseAlertRequest) -> Alert {
    let mut client = alerts(service).await;
    let closing = async {
        loop {
            match client.close_alert(close.clone()).await {
                Ok(closed) => return closed.into_inner().alert.expect("an alert"),
                Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status}"),
            }
        }
    };
    tokio::time::timeout(LIMIT, closing).await.expect("the log answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn of_closings_at_the_same_moment_one_wins_and_every_replica_knows_it() {
    let mut nats = Nats::start();
    let replicas = [replica(&nats).await, replica(&nats).await];
    let reading = replica(&nats).await;
    let alert = an_alert(&replicas[0]).await;
    let mut watch = watch(&reading).await;

    let wishes = [("ann", CaseOutcome::Answered), ("bob", CaseOutcome::FalseAlarm)];
    let closings = replicas.iter().zip(wishes).map(async |(service, (by, outcome))| {
        alerts(service).await.close_alert(closing(&alert.id, by, outcome)).await
    });
    let (won, lost): (Vec<_>, Vec<_>) =
        join_all(closings).await.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 1));
    let won = won.into_iter().next().and_then(Result::ok).expect("one").into_inner();
    let won = won.alert.and_then(|alert| alert.closing).expect("closed");
    for other in lost {
        let says = format!("closed by {} as {}", won.by, won.outcome().name());
        refused(other, Code::FailedPrecondition, &says);
    }
    let change = told(&mut watch).await;
    assert_eq!(change.alert.and_then(|alert| alert.closing).as_ref(), Some(&won));
    let [one, two] = &replicas;
    let before = same_everywhere(&[one, two, &reading], 1).await;

    // A replica that comes later reads it in the log ...
    let late = replica(&nats).await;
    assert_eq!(same_everywhere(&[one, &late], 1).await, before);
    // ... and, once the log is lost, in the snapshot of those that are left.
    nats.kill();
    nats.restart_empty();
    let again = closing(&alert.id, &won.by, won.outcome());
    for service in [one, two, &late] {
        assert_eq!(answered(service, &again).await.closing.as_ref(), Some(&won), "done before");
    }
    let later = replica(&nats).await;
    let after = same_everywhere(&[one, two, &reading, &late, &later], 1).await;
    let ids = |alerts: &[Alert]| alerts.iter().map(|alert| alert.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&after), ids(&before));
    assert_eq!(answered(&later, &again).await.closing, Some(won));
    for service in replicas.into_iter().chain([reading, late, later]) {
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_an_older_release_reads_the_log_alerts_are_taken_and_not_closed() {
    let nats = Nats::start();
    // Of members that are silent it is known after two seconds that they have left.
    let reading = |reads| Membership { reads, silence_max: Duration::from_secs(2) };
    let older = member(&nats, reading(EntryForm::Cases)).await;
    let newer = member(&nats, reading(EntryForm::NEWEST)).await;
    let alert = an_alert(&newer).await;
    let close = closing(&alert.id, "ann", CaseOutcome::Answered);
    let says = "replicas of an older release are in the fleet";
    refused(alerts(&newer).await.close_alert(close.clone()).await, Code::Unavailable, says);
    let (id, by, note) = (alert.id, "bob".to_owned(), String::new());
    let take = AcknowledgeAlertRequest { id, by, note };
    alerts(&newer).await.acknowledge_alert(take).await.expect("all releases read that");
    assert!(older.health.alerts_ready(), "it reads all that the other writes");
    older.stop().await;
    let closed = answered(&newer, &close).await;
    assert_eq!(closed.closing.map(|closing| closing.by).as_deref(), Some("ann"));
    assert_eq!(closed.acknowledgement.map(|taken| taken.by).as_deref(), Some("bob"));
    newer.stop().await;
}
