//! A client that follows a fleet whose servers come and go.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt};
use pounce_client::{Access, Client, ClientError, Reply, StreamSpec};
use pounce_proto::Post;
use support::{Service, Spec, eventually, post};
use tokio::sync::watch;
use tokio_stream::wrappers::{IntervalStream, WatchStream};

/// Jobs that run all the time.
const JOBS: usize = 8;
const STREAM_AGE: Duration = Duration::from_millis(100);
const CONNECTION_AGE: Duration = Duration::from_secs(1);
/// Between two posts of a job.
const PACE: Duration = Duration::from_millis(10);
const LIMIT: Duration = Duration::from_secs(60);

async fn server() -> Service {
    let mut spec = Spec::default();
    spec.service.stream_age_max = Some(STREAM_AGE);
    spec.service.connection_age_max = Some(CONNECTION_AGE);
    Service::start(spec).await
}

/// Posts without end; no two texts are the same, or the cache would answer for the model.
fn posts(job: usize) -> impl Stream<Item = Result<Post, pounce_proto::Rejection>> + Send + Unpin {
    let paced = IntervalStream::new(tokio::time::interval(PACE)).enumerate();
    Box::pin(paced.map(move |(n, _)| Ok(post(format!("{job}-{n}"), format!("good {job} {n}")))))
}

fn rows(service: &Service) -> usize {
    service.script.rows.load(Ordering::SeqCst)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_joins_gets_its_share_and_one_that_leaves_gets_nothing_more() {
    let servers = [server().await, server().await, server().await];
    let addrs = servers.each_ref().map(|server| server.addr);
    // What a resolver would find.
    let (resolved, sets) = watch::channel(addrs[..2].to_vec());
    let client = Client::following(
        "http://pounce.example:50051",
        WatchStream::new(sets),
        &Access::default(),
    );
    let client = client.expect("a name");
    let answered = Arc::new(AtomicUsize::new(0));
    let jobs: Vec<_> = (0..JOBS)
        .map(|job| {
            let (client, answered) = (client.clone(), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut replies = client.score_all(posts(job), StreamSpec::default());
                let mut last = 0;
                while let Some(reply) = replies.next().await {
                    let Reply::Event(event) = reply.expect("the job goes on") else {
                        panic!("a rejection")
                    };
                    assert_eq!(event.sequence, last + 1, "none is lost, none comes twice");
                    last = event.sequence;
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let more = async |posts: usize| {
        let (answered, until) = (Arc::clone(&answered), answered.load(Ordering::SeqCst) + posts);
        eventually("the jobs go on", move || answered.load(Ordering::SeqCst) >= until).await;
    };
    // Posts of all jobs in as much time as a connection may last.
    let of_age =
        JOBS * usize::try_from(CONNECTION_AGE.as_millis() / PACE.as_millis()).expect("few");
    let before = servers.each_ref().map(rows);
    more(of_age / 2).await;
    assert!(rows(&servers[0]) > before[0] && rows(&servers[1]) > before[1]);
    assert_eq!(rows(&servers[2]), before[2], "nobody knows of it");

    resolved.send_replace(addrs.to_vec());
    more(of_age).await;
    let before = servers.each_ref().map(rows);
    more(2 * of_age).await;
    let now = servers.each_ref().map(rows);
    let got: Vec<usize> = now.iter().zip(before).map(|(now, before)| now - before).collect();
    // A third, by chance: of over a hundred streams a sixth is four deviations below.
    assert!(got[2] * 6 > got.iter().sum::<usize>(), "{got:?}");

    // Its name knows it no more, and a lookup that finds nothing changes nothing.
    resolved.send_replace(addrs[1..].to_vec());
    more(of_age).await;
    resolved.send_replace(Vec::new());
    let before = servers.each_ref().map(rows);
    more(of_age).await;
    assert_eq!(rows(&servers[0]), before[0]);
    assert!(rows(&servers[1]) > before[1] && rows(&servers[2]) > before[2]);
    for job in jobs {
        job.abort();
    }
    for server in servers {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_lost_costs_one_call_and_gets_none_until_it_is_back() {
    let [kept, lost, never] = [server().await, server().await, server().await];
    let addrs = [kept.addr, lost.addr, never.addr];
    never.stop().await;
    let client = Client::balanced(&addrs.map(|addr| format!("http://{addr}")), &Access::default());
    let client = client.expect("three addresses");
    let failed = async || {
        let calls = futures::stream::iter(0..100).then(|_| client.model());
        calls.filter(|called| std::future::ready(called.is_err())).count().await
    };
    assert_eq!(failed().await, 0, "one that was never there costs nothing");
    lost.stop().await;
    assert!(failed().await <= 1, "the call that found the connection gone");
    assert_eq!(failed().await, 0);

    let spec = Spec { addr: addrs[1], ..Spec::default() };
    let back = Service::start(spec).await;
    let before = rows(&back);
    let heard = async {
        for n in 0.. {
            let posts = futures::stream::iter([Ok(post(n, format!("good {n}")))]);
            let replies = client.score_all(posts, StreamSpec::default());
            assert!(replies.all(|reply| std::future::ready(reply.is_ok())).await);
            if rows(&back) > before {
                return;
            }
        }
    };
    tokio::time::timeout(LIMIT, heard).await.expect("it gets calls again");
    kept.stop().await;
    back.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_stream_goes_to_the_server_with_the_fewest() {
    let servers = [Service::start(Spec::default()).await, Service::start(Spec::default()).await];
    let addrs = servers.each_ref().map(|server| format!("http://{}", server.addr));
    let client = Client::balanced(&addrs, &Access::default()).expect("two addresses");
    let before = servers.each_ref().map(rows);
    let mut jobs = Vec::new();
    for job in 0..10 {
        let posts = futures::stream::iter([Ok(post(job, format!("good {job}")))]);
        let mut replies =
            client.score_all(posts.chain(futures::stream::pending()), StreamSpec::default());
        assert!(matches!(replies.next().await, Some(Ok(Reply::Event(_)))));
        jobs.push(replies);
    }
    assert_eq!(servers.each_ref().map(rows), before.map(|rows| rows + 5));
    drop(jobs);
    for server in servers {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_leads_to_its_servers() {
    let service = Service::start(Spec::default()).await;
    let addr = format!("dns:///localhost:{}", service.addr.port());
    let client = Client::balanced(&[addr], &Access::default()).expect("a name");
    let posts = (0..20).map(|n| Ok(post(n, format!("good {n}"))));
    let replies = client.score_all(futures::stream::iter(posts), StreamSpec::default());
    let replies: Vec<_> = replies.collect().await;
    assert!(replies.iter().all(Result::is_ok), "{replies:?}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_resolved_fails_and_holds_nobody_up() {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let client = Client::following(
        &format!("http://{nowhere}"),
        futures::stream::pending(),
        &Access::default(),
    );
    let error = client.expect("a name").model().await.expect_err("nobody is there");
    assert!(matches!(error, ClientError::Unreachable(_)), "{error}");
}
