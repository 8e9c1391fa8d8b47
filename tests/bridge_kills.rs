//! A real NATS, a real server and a real bridge, each killed again and again at random while posts
//! flow: every post has its event, and repetitions carry the same message id.
//!
//! `make trials` runs it with 20,000 posts: POUNCE_TRIAL_POSTS and POUNCE_TRIAL_SEED.

#![allow(clippy::print_stdout, reason = "the counts are for people")]

mod binary;
#[path = "support/nats.rs"]
mod nats;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use async_nats::header::{HeaderMap, NATS_MESSAGE_ID};
use async_nats::jetstream::{self, Context, consumer, stream};
use binary::{Server, free_port, pounce};
use futures::StreamExt;
use nats::Nats;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Posts of a run of the test suite.
const POSTS: usize = 3_000;
/// One message in so many is no post.
const BAD_EVERY: usize = 100;
/// What is killed; without a word unless the name says so.
const KINDS: [&str; 5] = ["bridge", "bridge, SIGTERM", "service", "service, SIGTERM", "NATS"];
/// Pause between two kills, in milliseconds.
const PAUSE: std::ops::Range<u64> = 200..1_500;
/// The whole run without progress.
const PATIENCE: Duration = Duration::from_secs(90);

fn setting(name: &str, default: usize) -> usize {
    let value = std::env::var_os(name).and_then(|value| value.into_string().ok());
    value.map_or(default, |value| value.parse().expect("a number"))
}

fn start_bridge(nats: &Nats, server: &str, http: &str) -> Child {
    let (from, to) = (format!("{}/POSTS", nats.url()), format!("{}/EVENTS", nats.url()));
    let flags = ["bridge", "--from", &from, "--to", &to, "--addr", server, "--http-addr", http];
    let log = if std::env::var_os("POUNCE_TRIAL_LOG").is_some() {
        Stdio::inherit()
    } else {
        Stdio::null()
    };
    pounce(&flags).stderr(log).spawn().expect("the binary runs")
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    let sent = std::process::Command::new("kill").args([name, &pid]).status();
    assert!(sent.expect("kill runs").success());
}

/// Asks the bridge to end, once its HTTP port answers: before that it does not handle signals.
async fn terminate(bridge: &Child, http: &str) {
    let answer = async || {
        let mut socket = TcpStream::connect(http).await.ok()?;
        socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: bridge\r\n\r\n").await.ok()?;
        socket.read_u8().await.ok()
    };
    let answered = async {
        while answer().await.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.expect("the bridge starts");
    signal(bridge, "-TERM");
}

async fn context(nats: &Nats) -> Context {
    let options = async_nats::ConnectOptions::new().retry_on_initial_connect();
    let client = options.connect(nats.url()).await.expect("an address");
    jetstream::new(client)
}

/// Publishes until it is stored. A repetition is dropped by its id.
async fn publish(context: &Context, n: usize) {
    let payload = if n.is_multiple_of(BAD_EVERY) {
        format!("no post {n}")
    } else {
        json!({ "id": n, "topic": format!("topic {}", n % 7), "text": format!("order {n} is late") })
            .to_string()
    };
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, n.to_string());
    loop {
        let sent = context.publish_with_headers("posts", headers.clone(), payload.clone().into());
        if let Ok(sent) = sent.await
            && sent.await.is_ok()
        {
            return;
        }
    }
}

/// What was stored: how often by message id, and those ids of dead letters.
#[derive(Default)]
struct Stored {
    events: BTreeMap<String, usize>,
    dead: BTreeMap<String, usize>,
}

impl Stored {
    /// Reads on from `next`, as far as the server gives.
    async fn read(&mut self, context: &Context, next: &mut u64) -> Option<()> {
        let stream = context.get_stream("EVENTS").await.ok()?;
        let config = consumer::pull::OrderedConfig {
            deliver_policy: consumer::DeliverPolicy::ByStartSequence { start_sequence: *next },
            ..Default::default()
        };
        let reader = stream.create_consumer(config).await.ok()?;
        let count = usize::try_from(reader.cached_info().num_pending).ok()?;
        let mut messages = reader.messages().await.ok()?.take(count);
        while let Some(message) = messages.next().await {
            let message = message.ok()?;
            *next = message.info().ok()?.stream_sequence + 1;
            let id = message.headers.as_ref()?.get(NATS_MESSAGE_ID)?.to_string();
            let dead = message.subject.as_str() == "events.dead";
            *(if dead { &mut self.dead } else { &mut self.events }).entry(id).or_default() += 1;
        }
        Some(())
    }

