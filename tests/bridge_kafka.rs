//! `pounce bridge` between the topics of librdkafka's mock cluster, which can be made to fail, and
//! a service whose engine the test directs.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pounce_bridge::access::Access;
use pounce_bridge::ends::{self, Bounds, End, RunError};
use pounce_bridge::status::Status;
use pounce_bridge::stop::{self, Stopper};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message, OwnedMessage};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use serde_json::{Value, json};
use support::{Service, Spec, eventually};
use tokio::task::JoinHandle;

const PARTITIONS: i32 = 3;
/// A short session: for that long the mock cluster keeps a group that has lost its last member.
const POSTS: &str = "posts?session=6";
/// Longest time without another event.
const PATIENCE: Duration = Duration::from_secs(60);

/// Three brokers in this process.
struct Kafka {
    cluster: MockCluster<'static, DefaultProducerContext>,
    producer: FutureProducer,
}

impl Kafka {
    fn start() -> Self {
        let cluster = MockCluster::new(3).expect("a mock cluster");
        for topic in ["posts", "events", "events.dead"] {
            cluster.create_topic(topic, PARTITIONS, 3).expect("a topic");
        }
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers());
        let producer = config.create().expect("a producer");
        Self { cluster, producer }
    }

    /// Posts `range`, by seven topics; each keeps its order.
    async fn publish(&self, range: std::ops::Range<usize>) {
        for n in range {
            let topic = format!("topic {}", n % 7);
            let post = json!({ "id": n, "topic": topic, "text": format!("bad {n}") }).to_string();
            let record = FutureRecord::to("posts").key(&topic).payload(&post);
            self.producer.send(record, Duration::from_secs(20)).await.expect("stored");
        }
    }

    fn end(&self, path: &str) -> End {
        let address = format!("kafka://{}/{path}", self.cluster.bootstrap_servers());
        End { address: address.parse().expect("an address"), access: Access::default() }
    }

    /// A reader of a topic from its beginning.
    fn reader(&self, topic: &str) -> Reader {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.cluster.bootstrap_servers());
        config.set("group.id", "test").set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut all = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            all.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
        }
        consumer.assign(&all).expect("assigned");
        Reader { consumer: Arc::new(consumer), messages: Vec::new() }
    }

    /// What the group has done, over all partitions.
    fn committed(&self) -> i64 {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.cluster.bootstrap_servers());
        config.set("group.id", "pounce-bridge");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut all = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            all.add_partition("posts", partition);
        }
        let committed = consumer.committed_offsets(all, Duration::from_secs(10)).expect("told");
        let offsets = committed.elements().into_iter().map(|element| element.offset().to_raw());
        offsets.flatten().filter(|offset| *offset > 0).sum()
    }
}

struct Reader {
    consumer: Arc<BaseConsumer>,
    messages: Vec<OwnedMessage>,
}

impl Reader {
    /// Reads until `done`.
    async fn until(&mut self, what: &str, done: impl Fn(&[OwnedMessage]) -> bool) {
        let mut last = tokio::time::Instant::now();
        while !done(&self.messages) {
            let consumer = Arc::clone(&self.consumer);
            let polled = tokio::task::spawn_blocking(move || {
                let message = consumer.poll(Duration::from_millis(100));
                message.and_then(Result::ok).map(|message| message.detach())
            });
            if let Some(message) = polled.await.expect("no panic") {
                self.messages.push(message);
                last = tokio::time::Instant::now();
            }
            let read = self.messages.len();
            assert!(last.elapsed() < PATIENCE, "{what}: only {read} messages");
        }
    }

    /// The ids by topic, in the order in which they are stored; repetitions too.
    fn ids(&self) -> BTreeMap<String, Vec<usize>> {
        let mut ids: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for message in &self.messages {
            let event: Value =
                serde_json::from_slice(message.payload().expect("a payload")).expect("JSON");
            let id = event["post_id"].as_str().expect("text").parse().expect("a number");
            let key = String::from_utf8_lossy(message.key().expect("a key")).into_owned();
            ids.entry(key).or_default().push(id);
        }
        ids
    }
}

fn different(messages: &[OwnedMessage]) -> usize {
    messages
        .iter()
        .map(|message| header(message, "pounce-message-id"))
        .collect::<BTreeSet<_>>()
        .len()
}

fn header(message: &OwnedMessage, name: &str) -> String {
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    let found = headers.filter(|header| header.key == name).find_map(|header| header.value);
    String::from_utf8_lossy(found.unwrap_or_default()).into_owned()
}

struct Bridge {
    stopper: Stopper,
    status: Arc<Status>,
    ended: JoinHandle<Result<(), RunError>>,
}

impl Bridge {
    fn start(service: &Service, from: End, to: End) -> Self {
        let (stopper, stop) = stop::channel();
        let status = Arc::new(Status::default());
        let (client, seen) = (service.client(), Arc::clone(&status));
        let bounds = Bounds { in_flight_max: 32, drain_timeout: Duration::from_secs(20) };
        let ended =
            tokio::spawn(async move { ends::run(client, &from, &to, bounds, seen, stop).await });
        Self { stopper, status, ended }
    }

    async fn ready(&self) {
        let status = Arc::clone(&self.status);
        eventually("the bridge is ready", move || status.ready().is_ok()).await;
    }

    async fn stop(self) {
        self.stopper.stop();
        self.ended.await.expect("no panic").expect("a clean end");
    }
}

