//! The log of a fleet over connections that are encrypted, authenticated, cut off, or to a cluster
//! that loses a server.

#[path = "support/nats.rs"]
mod nats;
#[path = "support/nats_identity.rs"]
mod nats_identity;
#[path = "support/proxy.rs"]
mod proxy;
mod support;

use std::time::{Duration, Instant};

use nats::{Cluster, Nats};
use nats_identity::Operator;
use pounce_proto::alert_service_client::AlertServiceClient;
use pounce_proto::{Flag, GetTopicRequest, Post, ScoreRequest, ScoredEvent};
use pounce_replication::{Credentials, JetStreamLog, ObservationLog};
use proxy::{Network, Proxy};
use support::replica::{impatient, replica};
use support::{Service, angry};

async fn score(service: &Service, post: Post) -> ScoredEvent {
    let request = ScoreRequest { post: Some(post), ..ScoreRequest::default() };
    let reply = service.connect().await.score(request).await.expect("an answer");
    reply.into_inner().event.expect("an event")
}

fn is_counted(event: &ScoredEvent) -> bool {
    event.flags().all(|flag| flag != Flag::NotCountedYet)
}

/// Scores a post again and again until it counts, or no longer does; it counts once.
async fn score_until(service: &Service, n: i64, counted: bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while is_counted(&score(service, angry(n)).await) != counted {
        assert!(Instant::now() < until, "post {n} is not as it should within a minute");
    }
}

/// Posts of the last four hours of topic `acme`, as a replica has them.
async fn posts_counted(service: &Service) -> u64 {
    let mut client = AlertServiceClient::new(service.channel().await);
    let topic = GetTopicRequest { topic: "acme".to_owned(), place: String::new() };
    let status = client.get_topic(topic).await.expect("a topic").into_inner();
    status.status.expect("a status").windows.last().expect("windows").posts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_may_be_encrypted() {
    let folder = tempfile::tempdir().expect("a folder");
    let [certificate, key] = ["server.pem", "key.pem"].map(|name| folder.path().join(name));
    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a key");
    std::fs::write(&certificate, signed.cert.pem()).expect("written");
    std::fs::write(&key, signed.signing_key.serialize_pem()).expect("written");
    let [tls_certificate, tls_key] = [&certificate, &key].map(|file| file.display().to_string());
    let nats = Nats::start_with(&["--tls", "--tlscert", &tls_certificate, "--tlskey", &tls_key]);

    let mut spec = nats.spec("test");
    spec.ca = Some(certificate);
    let service = replica(JetStreamLog::connect(&spec).await.expect("good files")).await;
    assert!(is_counted(&score(&service, angry(0)).await));

    // Who does not know the certificate's issuer must not go on in the clear.
    let stranger = nats.log("test").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    stranger.extent().await.expect_err("its certificate can't be verified");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_may_ask_for_credentials() {
    let folder = tempfile::tempdir().expect("a folder");
    let [operator, stranger] = [Operator::new(), Operator::new()];
    let config = folder.path().join("nats.conf");
    std::fs::write(&config, operator.config()).expect("written");
    let nats = Nats::start_with(&["--config", &config.display().to_string()]);
    let [good, bad] = [("good.creds", &operator), ("bad.creds", &stranger)].map(|(name, who)| {
        let file = folder.path().join(name);
        std::fs::write(&file, who.credentials()).expect("written");
        Some(Credentials::Creds(file))
    });
    let stranger = nats.log_as("test", bad).await;
    let service = replica(nats.log_as("test", good).await).await;
    assert!(is_counted(&score(&service, angry(0)).await));
    stranger.extent().await.expect_err("it must not get in");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_cut_off_from_the_log_counts_when_it_is_back() {
    let nats = Nats::start();
    let proxy = Proxy::to(nats.addr()).await;
    let mut spec = nats.spec("test");
    spec.servers = vec![format!("nats://{}", proxy.addr()).parse().expect("an address")];
    let cut_off = impatient(JetStreamLog::connect(&spec).await.expect("settings")).await;
    let other = replica(nats.log("test").await).await;
    let mut n = 0;
    for network in [Network::Silent, Network::Down, Network::ResetAfter(3000), Network::Bytewise] {
        proxy.set(network);
        if matches!(network, Network::Silent | Network::Down) {
            n += 1;
            score_until(&cut_off, n, false).await;
        }
        for _ in 0..5 {
            n += 1;
            score(&cut_off, angry(n)).await;
            n += 1;
            assert!(is_counted(&score(&other, angry(n)).await), "the other replica goes on");
        }
        proxy.set(Network::Good);
        score_until(&cut_off, n, true).await;
    }
    // A minute that closes shows what was counted.
    score(&other, angry(n + 30)).await;
    for service in [&cut_off, &other] {
        assert_eq!(posts_counted(service).await, u64::try_from(n).expect("a count"));
    }
    cut_off.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_loses_a_server_loses_nothing() {
    let mut cluster = Cluster::start();
    let replicas =
        [impatient(cluster.log("test").await).await, impatient(cluster.log("test").await).await];
    let mut n = 0;
    for server in 0..3 {
        cluster.kill(server);
        for _ in 0..10 {
            n += 1;
            score(&replicas[usize::from(n % 2 == 0)], angry(n)).await;
        }
        for service in &replicas {
            score_until(service, n, true).await;
        }
        cluster.restart(server);
    }
    score(&replicas[0], angry(n + 30)).await;
    score_until(&replicas[1], n, true).await;
    for service in &replicas {
        assert_eq!(posts_counted(service).await, u64::try_from(n).expect("a count"));
    }
    for service in replicas {
        service.stop().await;
    }
}
