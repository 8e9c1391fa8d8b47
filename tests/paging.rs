//! Lists by pages, and a watch that holds when thousands of alerts fire.

mod support;

use std::collections::HashSet;
use std::time::Duration;

use futures::{Stream, StreamExt};
use pounce_alerts::{AlertEngine, AuthorHash, HashKey, Observation, Settings, Signal};
use pounce_client::{ClientError, WatchSpec, Watched};
use pounce_proto::alert_service_client::AlertServiceClient;
use pounce_proto::{
    Alert, AlertChangeKind, AlertFilter, AlertState, ListAlertsRequest, ListTopicsRequest,
    TopicStatus,
};
use pounce_types::clock::now;
use pounce_types::post::{AuthorId, Place, PostId, Timestamp, Topic};
use pounce_types::score::{DiscontentSource, Sentiment, Severity};
use prost::Message;
use support::{Service, Spec};
use tonic::Code;
use tonic::transport::Channel;

const ALERTS: usize = 9_000;
/// What a client takes by default.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// What the service under test counts by.
fn signal() -> Signal {
    Signal {
        model: "tiny".to_owned(),
        revision: "r1".to_owned(),
        source: DiscontentSource::Negative,
        threshold: 0.6,
    }
}

/// An engine in which three authors with an audience complained about each of `ALERTS` topics at
/// the end of a minute that closes `closes` from now.
fn engine(closes: Duration) -> AlertEngine {
    let mut engine = AlertEngine::new(Settings::default(), 20_000);
    engine.use_signal(signal());
    let lag = Duration::from_secs(60);
    let heard_at = now().after(closes).before(lag + Duration::from_secs(1));
    let end = heard_at.millis() / 60_000 * 60_000;
    let at = Timestamp::from_millis(end - 1000);
    let key = HashKey::from_bytes([1; 16]);
    let authors: Vec<AuthorHash> =
        (0..3_u8).map(|nth| key.author(&AuthorId::parse(&[b'a' + nth]).expect("an id"))).collect();
    for nth in 0..ALERTS {
        let topic = Topic::parse(format!("Topic {nth}").as_bytes()).expect("a topic");
        for (id, author) in (b'A'..).zip(&authors) {
            let observation = Observation {
                topic: topic.clone(),
                place: (nth == 0).then(|| Place::parse(&[id]).expect("a place")),
                post_id: PostId::parse(id.to_string().as_bytes()).expect("an id"),
                author: Some(*author),
                followers: 50_000,
                at,
                foreign: false,
                sentiment: Sentiment::Negative,
                discontent: Some(Severity::Low),
                signal: signal().id(),
                near_text: None,
            };
            engine.observe(&observation, heard_at);
        }
    }
    engine
}

/// As [`engine`], its alerts open.
fn firing_engine() -> AlertEngine {
    let mut engine = engine(Duration::ZERO);
    assert_eq!(engine.tick(now()).len(), ALERTS);
    engine
}

async fn start(alerts: AlertEngine) -> Service {
    Service::start(Spec { alerts, ..Spec::default() }).await
}

async fn client(service: &Service) -> AlertServiceClient<Channel> {
    AlertServiceClient::new(service.channel().await).max_decoding_message_size(64 << 20)
}

async fn by_pages(
    client: &mut AlertServiceClient<Channel>,
    first: ListAlertsRequest,
) -> Vec<Alert> {
    let (mut alerts, mut request) = (Vec::new(), first);
    loop {
        let page = client.list_alerts(request.clone()).await.expect("a page").into_inner();
        assert!(page.encoded_len() < MESSAGE_BYTES_MAX);
        assert!(page.alerts.len() <= usize::try_from(request.page_size).expect("a size"));
        alerts.extend(page.alerts);
        if page.next_page_token.is_empty() {
            return alerts;
        }
        request.page_token = page.next_page_token;
    }
}

