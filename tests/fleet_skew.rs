//! Replicas of several releases that share a log: nobody writes what another can't read, and who
//! meets it all the same says so.

mod binary;
#[path = "support/nats.rs"]
mod nats;
mod support;

use std::time::Duration;

use binary::Server;
use bytes::Bytes;
use futures::StreamExt;
use nats::Nats;
use pounce::cases::monitor::CaseSpec;
use pounce_proto::care_service_client::CareServiceClient;
use pounce_proto::{
    CaseState, ClaimCaseRequest, Flag, ListCasesRequest, Post, ScoreRequest, ScoredEvent,
};
use pounce_replication::{Batch, Entry, EntryForm, JetStreamLog, Membership, ObservationLog};
use pounce_types::score::Severity;
use support::{Service, Spec, angry, counts, eventually};
use tonic::Code;

const LIMIT: Duration = Duration::from_secs(60);

/// A replica of a release that reads forms up to `reads`; of members that are silent it knows after
/// two seconds that they have left.
async fn replica(nats: &Nats, reads: EntryForm, cases: CaseSpec) -> Service {
    let membership = Membership { reads, silence_max: Duration::from_secs(2) };
    let observations = Some(nats.log("test").await);
    let service = Service::start(Spec { observations, membership, cases, ..Spec::default() }).await;
    counts(&service).await;
    service
}

async fn score(service: &Service, post: Post) -> ScoredEvent {
    let request = ScoreRequest { post: Some(post), ..ScoreRequest::default() };
    let reply = service.connect().await.score(request).await.expect("an answer");
    reply.into_inner().event.expect("an event")
}

async fn cases(service: &Service) -> usize {
    let states = vec![CaseState::Open.into()];
    let request = ListCasesRequest { states, page_size: 200, ..ListCasesRequest::default() };
    let mut care = CareServiceClient::new(service.channel().await);
    care.list_cases(request).await.expect("a list").into_inner().cases.len()
}

/// What the log holds after `position`.
async fn entries(log: &JetStreamLog, position: u64) -> Vec<Entry> {
    let last = log.extent().await.expect("a log").last;
    let mut entries = Vec::new();
    let mut read = log.read_after(position).await.expect("a log");
    while entries.last().map_or(position, |entry: &Entry| entry.position) < last {
        entries.push(read.next().await.expect("endless").expect("an entry"));
    }
    entries
}

async fn newest_form(log: &JetStreamLog) -> EntryForm {
    let batches = entries(log, 0).await.into_iter().map(|entry| Batch::decode(&entry.bytes));
    batches.map(|batch| batch.expect("of this release").form).max().expect("entries")
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_a_form_that_a_member_does_not_read_until_it_has_left() {
    let nats = Nats::start();
    let with_cases = CaseSpec { severity_min: Some(Severity::Low), ..CaseSpec::off() };
    let older = replica(&nats, EntryForm::Alerts, CaseSpec::off()).await;
    let newer = [
        replica(&nats, EntryForm::Cases, with_cases).await,
        replica(&nats, EntryForm::Cases, with_cases).await,
    ];
    let log = nats.log("test").await;
    // The older one is idle for longer than a member may be silent, and is heard of all the same.
    let until = tokio::time::Instant::now() + Duration::from_secs(4);
    let mut n = 0;
    while tokio::time::Instant::now() < until {
        let event = score(&newer[usize::from(n % 2 == 0)], angry(n)).await;
        assert!(event.flags().all(|flag| flag != Flag::NotCountedYet), "it counts: {event:?}");
        n += 1;
    }
    assert_eq!((cases(&newer[0]).await, newest_form(&log).await), (0, EntryForm::Alerts));
    assert!(older.health.alerts_ready(), "it reads all that the others write");
    let claim = ClaimCaseRequest { id: "0".repeat(32), by: "ann".to_owned() };
    let mut care = CareServiceClient::new(newer[0].channel().await);
    let refused = care.claim_case(claim).await.expect_err("not in this form");
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("older release"), "{refused}");

    older.stop().await;
    let opened = async {
        while cases(&newer[1]).await == 0 {
            score(&newer[0], angry(n)).await;
            n += 1;
        }
    };
    tokio::time::timeout(LIMIT, opened).await.expect("a case opens in time");
    assert_eq!(newest_form(&log).await, EntryForm::Cases);
    for service in newer {
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_meets_an_unknown_form_says_so_and_counts_no_further() {
    let nats = Nats::start();
    let url = nats.url();
    let server = Server::start_with(0, &["--observations", &url, "--drain-notice", "0"]);
    let log = nats.log("pounce").await;
    eventually("it has read the log", || {
        let applied = server.get("/metrics").1.contains("pounce_log_position ");
        applied && server.get("/readyz").1.contains("observation log: read to its end")
    })
    .await;
    // Field 1, the version, is 99.
    let unknown = log.append(Bytes::from_static(&[8, 99, 24, 1])).await.expect("stored");
    let told = server.logged(
        "a newer release wrote to the observation log: this process counts no further; update it",
    );
    let newest = EntryForm::NEWEST.version();
    let reason = format!("the entry has version 99; this release reads up to {newest}");
    assert_eq!(told["error"], reason);
    eventually("its health tells why", || {
        let (status, told) = server.get("/readyz");
        status == 200 && told.contains(&format!("observation log: {reason}"))
    })
    .await;
    let (_, metrics) = server.get("/metrics");
    assert!(metrics.contains("pounce_log_entries_total{result=\"newer\"} 1"));
    assert!(metrics.contains(&format!("pounce_log_position {}", unknown - 1)), "{metrics}");
    // It goes on ticking, no faster than before.
    let mut read = log.read_after(unknown - 1).await.expect("a log");
    let first = read.next().await.expect("endless").expect("the unknown one").at;
    let mut ticks = 0;
    while read.next().await.expect("endless").expect("a tick").at
        < first.after(Duration::from_secs(4))
    {
        ticks += 1;
    }
    assert!((1..=5).contains(&ticks), "{ticks} in four seconds");
    server.drain();
}
