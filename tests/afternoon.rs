//! A made-up afternoon on three replicas: posts come in, five people answer them, and meanwhile a
//! replica is killed and the log stops for a while. Nobody is called twice and nobody is forgotten.
//!
//! `cargo test --test afternoon -- --nocapture` shows how it went.

#![cfg(feature = "embedded")]
#![allow(clippy::print_stdout, reason = "it shows how the afternoon went")]

mod binary;
#[path = "support/nats.rs"]
mod nats;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use binary::{Server, free_port};
use futures::StreamExt;
use nats::Nats;
use pounce_client::{Access, Client, ClientError, Line, Reply, StreamSpec};
use pounce_proto::care_service_client::CareServiceClient;
use pounce_proto::{
    Author, Case, CaseHistoryKind, CaseOutcome, CaseState, ClaimCaseRequest, CloseCaseRequest,
    ListCasesRequest, Post,
};
use tokio::time::{Instant, sleep};
use tonic::Code;

const POSTS: usize = 240;
const AUTHORS: usize = 90;
const AGENTS: [&str; 5] = ["ann", "bob", "cleo", "dan", "eve"];
/// How long an answer takes: five people are slower than the posts come, so that a queue builds up.
const TALK: Duration = Duration::from_millis(300);
/// Longest time that anything here may take.
const LIMIT: Duration = Duration::from_secs(120);

fn start(port: u16, nats: &Nats) -> Server {
    // Every post is flagged, whatever the model makes of it.
    let log = nats.url();
    let flags = ["--observations", &log, "--cases", "low", "--discontent", "0,0,0"];
    let more = ["--workers", "1", "--drain-notice", "0", "--log", "warn,pounce=info"];
    Server::start_with(port, &[&flags[..], &more].concat())
}

/// Complaints of an afternoon, some authors several, on three topics.
fn posts() -> Vec<Post> {
    let post = |n: usize| {
        let author = (n * 7) % AUTHORS;
        Post {
            id: format!("post {n}").into(),
            text: format!("order {n} came broken, and nobody answers").into(),
            topic: ["kite", "lark", "oxlip"][author % 3].into(),
            author: Some(Author { id: format!("author {author}").into(), followers: 0 }),
            ..Post::default()
        }
    };
    (0..POSTS).map(post).collect()
}

type Answer<T> = Result<T, tonic::Status>;

/// Asks until somebody answers: an action that may have been done is done again.
async fn insist<T, F>(call: impl Fn(CareServiceClient<Line>) -> F, client: &Client) -> Answer<T>
where
    F: Future<Output = Answer<T>>,
{
    let until = Instant::now() + LIMIT;
    loop {
        match call(client.care()).await {
            Err(status)
                if [Code::Unavailable, Code::Unknown, Code::Cancelled].contains(&status.code()) =>
            {
                assert!(Instant::now() < until, "nobody answers: {status}");
                sleep(Duration::from_millis(50)).await;
            }
            answer => return answer,
        }
    }
}

/// Somebody who takes the most urgent case, answers it and closes it, until there is no more.
/// Returns the cases that they claimed.
async fn agent(name: &'static str, client: Client, over: Arc<AtomicBool>) -> Vec<String> {
    let mut claimed = Vec::new();
    loop {
        let last = over.load(Ordering::SeqCst);
        let list = |mut care: CareServiceClient<Line>| async move {
            let states = vec![CaseState::Open.into()];
            let request = ListCasesRequest { states, ..ListCasesRequest::default() };
            care.list_cases(request).await.map(|page| page.into_inner().cases)
        };
        let open = insist(list, &client).await.expect("a list");
        if open.is_empty() {
            if last {
                return claimed;
            }
            sleep(Duration::from_millis(20)).await;
            continue;
        }
        // All want the same one: the first of the list.
        let id = open[0].id.clone();
        let claim = ClaimCaseRequest { id: id.clone(), by: name.to_owned() };
        let claim = insist(
            |mut care| {
                let claim = claim.clone();
                async move { care.claim_case(claim).await }
            },
            &client,
        )
        .await;
        match claim {
            Ok(_) => claimed.push(id.clone()),
            Err(lost) => {
                assert_eq!(lost.code(), Code::FailedPrecondition, "{lost}");
                continue;
            }
        }
        sleep(TALK).await;
        let outcome =
            if claimed.len() % 6 == 5 { CaseOutcome::FalseAlarm } else { CaseOutcome::Answered };
        let (by, note) = (name.to_owned(), String::new());
        let close = CloseCaseRequest { id, by, outcome: outcome.into(), note };
        let closed = insist(
            |mut care| {
                let close = close.clone();
                async move { care.close_case(close).await }
            },
            &client,
        );
        closed.await.expect("their own");
    }
}

