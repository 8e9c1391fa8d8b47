//! `pounce bridge` between the topics of a real broker: Tansu, which speaks Kafka's protocol and keeps
//! topics and groups in memory. It can't be made to fail; `bridge_kafka` does that.

#[path = "support/authority.rs"]
mod authority;
#[path = "support/kafka.rs"]
mod kafka;
mod support;
#[path = "support/tls_front.rs"]
mod tls_front;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use authority::Authority;
use kafka::{Bridge, POSTS, Topics, different, header, in_order};
use pounce_bridge::access::Access;
use pounce_bridge::ends::End;
use rdkafka::message::Message;
use rdkafka::producer::FutureRecord;
use support::{Service, Spec, eventually};
use tokio::net::{TcpListener, TcpStream};

/// A broker of this test's own.
struct Tansu {
    child: Child,
    topics: Topics,
    port: u16,
}

/// `make test-rust` installs it; another one can be named.
fn binary() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/tools/tansu/bin/tansu");
    std::env::var_os("TANSU").map_or(own, PathBuf::from)
}

async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("bound").port()
}

impl Tansu {
    async fn start() -> Self {
        let port = free_port().await;
        Self::start_behind(port, &format!("127.0.0.1:{port}")).await
    }

    /// On `port`; clients are told to come to `told`.
    async fn start_behind(port: u16, told: &str) -> Self {
        let [own, told] = [&format!("127.0.0.1:{port}"), told].map(|addr| format!("tcp://{addr}"));
        let mut command = Command::new(binary());
        command.args(["broker", "--storage-engine", "memory://tansu/"]);
        command.args(["--listener-url", &own, "--advertised-listener-url", &told]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| {
            panic!("{} can't be run: {error}; `make test-rust` installs it", binary().display())
        });
        let listening = async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), listening).await;
        waited.expect("the broker listens");
        let topics = Topics::new(format!("127.0.0.1:{port}"));
        Self { child, topics, port }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("kill runs").success());
    }
}

impl Drop for Tansu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_of_a_real_broker_become_events_in_order_and_the_group_goes_on_where_it_was() {
    let (tansu, service) = (Tansu::start().await, Service::start(Spec::default()).await);
    let kafka = &tansu.topics;
    kafka.make().await;
    kafka.publish(0..150).await;
    let letter = FutureRecord::<(), _>::to("posts").partition(1).payload("no post");
    kafka.producer.send(letter, Duration::from_secs(20)).await.expect("stored");
    let mut events = kafka.reader("events");
    for posts in [150, 300] {
        let bridge = Bridge::start(&service, kafka.end(POSTS), kafka.end("events"));
        events.until("all events", |messages| messages.len() == posts).await;
        bridge.ready().await;
        bridge.stop().await;
        assert_eq!(usize::try_from(kafka.committed()), Ok(posts + 1), "all is committed");
        kafka.publish(posts..posts + 150).await;
    }
    assert_eq!(events.ids(), in_order(300));
    let mut dead = kafka.reader("events.dead");
    dead.until("the dead letter", |messages| messages.len() == 1).await;
    assert_eq!(dead.messages[0].payload(), Some(&b"no post"[..]), "as it came");
    assert_eq!(header(&dead.messages[0], "pounce-code"), "malformed");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_broker_that_falls_silent_delays_events_and_costs_none() {
    let (tansu, service) = (Tansu::start().await, Service::start(Spec::default()).await);
    let kafka = &tansu.topics;
    kafka.make().await;
    service.script.hold();
    kafka.publish(0..200).await;
    let bridge = Bridge::start(&service, kafka.end(POSTS), kafka.end("events"));
    bridge.ready().await;
    tansu.signal("-STOP");
    service.script.release();
    let status = Arc::clone(&bridge.status);
    eventually("the broker is missed", move || status.ready().is_err()).await;
    tansu.signal("-CONT");
    let mut events = kafka.reader("events");
    events.until("all events", |messages| different(messages) == 200).await;
    bridge.stop().await;
    assert_eq!(kafka.committed(), 200);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn through_tls_the_broker_is_verified_and_the_bridge_shows_its_certificate() {
    let [brokers, clients, stranger] = [(); 3].map(|()| Authority::new());
    let front = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let told = front.local_addr().expect("bound").to_string();
    let tansu = Tansu::start_behind(free_port().await, &told).await;
    tls_front::serve(front, &brokers, &clients, ([127, 0, 0, 1], tansu.port).into());

    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, content: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, content).expect("written");
        file
    };
    let ca = write("ca", &brokers.pem);
    let (cert, key) = clients.issue();
    let identity = (write("cert", &cert), write("key", &key));
    let kafka = Topics::through_tls(told.clone(), &ca, &identity);
    kafka.make().await;
    kafka.publish(0..50).await;

    let end = |path: &str, access: Access| {
        let address = format!("kafka+tls://{told}/{path}");
        End { address: address.parse().expect("an address"), access }
    };
    let service = Service::start(Spec::default()).await;
    let known = Access { ca: Some(ca), identity: Some(identity), ..Access::default() };
    for bad in [
        Access { ca: Some(write("stranger", &stranger.pem)), ..known.clone() },
        Access { identity: None, ..known.clone() },
    ] {
        let bridge = Bridge::start(&service, end(POSTS, bad), end("events", known.clone()));
        let status = Arc::clone(&bridge.status);
        // The sink is there, so that the broker is; the source is not let in.
        eventually("only the sink is ready", move || {
            status.ready().is_err_and(|told| told.contains("source") && !told.contains("sink"))
        })
        .await;
        bridge.stop().await;
        assert_eq!(kafka.committed(), 0);
    }
    let bridge = Bridge::start(&service, end(POSTS, known.clone()), end("events", known));
    let mut events = kafka.reader("events");
    events.until("all events", |messages| messages.len() == 50).await;
    bridge.stop().await;
    assert_eq!(kafka.committed(), 50);
    service.stop().await;
}
