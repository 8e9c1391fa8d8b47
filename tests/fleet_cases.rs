//! Replicas that share a log have the same cases, whatever happens to them or to the log.

#[path = "support/nats.rs"]
mod nats;
mod support;

use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use nats::Nats;
use pounce::cases::monitor::CaseSpec;
use pounce_client::WatchedCase;
use pounce_proto::care_service_client::CareServiceClient;
use pounce_proto::{
    Author, Case, CaseChangeKind, CaseFilter, CaseOutcome, CaseState, ClaimCaseRequest,
    CloseCaseRequest, Flag, ListCasesRequest, Post, ScoreRequest, ScoredEvent,
};
use pounce_types::score::Severity;
use support::{IMPATIENCE, Service, Spec, counts, post};
use tonic::Code;

const LIMIT: Duration = Duration::from_secs(60);

/// A replica whose log answers.
async fn replica(nats: &Nats) -> Service {
    started(nats, Spec::default()).await
}

/// A replica whose log falls silent.
async fn impatient(nats: &Nats) -> Service {
    started(nats, Spec { log_silence_max: IMPATIENCE, ..Spec::default() }).await
}

async fn started(nats: &Nats, spec: Spec) -> Service {
    let cases = CaseSpec { severity_min: Some(Severity::Low), ..CaseSpec::off() };
    let observations = Some(nats.log("test").await);
    let service = Service::start(Spec { observations, cases, ..spec }).await;
    counts(&service).await;
    service
}

fn complaint(n: usize) -> Post {
    let author = Some(Author { id: format!("author {n}").into(), followers: 0 });
    Post { topic: "acme".into(), author, ..post(format!("p{n}"), format!("bad {n}")) }
}

async fn score(service: &Service, post: Post) -> ScoredEvent {
    let request = ScoreRequest { post: Some(post), ..ScoreRequest::default() };
    let reply = service.connect().await.score(request).await.expect("an answer");
    reply.into_inner().event.expect("an event")
}

fn is_counted(event: &ScoredEvent) -> bool {
    !event.flags().any(|flag| flag == Flag::NotCountedYet)
}

/// Scores posts that open no case until replies wait for the log, or no longer do.
async fn score_until(service: &Service, counted: bool) {
    let scoring = async {
        while is_counted(
            &score(service, Post { topic: "acme".into(), ..post("probe", "good") }).await,
        ) != counted
        {}
    };
    tokio::time::timeout(LIMIT, scoring).await.expect("in time");
}

async fn care(service: &Service) -> CareServiceClient<tonic::transport::Channel> {
    CareServiceClient::new(service.channel().await)
}

/// All cases of a replica, in whatever state.
async fn all(service: &Service) -> Vec<Case> {
    let states = [CaseState::Open, CaseState::Claimed, CaseState::Closed];
    let request = ListCasesRequest {
        states: states.map(i32::from).to_vec(),
        page_size: 200,
        ..ListCasesRequest::default()
    };
    care(service).await.list_cases(request).await.expect("a list").into_inner().cases
}

async fn same_everywhere(replicas: &[&Service], cases: usize) -> Vec<Case> {
    let agreed = async {
        loop {
            let lists = join_all(replicas.iter().map(|service| all(service))).await;
            if lists[0].len() == cases && lists.iter().all(|list| *list == lists[0]) {
                return lists.into_iter().next().expect("a list");
            }
        }
    };
    tokio::time::timeout(LIMIT, agreed).await.expect("all replicas have the same cases")
}

