//! `pounce bridge` between the topics of librdkafka's mock cluster, which can be made to fail, and
//! a service whose engine the test directs.

#[path = "support/kafka.rs"]
mod kafka;
mod support;

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kafka::{Bridge, POSTS, TOPICS, Topics, different, header, in_order};
use rdkafka::ClientConfig;
use rdkafka::message::Message;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use serde_json::json;
use support::{Service, Spec, eventually};

/// Three brokers in this process.
struct Kafka {
    cluster: MockCluster<'static, DefaultProducerContext>,
    topics: Topics,
}

impl Kafka {
    fn start() -> Self {
        let cluster = MockCluster::new(3).expect("a mock cluster");
        for topic in TOPICS {
            cluster.create_topic(topic, kafka::PARTITIONS, 3).expect("a topic");
        }
        let topics = Topics::new(cluster.bootstrap_servers());
        Self { cluster, topics }
    }
}

impl Deref for Kafka {
    type Target = Topics;

    fn deref(&self) -> &Topics {
        &self.topics
    }
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
async fn a_post_whose_topic_is_larger_than_a_record_may_be_leaves_its_reason_alone() {
    let (kafka, service) = (Kafka::start(), Service::start(Spec::default()).await);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.cluster.bootstrap_servers());
    let producer: FutureProducer =
        config.set("message.max.bytes", "4000000").create().expect("a producer");
    let post = json!({ "id": 1, "text": "bad", "topic": "x".repeat(2_000_000) }).to_string();
    let record = FutureRecord::<(), _>::to("posts").partition(1).payload(&post);
    producer.send(record, Duration::from_secs(20)).await.expect("stored");
    let bridge = Bridge::start(&service, kafka.end(POSTS), kafka.end("events"));
    let mut dead = kafka.reader("events.dead");
    dead.until("a dead letter", |messages| !messages.is_empty()).await;
    let letter = &dead.messages[0];
    assert_eq!((letter.key(), letter.payload().unwrap_or_default()), (None, &b""[..]));
    assert_eq!(header(letter, "pounce-code"), "too_long");
    assert!(header(letter, "pounce-payload").contains("left out"));
    bridge.stop().await;
    assert_eq!(kafka.committed(), 1, "the dead letter is done");
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
    // If the broker that went led the group, the group comes together anew first.
    eventually("all is committed", || kafka.committed() == 250).await;
    bridge.stop().await;
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
    // Events may all be there before the next one has every partition.
    eventually("all is committed", || kafka.committed() == 200).await;
    next.stop().await;
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