    fn repetitions(&self) -> usize {
        self.events.values().chain(self.dead.values()).map(|count| count - 1).sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_post_has_its_event_though_everything_is_killed_at_random() {
    let posts = setting("POUNCE_TRIAL_POSTS", POSTS);
    let seed = u64::try_from(setting("POUNCE_TRIAL_SEED", 1)).expect("64 bits");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut nats = Nats::start();
    let made = context(&nats).await;
    for (name, subjects) in [("POSTS", vec!["posts"]), ("EVENTS", vec!["events", "events.dead"])] {
        let subjects = subjects.into_iter().map(str::to_owned).collect();
        let config = stream::Config { name: name.into(), subjects, ..Default::default() };
        made.create_stream(config).await.expect("a stream");
    }
    let (port, http) = (free_port(), format!("127.0.0.1:{}", free_port()));
    let flags = ["--drain-notice", "0", "--workers", "1"];
    let mut server = Some(Server::start_with(port, &flags));
    let addr = format!("http://127.0.0.1:{port}");
    let mut bridge = start_bridge(&nats, &addr, &http);

    let publishing = tokio::spawn({
        let context = made.clone();
        async move {
            futures::stream::iter(0..posts).for_each_concurrent(64, |n| publish(&context, n)).await;
        }
    });

    let (mut stored, mut next, mut kills) = (Stored::default(), 1, BTreeMap::new());
    let mut kinds = Vec::new();
    let (mut reached, mut since) = (0, Instant::now());
    let began = Instant::now();
    let reader = context(&nats).await;
    while stored.events.len() + stored.dead.len() < posts {
        tokio::time::sleep(Duration::from_millis(rng.random_range(PAUSE))).await;
        // Each kind before any comes again.
        if kinds.is_empty() {
            kinds = KINDS.to_vec();
            kinds.shuffle(&mut rng);
        }
        let what = kinds.pop().expect("just filled");
        *kills.entry(what).or_insert(0) += 1;
        match what {
            "bridge" | "bridge, SIGTERM" => {
                if what == "bridge" {
                    signal(&bridge, "-KILL");
                } else {
                    terminate(&bridge, &http).await;
                }
                let status = tokio::task::spawn_blocking(move || bridge.wait()).await;
                let status = status.expect("no panic").expect("a child of ours");
                if what != "bridge" {
                    assert_eq!(status.code(), Some(0), "a clean end");
                }
                bridge = start_bridge(&nats, &addr, &http);
            }
            "NATS" => {
                nats.kill();
                nats.restart();
            }
            _ => {
                let mut old = server.take().expect("it runs");
                old.signal(if what == "service" { "-KILL" } else { "-TERM" });
                server = Some(tokio::task::block_in_place(|| {
                    old.ended_within(Duration::from_secs(60));
                    Server::start_with(port, &flags)
                }));
            }
        }
        // What can't be read now is read in the next round.
        let reading = stored.read(&reader, &mut next);
        let _ = tokio::time::timeout(Duration::from_secs(10), reading).await;
        let done = stored.events.len() + stored.dead.len();
        if done > reached {
            (reached, since) = (done, Instant::now());
        }
        assert!(since.elapsed() < PATIENCE, "{done} of {posts} for {PATIENCE:?}; kills: {kills:?}");
    }
    publishing.await.expect("no panic");

    // Once more in quiet: what is left of the source, and a clean end.
    let left = async {
        loop {
            let info = async {
                reader.get_stream("POSTS").await.ok()?.consumer_info("pounce-bridge").await.ok()
            };
            match info.await {
                Some(info) if info.num_pending == 0 && info.num_ack_pending == 0 => return,
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, left).await.expect("every message is acknowledged");
    terminate(&bridge, &http).await;
    assert_eq!(bridge.wait().expect("a child of ours").code(), Some(0), "a clean end");
    stored.read(&reader, &mut next).await.expect("NATS answers");

    let expected: BTreeSet<String> = (0..posts)
        .filter(|n| !n.is_multiple_of(BAD_EVERY))
        .map(|n| format!("topic%20{}/{n}", n % 7))
        .collect();
    let events: BTreeSet<String> = stored.events.keys().cloned().collect();
    assert_eq!(events.symmetric_difference(&expected).count(), 0, "each post has its event");
    assert_eq!(stored.dead.len(), posts.div_ceil(BAD_EVERY), "each that is none its dead letter");
    println!(
        "{posts} messages in {:.0?}: {} events and {} dead letters by id, {} repetitions of an id, \
         0 lost; killed: {kills:?}",
        began.elapsed(),
        stored.events.len(),
        stored.dead.len(),
        stored.repetitions(),
    );
}