fn claiming(id: &str, by: &str) -> ClaimCaseRequest {
    ClaimCaseRequest { id: id.to_owned(), by: by.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_claims_at_the_same_moment_one_wins_and_every_replica_knows_whose() {
    let nats = Nats::start();
    let replicas = [replica(&nats).await, replica(&nats).await, replica(&nats).await];
    for n in 0..12 {
        assert!(is_counted(&score(&replicas[n % 3], complaint(n)).await));
    }
    let open = same_everywhere(&replicas.each_ref(), 12).await;
    for case in &open {
        let claims = replicas.iter().zip(["ann", "bob", "eve"]).map(async |(service, by)| {
            care(service).await.claim_case(claiming(&case.id, by)).await
        });
        let (won, lost): (Vec<_>, Vec<_>) =
            join_all(claims).await.into_iter().partition(Result::is_ok);
        assert_eq!((won.len(), lost.len()), (1, 2));
        let claimed = won.into_iter().next().and_then(Result::ok).expect("one").into_inner();
        let winner = claimed.case.and_then(|case| case.claim).expect("claimed").by;
        for refused in lost {
            let status = refused.expect_err("lost");
            assert_eq!(status.code(), Code::FailedPrecondition);
            assert!(status.message().contains(&format!("claimed by {winner} until")), "{status}");
        }
    }
    let cases = same_everywhere(&replicas.each_ref(), 12).await;
    assert!(cases.iter().all(|case| case.state() == CaseState::Claimed));
    // One that comes later has the same.
    let late = replica(&nats).await;
    same_everywhere(&[&replicas[0], &late], 12).await;
    for service in replicas.into_iter().chain([late]) {
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_moves_to_another_replica_goes_on_there() {
    let nats = Nats::start();
    let (one, two) = (replica(&nats).await, replica(&nats).await);
    score(&one, complaint(0)).await;
    let case = same_everywhere(&[&one, &two], 1).await.remove(0);
    let addresses = [one.url(), two.url()];
    let client = pounce_client::Client::balanced(&addresses, &Default::default()).expect("two");
    let mut watch = client.watch_cases(CaseFilter::default());
    let mut next = async || {
        let next = tokio::time::timeout(LIMIT, watch.next()).await.expect("in time");
        next.expect("it goes on").expect("no error")
    };
    assert_eq!(next().await, WatchedCase::Connected);
    assert!(matches!(next().await, WatchedCase::Change(_)));
    care(&two).await.claim_case(claiming(&case.id, "ann")).await.expect("free");
    let WatchedCase::Change(claimed) = next().await else { panic!("a change") };
    assert_eq!(claimed.kind(), CaseChangeKind::Claimed);
    one.stop().await;
    let outcome = CaseOutcome::Answered.into();
    let close = CloseCaseRequest { id: case.id, by: "ann".into(), outcome, note: String::new() };
    care(&two).await.close_case(close).await.expect("hers");
    // Whether the watch was on the replica that left or not, it tells the closing and nothing twice.
    let mut told = Vec::new();
    while told.last() != Some(&CaseChangeKind::Closed) {
        if let WatchedCase::Change(change) = next().await {
            told.push(change.kind());
        }
    }
    assert_eq!(told, [CaseChangeKind::Closed]);
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_flagged_while_the_log_is_away_opens_its_case_when_it_is_back() {
    let mut nats = Nats::start();
    let replicas = [impatient(&nats).await, impatient(&nats).await];
    score(&replicas[0], complaint(0)).await;
    let case = same_everywhere(&replicas.each_ref(), 1).await.remove(0);

    nats.pause();
    score_until(&replicas[0], false).await;
    for n in 1..10 {
        assert!(!is_counted(&score(&replicas[0], complaint(n)).await));
    }
    let unknown = care(&replicas[0]).await.claim_case(claiming(&case.id, "ann")).await;
    assert_eq!(unknown.map_err(|status| status.code()).err(), Some(Code::Unavailable));
    nats.resume();
    for service in &replicas {
        score_until(service, true).await;
    }
    let cases = same_everywhere(&replicas.each_ref(), 10).await;
    // A client that tries again finds the claim hers: it was done, or is done now.
    let again = care(&replicas[1]).await.claim_case(claiming(&case.id, "ann")).await;
    again.expect("hers");
    assert_eq!(cases.iter().map(|case| case.posts).sum::<u64>(), 10);

    nats.kill();
    nats.restart();
    score_until(&replicas[1], true).await;
    score(&replicas[1], complaint(10)).await;
    same_everywhere(&replicas.each_ref(), 11).await;
    for service in replicas {
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_outlive_a_log_that_is_lost() {
    let mut nats = Nats::start();
    let replicas = [impatient(&nats).await, impatient(&nats).await];
    for n in 0..5 {
        score(&replicas[0], complaint(n)).await;
    }
    let before = same_everywhere(&replicas.each_ref(), 5).await;
    let ids = |cases: &[Case]| cases.iter().map(|case| case.id.clone()).collect::<Vec<_>>();
    nats.kill();
    nats.restart_empty();
    for service in &replicas {
        score_until(service, true).await;
    }
    let late = replica(&nats).await;
    let after = same_everywhere(&[&replicas[0], &replicas[1], &late], 5).await;
    assert_eq!(ids(&after), ids(&before));
    for service in replicas.into_iter().chain([late]) {
        service.stop().await;
    }
}
