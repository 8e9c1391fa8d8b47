//! `pounce bridge` between the streams of a real NATS and a service whose engine the test directs.

#[path = "support/nats.rs"]
mod nats;
#[path = "support/proxy.rs"]
mod proxy;
mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::jetstream::{self, Context, consumer, stream};
use futures::StreamExt;
use nats::Nats;
use pounce_bridge::access::Access;
use pounce_bridge::ends::{self, Bounds, End, RunError};
use pounce_bridge::status::Status;
use pounce_bridge::stop::{self, Stopper};
use pounce_client::Client;
use pounce_proto::{Post, ScoredEvent, Sentiment};
use prost::Message;
use proxy::{Network, Proxy};
use serde_json::{Value, json};
use support::{Service, Spec, eventually};
use tokio::task::JoinHandle;

/// A NATS with a stream of posts and one of events.
struct Broker {
    nats: Nats,
    context: Context,
}

impl Broker {
    async fn start() -> Self {
        let nats = Nats::start();
        let context = jetstream::new(async_nats::connect(nats.url()).await.expect("it listens"));
        let made = [("POSTS", vec!["posts"]), ("EVENTS", vec!["events", "events.dead"])];
        for (name, subjects) in made {
            let subjects = subjects.into_iter().map(str::to_owned).collect();
            let config = stream::Config { name: name.into(), subjects, ..Default::default() };
            context.create_stream(config).await.expect("a stream");
        }
        Self { nats, context }
    }

    async fn publish(&self, payload: impl Into<Vec<u8>>) {
        let sent = self.context.publish("posts", payload.into().into()).await;
        sent.expect("sent").await.expect("stored");
    }

    /// What lies in the stream of events under a subject, by payload and headers.
    async fn stored(&self, subject: &str) -> Vec<async_nats::Message> {
        let stream = self.context.get_stream("EVENTS").await.expect("a stream");
        let config = consumer::pull::OrderedConfig {
            filter_subject: subject.to_owned(),
            ..Default::default()
        };
        let reader = stream.create_consumer(config).await.expect("a consumer");
        let count = reader.cached_info().num_pending;
        let messages = reader.messages().await.expect("messages");
        let count = usize::try_from(count).expect("few");
        messages.take(count).map(|message| message.expect("a message").message).collect().await
    }

    async fn count(&self) -> u64 {
        let mut stream = self.context.get_stream("EVENTS").await.expect("a stream");
        stream.info().await.expect("told").state.messages
    }

