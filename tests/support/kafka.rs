//! Topics of posts and events in Kafka, a reader of them, and a bridge between them.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub, reason = "shared by test files")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pounce_bridge::access::Access;
use pounce_bridge::ends::{self, Bounds, End, RunError};
use pounce_bridge::status::Status;
use pounce_bridge::stop::{self, Stopper};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{Service, eventually};

pub const PARTITIONS: i32 = 3;
/// A short session: for that long the mock cluster keeps a group that has lost its last member.
pub const POSTS: &str = "posts?session=6";
/// Of posts, of events and of dead letters.
pub const TOPICS: [&str; 3] = ["posts", "events", "events.dead"];
/// Longest time without another event.
const PATIENCE: Duration = Duration::from_secs(60);

/// The topics of some brokers.
pub struct Topics {
    /// What every client is set to.
    config: ClientConfig,
    servers: String,
    pub producer: FutureProducer,
}

impl Topics {
    pub fn new(servers: String) -> Self {
        Self::with(ClientConfig::new(), servers)
    }

    /// As whoever has the certificate and key of `identity`.
    pub fn through_tls(servers: String, ca: &Path, identity: &(PathBuf, PathBuf)) -> Self {
        let mut config = ClientConfig::new();
        config.set("security.protocol", "ssl").set("ssl.ca.location", ca.to_string_lossy());
        config.set("ssl.certificate.location", identity.0.to_string_lossy());
        config.set("ssl.key.location", identity.1.to_string_lossy());
        Self::with(config, servers)
    }

    fn with(mut config: ClientConfig, servers: String) -> Self {
        config.set("bootstrap.servers", &servers);
        let producer = config.create().expect("a producer");
        Self { config, servers, producer }
    }

    /// Makes them, where the brokers have none yet.
    pub async fn make(&self) {
        let admin: AdminClient<_> = self.config.create().expect("a client");
        let new = TOPICS.map(|name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)));
        let made = admin.create_topics(&new, &AdminOptions::new()).await.expect("an answer");
        assert!(made.iter().all(Result::is_ok), "{made:?}");
    }

    /// Posts `range`, by seven topics; each keeps its order.
    pub async fn publish(&self, range: std::ops::Range<usize>) {
        for n in range {
            let topic = format!("topic {}", n % 7);
            let post = json!({ "id": n, "topic": topic, "text": format!("bad {n}") }).to_string();
            let record = FutureRecord::to("posts").key(&topic).payload(&post);
            self.producer.send(record, Duration::from_secs(20)).await.expect("stored");
        }
    }

    pub fn end(&self, path: &str) -> End {
        let address = format!("kafka://{}/{path}", self.servers);
        End { address: address.parse().expect("an address"), access: Access::default() }
    }

    /// A reader of a topic from its beginning.
    pub fn reader(&self, topic: &str) -> Reader {
        let mut config = self.config.clone();
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
    pub fn committed(&self) -> i64 {
        let mut config = self.config.clone();
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

pub struct Reader {
    consumer: Arc<BaseConsumer>,
    pub messages: Vec<OwnedMessage>,
}

impl Reader {
    /// Reads until `done`.
    pub async fn until(&mut self, what: &str, done: impl Fn(&[OwnedMessage]) -> bool) {
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
    pub fn ids(&self) -> BTreeMap<String, Vec<usize>> {
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

pub fn different(messages: &[OwnedMessage]) -> usize {
    messages
        .iter()
        .map(|message| header(message, "pounce-message-id"))
        .collect::<BTreeSet<_>>()
        .len()
}

pub fn header(message: &OwnedMessage, name: &str) -> String {
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    let found = headers.filter(|header| header.key == name).find_map(|header| header.value);
    String::from_utf8_lossy(found.unwrap_or_default()).into_owned()
}

pub struct Bridge {
    stopper: Stopper,
    pub status: Arc<Status>,
    pub ended: JoinHandle<Result<(), RunError>>,
}

impl Bridge {
    pub fn start(service: &Service, from: End, to: End) -> Self {
        let (stopper, stop) = stop::channel();
        let status = Arc::new(Status::default());
        let (client, seen) = (service.client(), Arc::clone(&status));
        let bounds = Bounds { in_flight_max: 32, drain_timeout: Duration::from_secs(20) };
        let ended =
            tokio::spawn(async move { ends::run(client, &from, &to, bounds, seen, stop).await });
        Self { stopper, status, ended }
    }

    pub async fn ready(&self) {
        let status = Arc::clone(&self.status);
        eventually("the bridge is ready", move || status.ready().is_ok()).await;
    }

    pub async fn stop(self) {
        self.stopper.stop();
        self.ended.await.expect("no panic").expect("a clean end");
    }
}

/// In each topic the posts from 0 to `posts`, in order, without repetitions.
pub fn in_order(posts: usize) -> BTreeMap<String, Vec<usize>> {
    let topics = (0..7).map(|topic| {
        (format!("topic {topic}"), (0..posts).filter(|n| n % 7 == topic).collect::<Vec<_>>())
    });
    topics.collect()
}
