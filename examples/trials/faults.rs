//! Servers that are ended and killed again and again under one job that goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use pounce_client::{Client, Reply, StreamSpec};

use super::server::Server;
use super::{Outcome, post, say};

/// Answers that a server gives before it is ended.
const ANSWERS: usize = 300;

/// `rounds` servers one after another on one port, each ended by `signal` while it answers.
pub(crate) async fn run(signal: &str, rounds: usize) -> Outcome<()> {
    let mut server = Server::start(0)?;
    let (port, addr) = (server.port()?, server.addr.clone());
    let answered = Arc::new(AtomicUsize::new(0));
    let job = tokio::spawn(job(addr, Arc::clone(&answered), rounds * ANSWERS * 2));
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let before = answered.load(Ordering::Relaxed);
        while answered.load(Ordering::Relaxed) < before + ANSWERS && !job.is_finished() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        server.signal(signal)?;
        let ended = Instant::now();
        let code = server.wait()?;
        slowest = slowest.max(ended.elapsed());
        if signal == "-TERM" && code != Some(0) {
            return Err(format!("round {round}: the drain ended with {code:?}").into());
        }
        server = Server::start(port)?;
    }
    let posts = job.await??;
    say(&format!(
        "{rounds} times kill {signal} under load: all {posts} posts answered once and in order; a \
         server ended within {slowest:.1?}"
    ))
}

/// Posts without pause until `least` are answered; how many were.
async fn job(addr: String, answered: Arc<AtomicUsize>, least: usize) -> Result<usize, String> {
    let client = Client::connect(&addr).map_err(|error| error.to_string())?;
    let enough = Arc::clone(&answered);
    let numbers = (0..).take_while(move |_| enough.load(Ordering::Relaxed) < least);
    let posts = futures::stream::iter(numbers.map(|n| Ok(post(n))));
    let mut replies = client.score_all(posts, StreamSpec::default());
    while let Some(reply) = replies.next().await {
        let due = answered.load(Ordering::Relaxed).to_string();
        match reply.map_err(|error| error.to_string())? {
            Reply::Event(event) if event.post_id == due => answered.fetch_add(1, Ordering::Relaxed),
            reply => return Err(format!("{reply:?} came where {due} was due")),
        };
    }
    Ok(answered.load(Ordering::Relaxed))
}