/// In each topic the posts from 0 to `posts`, in order, without repetitions.
fn in_order(posts: usize) -> BTreeMap<String, Vec<usize>> {
    let topics = (0..7).map(|topic| {
        (format!("topic {topic}"), (0..posts).filter(|n| n % 7 == topic).collect::<Vec<_>>())
    });
    topics.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_keep_the_order_of_their_topic_and_the_group_goes_on_where_it_was() {
    let (kafka, service) = (Kafka::start(), Service::start(Spec::default()).await);
    let warm = service.script.rows.load(Ordering::SeqCst);
    kafka.publish(0..150).await;
    let mut events = kafka.reader("events");
    for posts in [150, 300] {
        let bridge = Bridge::start(&service, kafka.end(POSTS), kafka.end("events"));
        events.until("all events", |messages| messages.len() == posts).await;
        bridge.ready().await;
        bridge.stop().await;
        assert_eq!(usize::try_from(kafka.committed()), Ok(posts), "all is committed at the end");
        kafka.publish(posts..posts + 150).await;
    }
    assert_eq!(events.ids(), in_order(300));
    assert_eq!(header(&events.messages[0], "content-type"), "application/json");
    assert_eq!(service.script.rows.load(Ordering::SeqCst) - warm, 300, "each was scored once");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_post_goes_to_the_topic_of_dead_letters() {
    let (kafka, service) = (Kafka::start(), Service::start(Spec::default()).await);
    let record = FutureRecord::<(), _>::to("posts").partition(1).payload("no post");
    kafka.producer.send(record, Duration::from_secs(20)).await.expect("stored");
    kafka.publish(0..20).await;
    let bridge = Bridge::start(&service, kafka.end(POSTS), kafka.end("events"));
    let mut dead = kafka.reader("events.dead");
    dead.until("a dead letter", |messages| !messages.is_empty()).await;
    let letter = &dead.messages[0];
    assert_eq!(letter.payload(), Some(&b"no post"[..]), "as it came");
    assert_eq!(header(letter, "pounce-code"), "malformed");
    assert_eq!(header(letter, "pounce-position"), "posts-1-0");
    let mut events = kafka.reader("events");
    events.until("all events", |messages| messages.len() == 20).await;
    bridge.stop().await;
    assert_eq!(kafka.committed(), 21, "the dead letter is done too");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_brokers_delay_events_and_cost_none() {
    use RDKafkaRespErr::{
        RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS as LOADING,
        RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE as NO_LEADER,
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS as FEW_REPLICAS,
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION as NOT_LEADER,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT as TIMED_OUT,
    };
    let (kafka, service) = (Kafka::start(), Service::start(Spec::default()).await);
    let bridge = Bridge::start(&service, kafka.end(POSTS), kafka.end("events"));
    bridge.ready().await;
    let mut events = kafka.reader("events");
    kafka.publish(0..50).await;
    for (round, (call, errors)) in [
        (RDKafkaApiKey::Produce, [NOT_LEADER, FEW_REPLICAS, TIMED_OUT]),
        (RDKafkaApiKey::Fetch, [NOT_LEADER, NO_LEADER, TIMED_OUT]),
        (RDKafkaApiKey::OffsetCommit, [LOADING, TIMED_OUT, LOADING]),
    ]
    .into_iter()
    .enumerate()
    {
        let before = 50 * (round + 1);
        events.until("events before", |messages| different(messages) == before).await;
        // The posts are stored before the errors begin, or they would hit the test's own producer.
        service.script.hold();
        kafka.publish(before..before + 50).await;
        kafka.cluster.request_errors(call, &errors);
        service.script.release();
        events.until("events after", |messages| different(messages) == before + 50).await;
    }
    // A broker that goes, and comes back. The posts are stored before: it leads partitions, and no
    // other takes them over.
    service.script.hold();
    kafka.publish(200..250).await;
    kafka.cluster.broker_down(2).expect("one of three");
    service.script.release();
    tokio::time::sleep(Duration::from_secs(2)).await;
    kafka.cluster.broker_up(2).expect("one of three");
    events.until("events at the end", |messages| different(messages) == 250).await;
    bridge.stop().await;
    assert_eq!(kafka.committed(), 250);
    let mut ids = events.ids();
    for (topic, ids) in &mut ids {
        assert!(ids.is_sorted(), "{topic} is out of order: {ids:?}");
        ids.dedup();
    }
    assert_eq!(ids, in_order(250));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_vanishes_has_its_posts_done_by_the_next() {
    let (kafka, service) = (Kafka::start(), Service::start(Spec::default()).await);
    let mut events = kafka.reader("events");
    kafka.publish(0..200).await;
    let bridge = Bridge::start(&service, kafka.end(POSTS), kafka.end("events"));
    events.until("some events", |messages| messages.len() >= 40).await;
    // Without a word: what is in flight has no end, and nothing is committed any more.
    bridge.ended.abort();
    let _ = bridge.ended.await;
    let next = Bridge::start(&service, kafka.end(POSTS), kafka.end("events"));
    events.until("all events", |messages| different(messages) == 200).await;
    next.stop().await;
    assert_eq!(kafka.committed(), 200);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_that_the_brokers_are_away() {
    let (kafka, service) = (Kafka::start(), Service::start(Spec::default()).await);
    let bridge = Bridge::start(&service, kafka.end(POSTS), kafka.end("events"));
    bridge.ready().await;
    for broker in 1..=3 {
        kafka.cluster.broker_down(broker).expect("a broker");
    }
    let status = Arc::clone(&bridge.status);
    eventually("Kafka is missed", move || {
        let told = status.ready().err().unwrap_or_default();
        told.contains("source: ") && told.contains("sink: ")
    })
    .await;
    for broker in 1..=3 {
        kafka.cluster.broker_up(broker).expect("a broker");
    }
    bridge.ready().await;
    bridge.stop().await;
    service.stop().await;
}