    /// Waits until so many events and dead letters are stored.
    async fn wait_for(&self, count: u64) {
        let waiting = async {
            while self.count().await < count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
        assert!(waited.is_ok(), "{} of {count} are stored", self.count().await);
    }

    /// Waits until bridges have read so many posts that they have not acknowledged.
    async fn wait_until_read(&self, count: usize) {
        let stream = self.context.get_stream("POSTS").await.expect("a stream");
        let read = async || {
            let info = stream.consumer_info("pounce-bridge").await;
            info.is_ok_and(|info| info.num_ack_pending == count)
        };
        let waiting = async {
            while !read().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
        assert!(waited.is_ok(), "{count} posts are not read");
    }

    async fn consumer(&self) -> consumer::Info {
        let stream = self.context.get_stream("POSTS").await.expect("a stream");
        stream.consumer_info("pounce-bridge").await.expect("the bridge has made it")
    }

    fn end(&self, path: &str) -> End {
        let address = format!("{}/{path}", self.nats.url());
        End { address: address.parse().expect("an address"), access: Access::default() }
    }
}

struct Bridge {
    stopper: Stopper,
    status: Arc<Status>,
    ended: JoinHandle<Result<(), RunError>>,
}

impl Bridge {
    fn start(service: &Service, from: End, to: End) -> Self {
        Self::start_within(service.client(), from, to, Duration::from_secs(20))
    }

    fn start_within(client: Client, from: End, to: End, drain_timeout: Duration) -> Self {
        let (stopper, stop) = stop::channel();
        let status = Arc::new(Status::default());
        let seen = Arc::clone(&status);
        let bounds = Bounds { in_flight_max: 16, drain_timeout };
        let ended =
            tokio::spawn(async move { ends::run(client, &from, &to, bounds, seen, stop).await });
        Self { stopper, status, ended }
    }

    async fn ready(&self) {
        let status = Arc::clone(&self.status);
        eventually("the bridge is ready", move || status.ready().is_ok()).await;
    }

    async fn stop(self) -> Result<(), RunError> {
        self.stopper.stop();
        self.ended.await.expect("no panic")
    }
}

fn header(message: &async_nats::Message, name: &str) -> String {
    let value = message.headers.as_ref().and_then(|headers| headers.get(name));
    value.map(ToString::to_string).unwrap_or_default()
}

fn ids(events: &[async_nats::Message]) -> Vec<String> {
    let events = events.iter().map(|event| serde_json::from_slice::<Value>(&event.payload));
    events.map(|event| event.expect("JSON")["post_id"].as_str().expect("text").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_post_becomes_an_event_in_order_and_what_is_none_a_dead_letter_with_the_reason() {
    let (broker, service) = (Broker::start().await, Service::start(Spec::default()).await);
    for n in 0..40 {
        let post = match n {
            7 => json!("no post").to_string(),
            8 => json!({ "id": "long", "text": "bad ".repeat(1000) }).to_string(),
            n => json!({ "id": n, "text": format!("bad {n}"), "topic": "acme" }).to_string(),
        };
        broker.publish(post).await;
    }
    broker.publish(json!({ "text": "good" }).to_string()).await;
    let bridge = Bridge::start(&service, broker.end("POSTS"), broker.end("EVENTS"));
    broker.wait_for(41).await;
    bridge.ready().await;

    let events = broker.stored("events").await;
    let expected = (0..40).filter(|n| ![7, 8].contains(n)).map(|n| n.to_string());
    let expected: Vec<_> = expected.chain(["POSTS-41".to_owned()]).collect();
    assert_eq!(ids(&events), expected, "in order, and one without an id by its place");
    assert_eq!(header(&events[0], "Nats-Msg-Id"), "acme/0");
    assert_eq!(header(&events[0], "content-type"), "application/json");
    let first: Value = serde_json::from_slice(&events[0].payload).expect("JSON");
    assert_eq!(first["sentiment"], "negative");

    let dead = broker.stored("events.dead").await;
    let codes: Vec<_> = dead.iter().map(|letter| header(letter, "pounce-code")).collect();
    assert_eq!(codes, ["malformed", "too_long"]);
    assert_eq!(&dead[0].payload[..], b"\"no post\"", "as it came");
    assert_eq!(header(&dead[1], "pounce-field"), "text");
    assert!(header(&dead[1], "pounce-reason").contains("1000"), "names the limit");
    assert_eq!(header(&dead[1], "pounce-position"), "POSTS-9");

    bridge.stop().await.expect("a clean end");
    let consumer = broker.consumer().await;
    assert_eq!((consumer.num_pending, consumer.num_ack_pending), (0, 0), "all is acknowledged");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_and_events_may_be_protobuf() {
    let (broker, service) = (Broker::start().await, Service::start(Spec::default()).await);
    broker.publish(support::post("a", "good").encode_to_vec()).await;
    broker.publish(Post { text: "bad".into(), ..Post::default() }.encode_to_vec()).await;
    let (from, to) = ("POSTS?format=protobuf", "EVENTS?format=protobuf");
    let bridge = Bridge::start(&service, broker.end(from), broker.end(to));
    broker.wait_for(2).await;
    let events = broker.stored("events").await;
    let events = events.iter().map(|event| ScoredEvent::decode(&event.payload[..]));
    let events: Vec<_> = events.map(|event| event.expect("an event")).collect();
    let seen: Vec<_> = events.iter().map(|event| (&event.post_id[..], event.sentiment())).collect();
    assert_eq!(seen, [("a", Sentiment::Positive), ("POSTS-2", Sentiment::Negative)]);
    bridge.stop().await.expect("a clean end");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_is_stopped_finishes_what_it_took_and_the_next_one_goes_on() {
    let (broker, service) = (Broker::start().await, Service::start(Spec::default()).await);
    let warm = service.script.rows.load(Ordering::SeqCst);
    for n in 0..300 {
        broker.publish(json!({ "id": n, "text": format!("bad {n}") }).to_string()).await;
    }
    for stored in [40, 150] {
        let bridge = Bridge::start(&service, broker.end("POSTS"), broker.end("EVENTS"));
        broker.wait_for(stored).await;
        bridge.stop().await.expect("a clean end");
        let consumer = broker.consumer().await;
        assert_eq!(consumer.num_ack_pending, 0, "what it took is done");
        assert_eq!(consumer.num_pending + broker.count().await, 300);
    }
    let bridge = Bridge::start(&service, broker.end("POSTS"), broker.end("EVENTS"));
    broker.wait_for(300).await;
    let expected: Vec<_> = (0..300).map(|n| n.to_string()).collect();
    assert_eq!(ids(&broker.stored("events").await), expected, "each once, in order");
    bridge.stop().await.expect("a clean end");
    assert_eq!(service.script.rows.load(Ordering::SeqCst) - warm, 300, "each was scored once");
    service.stop().await;
}

/// A service, and the way to it.
async fn behind_a_proxy() -> (Service, Proxy, Client) {
    let service = Service::start(Spec::default()).await;
    let proxy = Proxy::to(service.addr).await;
    let client = Client::connect(&format!("http://{}", proxy.addr())).expect("an address");
    (service, proxy, client)
}

/// Has posts wait in a bridge three times as long as the server waits for a word, then `go_on`.
async fn check_none_is_handed_out_again(service: Service, client: Client, go_on: impl FnOnce()) {
    let broker = Broker::start().await;
    let warm = service.script.rows.load(Ordering::SeqCst);
    let posts = broker.context.get_stream("POSTS").await.expect("a stream");
    let config = consumer::pull::Config {
        durable_name: Some("pounce-bridge".to_owned()),
        ack_wait: Duration::from_secs(1),
        ..Default::default()
    };
    posts.create_consumer(config).await.expect("a consumer");
    for n in 0..10 {
        broker.publish(json!({ "id": n, "text": format!("bad {n}") }).to_string()).await;
    }
    let (from, to) = (broker.end("POSTS"), broker.end("EVENTS"));
    let bridge = Bridge::start_within(client, from, to, Duration::from_secs(20));
    broker.wait_until_read(10).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    go_on();
    broker.wait_for(10).await;
    bridge.stop().await.expect("a clean end");
    assert_eq!(service.script.rows.load(Ordering::SeqCst) - warm, 10, "each was scored once");
    let handed_out = broker.consumer().await.delivered.consumer_sequence;
    assert_eq!(handed_out, 10, "each was handed out once");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_takes_long_is_not_handed_out_again_meanwhile() {
    let service = Service::start(Spec::default()).await;
    let (client, script) = (service.client(), Arc::clone(&service.script));
    script.hold();
    check_none_is_handed_out_again(service, client, || script.release()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_that_wait_for_a_service_are_not_handed_out_again_meanwhile() {
    let (service, proxy, client) = behind_a_proxy().await;
    proxy.set(Network::Down);
    check_none_is_handed_out_again(service, client, || proxy.set(Network::Good)).await;
}

/// Stops a bridge that gets no answers; the next one must get what it has read.
async fn check_all_is_given_back(service: Service, client: Client) {
    let broker = Broker::start().await;
    for n in 0..10 {
        broker.publish(json!({ "id": n, "text": format!("bad {n}") }).to_string()).await;
    }
    let (from, to) = (broker.end("POSTS"), broker.end("EVENTS"));
    let drain_timeout = Duration::from_millis(100);
    let bridge = Bridge::start_within(client, from.clone(), to.clone(), drain_timeout);
    broker.wait_until_read(10).await;
    let error = bridge.stop().await.expect_err("there are no answers").to_string();
    assert!(error.contains("10 messages were still in flight"), "{error}");
    service.script.release();
    // Sooner than the 30 seconds after which the server would hand them out by itself.
    let bridge = Bridge::start(&service, from, to);
    broker.wait_for(10).await;
    bridge.stop().await.expect("a clean end");
    assert_eq!(broker.consumer().await.num_ack_pending, 0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_done_in_time_at_the_end_is_given_back_at_once() {
    let service = Service::start(Spec::default()).await;
    service.script.hold();
    let client = service.client();
    check_all_is_given_back(service, client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_service_at_the_end_is_given_back_at_once() {
    let (service, proxy, client) = behind_a_proxy().await;
    proxy.set(Network::Down);
    check_all_is_given_back(service, client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_which_part_is_away_and_nothing_is_lost_when_it_comes_back() {
    let (mut broker, service) = (Broker::start().await, Service::start(Spec::default()).await);
    let bridge = Bridge::start(&service, broker.end("POSTS"), broker.end("EVENTS"));
    bridge.ready().await;
    broker.nats.kill();
    let status = Arc::clone(&bridge.status);
    eventually("NATS is missed", move || {
        let told = status.ready().err().unwrap_or_default();
        told.contains("source: NATS can't be reached") && told.contains("sink: NATS")
    })
    .await;
    broker.nats.restart();
    bridge.ready().await;
    let client = async_nats::connect(broker.nats.url()).await.expect("it listens");
    broker.context = jetstream::new(client);
    broker.publish(json!({ "id": 1, "text": "bad" }).to_string()).await;
    broker.wait_for(1).await;
    bridge.stop().await.expect("a clean end");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_stream_and_a_stranger_among_consumers_are_told() {
    let (broker, service) = (Broker::start().await, Service::start(Spec::default()).await);
    let posts = broker.context.get_stream("POSTS").await.expect("a stream");
    let config = consumer::pull::Config {
        durable_name: Some("taken".to_owned()),
        ack_policy: consumer::AckPolicy::None,
        ..Default::default()
    };
    posts.create_consumer(config).await.expect("a consumer");
    for (from, to, says) in [
        ("NONE", "EVENTS", "source: stream NONE: "),
        ("POSTS?consumer=taken", "EVENTS", "without explicit acknowledgements"),
        ("POSTS", "EVENTS?subject=elsewhere", "sink: subject elsewhere: "),
        ("POSTS", "POSTS?subject=events&dead=posts", "belongs to stream EVENTS, not POSTS"),
    ] {
        let bridge = Bridge::start(&service, broker.end(from), broker.end(to));
        let status = Arc::clone(&bridge.status);
        eventually(says, move || status.ready().err().is_some_and(|told| told.contains(says)))
            .await;
        bridge.stop().await.expect("a clean end");
    }
    let wrong = Bridge::start(&service, broker.end("POSTS?colour=red"), broker.end("EVENTS"));
    let error = wrong.ended.await.expect("no panic").expect_err("an unknown parameter");
    assert!(error.is_configuration() && error.to_string().contains("--from: unknown parameter"));
    service.stop().await;
}

/// A message for which its dead letter has no room leaves the reason alone.
async fn check_leaves_its_reason(broker: &Broker, bytes: usize) {
    let service = Service::start(Spec::default()).await;
    broker.publish(vec![b'x'; bytes]).await;
    let bridge = Bridge::start(&service, broker.end("POSTS"), broker.end("EVENTS"));
    broker.wait_for(1).await;
    let dead = broker.stored("events.dead").await;
    assert!(dead[0].payload.is_empty());
    assert_eq!(header(&dead[0], "pounce-code"), "malformed");
    assert!(header(&dead[0], "pounce-payload").contains("left out"));
    assert_eq!(header(&dead[0], "pounce-position"), "POSTS-1");
    bridge.stop().await.expect("a clean end");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_as_large_as_the_broker_allows_leaves_its_reason_without_itself() {
    let broker = Broker::start().await;
    // The reason beside it makes it larger than the broker takes.
    let max = async_nats::connect(broker.nats.url()).await.expect("it listens");
    check_leaves_its_reason(&broker, max.server_info().max_payload).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_larger_than_the_stream_of_events_allows_leaves_its_reason_without_itself() {
    let broker = Broker::start().await;
    let mut events = broker.context.get_stream("EVENTS").await.expect("a stream");
    let config = events.info().await.expect("told").config.clone();
    let config = stream::Config { max_message_size: 1000, ..config };
    broker.context.update_stream(config).await.expect("a limit");
    check_leaves_its_reason(&broker, 2000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_bridges_share_one_consumer() {
    let (broker, service) = (Broker::start().await, Service::start(Spec::default()).await);
    let warm = service.script.rows.load(Ordering::SeqCst);
    let both = [0, 1].map(|_| Bridge::start(&service, broker.end("POSTS"), broker.end("EVENTS")));
    for bridge in &both {
        bridge.ready().await;
    }
    for n in 0..200 {
        broker.publish(json!({ "id": n, "text": format!("bad {n}") }).to_string()).await;
    }
    broker.wait_for(200).await;
    let mut seen = ids(&broker.stored("events").await);
    seen.sort_by_key(|id| id.parse::<u32>().expect("a number"));
    assert_eq!(seen, (0..200).map(|n| n.to_string()).collect::<Vec<_>>());
    for bridge in both {
        bridge.stop().await.expect("a clean end");
    }
    assert_eq!(service.script.rows.load(Ordering::SeqCst) - warm, 200, "each was scored once");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_and_a_new_server_cost_no_post() {
    let broker = Broker::start().await;
    let service = Service::start(Spec::default()).await;
    let addr = service.addr;
    let bridge = Bridge::start(&service, broker.end("POSTS"), broker.end("EVENTS"));
    bridge.ready().await;
    for n in 0..100 {
        broker.publish(json!({ "id": n, "text": format!("bad {n}") }).to_string()).await;
    }
    broker.wait_for(20).await;
    service.stop().await;
    let service = Service::start(Spec { addr, ..Spec::default() }).await;
    broker.wait_for(100).await;
    let expected: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    assert_eq!(ids(&broker.stored("events").await), expected);
    bridge.stop().await.expect("a clean end");
    service.stop().await;
}