async fn closed(server: &Server) -> Result<Vec<Case>, ClientError> {
    let states = [CaseState::Open, CaseState::Claimed, CaseState::Closed];
    let states = states.map(i32::from).to_vec();
    let request = ListCasesRequest { states, ..ListCasesRequest::default() };
    let mut cases = Client::connect(&server.addr)?.cases(request).await?;
    cases.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(cases)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_case_is_claimed_twice_and_every_case_is_closed() {
    let nats = Nats::start();
    let ports = [free_port(), free_port(), free_port()];
    let mut servers: Vec<Server> = ports.iter().map(|port| start(*port, &nats)).collect();
    let addrs: Vec<_> = servers.iter().map(|server| server.addr.clone()).collect();
    let client = || Client::balanced(&addrs, &Access::default()).expect("three addresses");

    let over = Arc::new(AtomicBool::new(false));
    let agents = AGENTS.map(|name| tokio::spawn(agent(name, client(), Arc::clone(&over))));
    let feed = tokio::spawn({
        let client = client();
        async move {
            let posts = futures::stream::iter(posts()).then(|post| async move {
                sleep(Duration::from_millis(40)).await;
                Ok(post)
            });
            let replies: Vec<_> =
                client.score_all(Box::pin(posts), StreamSpec::default()).collect().await;
            replies.iter().filter(|reply| matches!(reply, Ok(Reply::Event(_)))).count()
        }
    });

    sleep(Duration::from_secs(2)).await;
    let mut killed = servers.remove(0);
    killed.signal("-KILL");
    killed.ended_within(LIMIT);
    sleep(Duration::from_secs(1)).await;
    nats.pause();
    sleep(Duration::from_secs(2)).await;
    nats.resume();
    servers.push(start(ports[0], &nats));

    let answered = tokio::time::timeout(LIMIT, feed).await.expect("in time").expect("no panic");
    assert_eq!(answered, POSTS, "no post is lost");
    // What was flagged while the log was away opens its case when it is back.
    let complete = async {
        loop {
            let cases = closed(&servers[0]).await.expect("a list");
            if cases.iter().map(|case| case.posts).sum::<u64>() >= POSTS as u64 {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, complete).await.expect("every post has its case");
    over.store(true, Ordering::SeqCst);
    let mut claims = BTreeMap::new();
    for (name, agent) in AGENTS.iter().zip(agents) {
        let claimed = tokio::time::timeout(LIMIT, agent).await.expect("in time").expect("no panic");
        claims.insert(*name, claimed);
    }

    let cases = closed(&servers[0]).await.expect("a list");
    let everybody: Vec<&String> = claims.values().flatten().collect();
    let distinct: HashSet<&String> = everybody.iter().copied().collect();
    assert_eq!(everybody.len(), distinct.len(), "no case is claimed twice");
    assert_eq!(distinct.len(), cases.len(), "every case is claimed");
    let mut posts = HashSet::new();
    for case in &cases {
        assert_eq!(case.state(), CaseState::Closed, "{case:?}");
        let claims = case.history.iter().filter(|did| did.kind() == CaseHistoryKind::Claimed);
        assert_eq!(claims.count(), 1, "{case:?}");
        for post in &case.post_ids {
            assert!(posts.insert(post.clone()), "{post} is in two cases");
        }
    }
    assert_eq!(posts.len(), POSTS, "every post is in a case");
    for server in &servers[1..] {
        assert_eq!(closed(server).await.expect("a list"), cases, "every replica has the same");
    }
    let in_time = |case: &&Case| {
        let late = |at: Option<prost_types::Timestamp>| at.map_or(0, |at| at.seconds);
        late(case.closing.as_ref().and_then(|closing| closing.at)) <= late(case.respond_by)
    };
    println!(
        "{POSTS} posts, {} cases, {} closed in time; {}",
        cases.len(),
        cases.iter().filter(in_time).count(),
        claims
            .iter()
            .map(|(name, of)| format!("{name} {}", of.len()))
            .collect::<Vec<_>>()
            .join(", "),
    );
}