fn ids(alerts: &[Alert]) -> Vec<&str> {
    alerts.iter().map(|alert| alert.id.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nine_thousand_alerts_are_listed_by_pages_those_that_fire_first() {
    let mut engine = firing_engine();
    let service = start(engine.clone()).await;
    let mut client = client(&service).await;
    let all = client.list_alerts(ListAlertsRequest::default()).await.expect("a list");
    let all = all.into_inner();
    assert_eq!((all.alerts.len(), all.next_page_token.as_str()), (ALERTS, ""));
    let first = ListAlertsRequest { page_size: 500, ..ListAlertsRequest::default() };
    let paged = by_pages(&mut client, first.clone()).await;
    assert_eq!(ids(&paged), ids(&all.alerts));
    let distinct: HashSet<&str> = ids(&paged).into_iter().collect();
    assert_eq!(distinct.len(), ALERTS);

    let odd = ListAlertsRequest {
        page_size: 7,
        filter: Some(topics(&["TOPIC  1", "topic 2"])),
        ..first.clone()
    };
    assert_eq!(by_pages(&mut client, odd).await.len(), 2, "whatever the spelling");
    let large = ListAlertsRequest { page_size: 100_000, ..first.clone() };
    let large = client.list_alerts(large).await.expect("a page").into_inner();
    assert_eq!(large.alerts.len(), 500, "more is cut to a page, and told");
    let token = large.next_page_token;
    for (request, told) in [
        (ListAlertsRequest { page_size: -1, ..first.clone() }, "page_size is out of range"),
        (ListAlertsRequest { page_token: "x".into(), ..first.clone() }, "page_token is none"),
        (
            ListAlertsRequest { page_token: token.clone(), resolved: true, ..first.clone() },
            "page_token is of a list with other fields",
        ),
    ] {
        let refused = client.list_alerts(request).await.expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().starts_with(told), "{refused}");
    }
    let rest = ListAlertsRequest { page_size: 0, page_token: token, ..first };
    assert_eq!(client.list_alerts(rest).await.expect("a page").into_inner().alerts.len(), 500);
    service.stop().await;

    // Those that resolved come after those that fire.
    engine.tick(now().after(Duration::from_secs(3 * 3600)));
    let service = start(engine).await;
    let mut client = self::client(&service).await;
    let resolved = ListAlertsRequest {
        page_size: 499,
        resolved: true,
        filter: None,
        page_token: String::new(),
    };
    let resolved = by_pages(&mut client, resolved).await;
    assert_eq!(resolved.len(), ALERTS);
    assert!(resolved.iter().all(|alert| alert.state() == AlertState::Resolved));
    service.stop().await;
}

fn topics(names: &[&str]) -> AlertFilter {
    let topics = names.iter().map(|name| (*name).to_owned()).collect();
    AlertFilter { topics, ..AlertFilter::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_and_the_places_of_one_are_listed_by_pages() {
    let service = start(firing_engine()).await;
    let mut client = client(&service).await;
    let list = async |client: &mut AlertServiceClient<Channel>, first: ListTopicsRequest| {
        let (mut listed, mut request): (Vec<TopicStatus>, _) = (Vec::new(), first);
        loop {
            let page = client.list_topics(request.clone()).await.expect("a page").into_inner();
            assert!(page.encoded_len() < MESSAGE_BYTES_MAX);
            listed.extend(page.topics);
            if page.next_page_token.is_empty() {
                return listed;
            }
            request.page_token = page.next_page_token;
        }
    };
    let all = ListTopicsRequest { page_size: 1000, ..ListTopicsRequest::default() };
    let all = list(&mut client, all).await;
    let names: HashSet<&str> = all.iter().map(|status| status.topic.as_str()).collect();
    assert_eq!((all.len(), names.len()), (ALERTS, ALERTS));
    let of =
        ListTopicsRequest { page_size: 2, topic: "topic 0".into(), ..ListTopicsRequest::default() };
    let places = list(&mut client, of.clone()).await;
    let places: Vec<_> = places.iter().map(|of| (of.topic.as_str(), of.place.as_str())).collect();
    assert_eq!(places, [("Topic 0", "A"), ("Topic 0", "B"), ("Topic 0", "C")]);
    // A client that knows no pages gets what it always got, and is told that there is more.
    let old = client.list_topics(ListTopicsRequest::default()).await.expect("topics").into_inner();
    assert_eq!(old.topics.len(), 100);
    assert!(!old.next_page_token.is_empty());
    for (request, code) in [
        (
            ListTopicsRequest { topics_max: 1001, ..ListTopicsRequest::default() },
            Code::InvalidArgument,
        ),
        (ListTopicsRequest { page_size: -5, ..of.clone() }, Code::InvalidArgument),
        (ListTopicsRequest { page_token: old.next_page_token, ..of }, Code::InvalidArgument),
        (
            ListTopicsRequest { topic: "nobody".into(), ..ListTopicsRequest::default() },
            Code::NotFound,
        ),
    ] {
        let refused = client.list_topics(request).await.expect_err("refused");
        assert_eq!(refused.code(), code, "{refused}");
    }
    service.stop().await;
}

/// Reads a watch until it told of `count` alerts in the way of `kind`, each once.
async fn told(
    watch: &mut (impl Stream<Item = Result<Watched, ClientError>> + Unpin),
    kind: impl Fn(AlertChangeKind) -> bool,
    count: usize,
) {
    let mut ids = HashSet::new();
    let read = async {
        while ids.len() < count {
            match watch.next().await.expect("it watches on").expect("no refusal") {
                Watched::Change(change) if kind(change.kind()) => {
                    let id = change.alert.expect("an alert").id;
                    assert!(ids.insert(id), "told twice");
                }
                Watched::Missed(_) | Watched::Connected | Watched::Lost(_) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), read).await.expect("all are told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_outlives_a_restart_with_nine_thousand_alerts() {
    let mut alerts = firing_engine();
    let first = start(alerts.clone()).await;
    let addr = first.addr;
    let client = first.client();
    let mut watch = Box::pin(client.watch(WatchSpec::default()));
    told(&mut watch, |kind| kind == AlertChangeKind::Firing, ALERTS).await;
    first.stop().await;
    alerts.tick(now().after(Duration::from_secs(3 * 3600)));
    let second = Service::start(Spec { alerts, addr, ..Spec::default() }).await;
    told(&mut watch, |kind| kind == AlertChangeKind::Resolved, ALERTS).await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_hears_of_nine_thousand_alerts_that_open_at_once() {
    let service = start(engine(Duration::from_secs(5))).await;
    let client = service.client();
    let mut watch = Box::pin(client.watch(WatchSpec::default()));
    let opened = |kind| matches!(kind, AlertChangeKind::Opened | AlertChangeKind::Firing);
    told(&mut watch, opened, ALERTS).await;
    service.stop().await;
}
