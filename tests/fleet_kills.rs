//! A fleet of real processes that are killed at random and replaced, while posts come spread at random
//! and by streams that stay with one replica: at the end all replicas tell the same, and every post
//! that was answered as counted counted once.
//!
//! `make trials` runs it with 50 seeds: POUNCE_TRIAL_SEEDS, and POUNCE_TRIAL_SEED for the first.

#![cfg(feature = "embedded")]
#![allow(clippy::print_stdout, reason = "the counts are for people")]

mod binary;
#[path = "support/dated.rs"]
mod dated;
#[path = "support/nats.rs"]
mod nats;
#[path = "support/trial.rs"]
mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use binary::{Server, free_port};
use dated::{STEP, post};
use futures::StreamExt;
use nats::Nats;
use pounce_client::{Access, Client, Reply, StreamSpec};
use pounce_proto::alert_service_client::AlertServiceClient;
use pounce_proto::scoring_service_client::ScoringServiceClient;
use pounce_proto::{
    Flag, GetTopicRequest, ListAlertsRequest, ListTopicsRequest, ScoreRequest, ScoredEvent,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::timeout;
use tokio_stream::wrappers::IntervalStream;
use tonic::transport::{Channel, Endpoint};
use trial::seeds;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/model/small");
const REPLICAS: usize = 3;
/// Streams that stay with a replica as long as it lives.
const STREAMS: usize = 2;
/// Between two posts of a stream, and of what is spread.
const PACE: Duration = Duration::from_millis(20);
/// Replicas that are killed or drained, one after the other.
const KILLS: usize = 4;
/// Between one replaced replica and the next, in milliseconds.
const PAUSE: std::ops::Range<u64> = 0..600;
const LIMIT: Duration = Duration::from_secs(90);

fn is_counted(event: &ScoredEvent) -> bool {
    event.flags().all(|flag| flag != Flag::NotCountedYet)
}

/// None while nobody listens.
async fn channel(addr: &str) -> Option<Channel> {
    Endpoint::from_shared(addr.to_owned()).expect("an address").connect().await.ok()
}

/// Takes numbers until it is told to stop.
#[derive(Clone, Default)]
struct Numbers {
    next: Arc<AtomicI64>,
    stopped: Arc<AtomicBool>,
}

impl Numbers {
    fn take(&self) -> Option<i64> {
        let goes_on = !self.stopped.load(Ordering::SeqCst);
        goes_on.then(|| self.next.fetch_add(1, Ordering::SeqCst))
    }
}

/// Sends a post to one replica after the other until one answers that it is counted; a client that
/// lost its server does not know whether the post was. Returns how often it was sent.
async fn send(addrs: &[String], n: i64, mut rng: StdRng) -> usize {
    for times in 1.. {
        let addr = addrs[rng.random_range(0..addrs.len())].clone();
        let scored = async {
            let mut client = ScoringServiceClient::new(channel(&addr).await?);
            let request = ScoreRequest { post: Some(post(n)), ..ScoreRequest::default() };
            client.score(request).await.ok()?.into_inner().event
        };
        if scored.await.is_some_and(|event| is_counted(&event)) {
            return times;
        }
        tokio::time::sleep(PACE).await;
    }
    unreachable!()
}

/// Posts of one stream. Returns those that no replica has answered as counted.
async fn stream(client: Client, numbers: Numbers) -> BTreeSet<i64> {
    let ticks = IntervalStream::new(tokio::time::interval(PACE));
    let posts =
        ticks.map(move |_| numbers.take()).take_while(|n| futures::future::ready(n.is_some()));
    let posts = posts.filter_map(|n| futures::future::ready(n.map(|n| Ok(post(n)))));
    let mut replies = client.score_all(Box::pin(posts), StreamSpec::default());
    let mut left = BTreeSet::new();
    while let Some(reply) = replies.next().await {
        match reply.expect("the stream goes on") {
            Reply::Event(event) if is_counted(&event) => {}
            Reply::Event(event) => drop(left.insert(event.post_id.parse().expect("a number"))),
            Reply::Rejection(rejection) => panic!("{rejection:?}"),
        }
    }
    left
}

fn replica(nats: &Nats, port: u16) -> Server {
    let url = nats.url();
    let flags = ["--observations", &url, "--drain-notice", "0", "--workers", "1"];
    Server::serve(port, &[&["--model", MODEL], &flags[..]].concat())
}

/// All that a replica tells of topics and alerts.
async fn told(addr: &str) -> Option<String> {
    let mut client = AlertServiceClient::new(channel(addr).await?);
    let alerts = ListAlertsRequest { resolved: true, ..ListAlertsRequest::default() };
    let alerts = client.list_alerts(alerts).await.ok()?.into_inner().alerts;
    let topics = client.list_topics(ListTopicsRequest::default()).await.ok()?.into_inner().topics;
    Some(format!("{alerts:?} {topics:?}"))
}

/// Posts of the topic in the last four hours, as a replica has them; one that has just begun has none.
async fn posts_counted(addr: &str) -> u64 {
    let mut client = AlertServiceClient::new(channel(addr).await.expect("it listens"));
    let topic = GetTopicRequest { topic: "acme".to_owned(), place: String::new() };
    let Ok(status) = client.get_topic(topic).await else { return 0 };
    status.into_inner().status.expect("a status").windows.last().expect("windows").posts
}

/// What came of a seed.
#[derive(Default)]
struct Counts {
    posts: u64,
    sent_again: usize,
    not_counted_at_first: usize,
    ended: BTreeMap<&'static str, usize>,
}

async fn schedule(seed: u64) -> Counts {
    let mut rng = StdRng::seed_from_u64(seed);
    let nats = Nats::start();
    let ports = [(); REPLICAS].map(|()| free_port());
    let mut replicas = ports.map(|port| Some(replica(&nats, port)));
    let addrs = ports.map(|port| format!("http://127.0.0.1:{port}"));
    let client = Client::balanced(&addrs, &Access::default()).expect("addresses");
    let (numbers, mut counts) = (Numbers::default(), Counts::default());

    let streams: Vec<_> =
        (0..STREAMS).map(|_| tokio::spawn(stream(client.clone(), numbers.clone()))).collect();
    let spread = tokio::spawn({
        let (numbers, addrs) = (numbers.clone(), addrs.clone());
        let mut rng = StdRng::seed_from_u64(rng.random());
        async move {
            let (mut sent, mut again) = (Vec::new(), 0);
            let mut ticks = tokio::time::interval(PACE);
            while let Some(n) = numbers.take() {
                let (addrs, rng) = (addrs.clone(), StdRng::seed_from_u64(rng.random()));
                sent.push(tokio::spawn(async move { send(&addrs, n, rng).await }));
                ticks.tick().await;
            }
            for sent in sent {
                again += sent.await.expect("no panic") - 1;
            }
            again
        }
    });

    for _ in 0..KILLS {
        tokio::time::sleep(Duration::from_millis(rng.random_range(PAUSE))).await;
        let (n, kill) = (rng.random_range(0..REPLICAS), rng.random_bool(0.75));
        let mut old = replicas[n].take().expect("it runs");
        *counts.ended.entry(if kill { "SIGKILL" } else { "SIGTERM" }).or_insert(0) += 1;
        old.signal(if kill { "-KILL" } else { "-TERM" });
        replicas[n] = Some(tokio::task::block_in_place(|| {
            let status = old.ended_within(LIMIT);
            assert_eq!(status.success(), !kill, "seed {seed}: {status}");
            replica(&nats, ports[n])
        }));
    }
    numbers.stopped.store(true, Ordering::SeqCst);
    for stream in streams {
        let left = timeout(LIMIT, stream).await.expect("in time").expect("no panic");
        counts.not_counted_at_first += left.len();
        for n in left {
            let rng = StdRng::seed_from_u64(rng.random());
            counts.sent_again += timeout(LIMIT, send(&addrs, n, rng)).await.expect("in time");
        }
    }
    counts.sent_again += timeout(LIMIT, spread).await.expect("in time").expect("no panic");

    // Behind the last minute, so that all others close.
    let posts = numbers.next.load(Ordering::SeqCst);
    let last = posts + 30 * 60 * 1000 / STEP;
    timeout(LIMIT, send(&addrs, last, rng)).await.expect("in time");
    counts.posts = u64::try_from(posts).expect("a count");
    for addr in &addrs {
        let counted = async {
            while posts_counted(addr).await != counts.posts {
                tokio::time::sleep(PACE).await;
            }
        };
        let in_time = timeout(Duration::from_secs(60), counted).await;
        let counted = posts_counted(addr).await;
        assert!(in_time.is_ok(), "seed {seed}: {addr} counted {counted} of {}", counts.posts);
    }
    let equal = async {
        loop {
            let all = futures::future::join_all(addrs.iter().map(|addr| told(addr))).await;
            if all[0].is_some() && all.iter().all(|one| *one == all[0]) {
                return;
            }
        }
    };
    timeout(Duration::from_secs(60), equal)
        .await
        .unwrap_or_else(|_| panic!("seed {seed}: they differ"));
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_are_killed_and_replaced_count_every_post_once() {
    let mut all = Counts::default();
    let seeds = seeds(1);
    for seed in seeds.clone() {
        let counts = schedule(seed).await;
        println!(
            "seed {seed}: {} posts, {} of streams not counted at first, {} sent again, ended {:?}",
            counts.posts, counts.not_counted_at_first, counts.sent_again, counts.ended
        );
        all.posts += counts.posts;
        all.sent_again += counts.sent_again;
        for (how, ended) in counts.ended {
            *all.ended.entry(how).or_insert(0) += ended;
        }
    }
    println!(
        "{} seeds: {} posts counted once, {} sent again, replicas ended {:?}",
        seeds.count(),
        all.posts,
        all.sent_again,
        all.ended
    );
}
