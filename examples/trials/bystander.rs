//! A client that behaves while others do not: how long health takes to answer it.

use std::time::{Duration, Instant};

use futures::StreamExt;
use pounce_client::{Client, StreamSpec};
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::server::Server;
use super::{Outcome, post};

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(20);

/// What a client saw while others misbehaved.
pub(crate) struct Seen {
    /// Sorted.
    health: Vec<Duration>,
    /// Resident memory in MiB before, and at most.
    memory: Option<(u64, u64)>,
}

impl Seen {
    /// Time within which 99 of 100 answers of health came.
    pub(crate) fn health_p99(&self) -> Duration {
        let last = self.health.len().saturating_sub(1);
        self.health.get(last.min(self.health.len() * 99 / 100)).copied().unwrap_or(Duration::MAX)
    }

    /// MiB by which the server grew.
    pub(crate) fn grown(&self) -> u64 {
        self.memory.map_or(0, |(before, peak)| peak - before)
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "health p99 {:.1?}, memory +{} MiB", self.health_p99(), self.grown())
    }
}

/// Asks for health for so long, and then scores some posts.
pub(crate) async fn watch(server: &Server, time: Duration) -> Outcome<Seen> {
    let line = Endpoint::from_shared(server.addr.clone())?.connect().await?;
    let mut client = HealthClient::new(line);
    let before = server.resident_mib();
    let (mut peak, mut health) = (before, Vec::new());
    let started = Instant::now();
    while started.elapsed() < time {
        let asked = Instant::now();
        client.check(HealthCheckRequest { service: String::new() }).await?;
        health.push(asked.elapsed());
        peak = peak.max(server.resident_mib());
        tokio::time::sleep(PAUSE).await;
    }
    score_some(server).await?;
    health.sort_unstable();
    Ok(Seen { health, memory: before.zip(peak) })
}

/// Posts of a client of its own, all answered.
pub(crate) async fn score_some(server: &Server) -> Outcome<()> {
    let posts: Vec<_> = (1_000_000..1_000_300).map(|n| Ok(post(n))).collect();
    let client = Client::connect(&server.addr)?;
    let replies = client.score_all(futures::stream::iter(posts), StreamSpec::default());
    let answered = replies.filter(|reply| std::future::ready(reply.is_ok())).count().await;
    if answered == 300 { Ok(()) } else { Err(format!("{answered} of 300 answered").into()) }
}
