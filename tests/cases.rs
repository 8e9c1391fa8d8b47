//! Cases through the service's own door: who opens, lists, watches, claims and closes them.

mod support;
#[path = "support/token_file.rs"]
mod token_file;

use std::collections::HashSet;
use std::time::Duration;

use futures::StreamExt;
use pounce::alerting::state::StateDir;
use pounce::auth::tokens::Scope;
use pounce::cases::monitor::CaseSpec;
use pounce_client::{Access, Client, WatchedCase};
use pounce_proto::care_service_client::CareServiceClient;
use pounce_proto::watch_cases_response::Message;
use pounce_proto::{
    Case, CaseChange, CaseChangeKind, CaseFilter, CaseOrder, CaseOutcome, CaseState,
    ClaimCaseRequest, CloseCaseRequest, ListCasesRequest, Post, ReleaseCaseRequest, ScoreRequest,
    Severity, WatchCasesRequest,
};
use pounce_types::score::Severity as Level;
use support::{Service, Spec, eventually, metric, post};
use token_file::TokenFile;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;

const LIMIT: Duration = Duration::from_secs(60);

fn on() -> CaseSpec {
    CaseSpec { severity_min: Some(Level::Low), ..CaseSpec::off() }
}

async fn start() -> Service {
    Service::start(Spec { cases: on(), ..Spec::default() }).await
}

/// A complaint of an author, published now.
fn complaint(id: u32, author: u32) -> Post {
    let author = pounce_proto::Author { id: format!("author {author}").into(), followers: 0 };
    let author = Some(author);
    Post { topic: "acme".into(), author, ..post(format!("p{id}"), format!("bad {id}")) }
}

async fn send(service: &Service, post: Post) {
    let request = ScoreRequest { post: Some(post), ..ScoreRequest::default() };
    service.connect().await.score(request).await.expect("an event");
}

async fn care(service: &Service) -> CareServiceClient<Channel> {
    CareServiceClient::new(service.channel().await)
}

async fn list(service: &Service, request: ListCasesRequest) -> Vec<Case> {
    care(service).await.list_cases(request).await.expect("a list").into_inner().cases
}

async fn only_case(service: &Service) -> Case {
    let mut cases = list(service, ListCasesRequest::default()).await;
    assert_eq!(cases.len(), 1);
    cases.remove(0)
}

fn claiming(id: &str, by: &str) -> ClaimCaseRequest {
    ClaimCaseRequest { id: id.to_owned(), by: by.to_owned() }
}

fn closing(id: &str, by: &str, outcome: CaseOutcome) -> CloseCaseRequest {
    let (id, by, note) = (id.to_owned(), by.to_owned(), "called back".to_owned());
    CloseCaseRequest { id, by, outcome: outcome.into(), note }
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, says: &str) -> Status {
    let status = answer.expect_err(says);
    assert_eq!(status.code(), code, "{status}");
    assert!(status.message().contains(says), "{status}");
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_there_are_no_cases_and_every_call_says_so() {
    let service = Service::start(Spec::default()).await;
    send(&service, complaint(1, 1)).await;
    let mut care = care(&service).await;
    let says = "it was started without --cases";
    refused(care.list_cases(ListCasesRequest::default()).await, Code::Unimplemented, says);
    refused(care.watch_cases(WatchCasesRequest::default()).await, Code::Unimplemented, says);
    refused(care.claim_case(claiming("", "ann")).await, Code::Unimplemented, says);
    let close = closing("", "ann", CaseOutcome::Answered);
    refused(care.close_case(close).await, Code::Unimplemented, says);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flagged_post_is_claimed_once_and_closed_once() {
    let service = start().await;
    send(&service, complaint(1, 1)).await;
    send(&service, complaint(2, 1)).await;
    send(&service, complaint(2, 1)).await;
    send(&service, post("fine", "good")).await;
    send(&service, Post { topic: "acme".into(), ..post("happy", "good") }).await;
    let case = only_case(&service).await;
    assert_eq!((case.post_ids.join(","), case.posts), ("p1,p2".to_owned(), 2));
    assert_eq!((case.topic.as_str(), case.state()), ("acme", CaseState::Open));
    assert_ne!(case.severity(), Severity::Unspecified);
    let seconds = |at: Option<prost_types::Timestamp>| at.map_or(0, |at| at.seconds);
    assert_eq!(seconds(case.respond_by) - seconds(case.posted_at), 15 * 60);
    assert!(!case.overdue);

    let mut care = care(&service).await;
    let claimed = care.claim_case(claiming(&case.id, "ann")).await.expect("free").into_inner();
    let claim = claimed.case.and_then(|case| case.claim).expect("claimed");
    assert_eq!(claim.by, "ann");
    let told = refused(
        care.claim_case(claiming(&case.id, "bob")).await,
        Code::FailedPrecondition,
        "the case is claimed by ann until ",
    );
    let details = told.get_error_details();
    let info = details.error_info().expect("details");
    assert_eq!((info.reason.as_str(), info.metadata["by"].as_str()), ("CLAIMED", "ann"));
    let release = |by: &str| ReleaseCaseRequest { id: case.id.clone(), by: by.to_owned() };
    let says = "claimed by ann";
    refused(care.release_case(release("bob")).await, Code::FailedPrecondition, says);
    care.release_case(release("ann")).await.expect("hers");
    care.release_case(release("ann")).await.expect("done before");
    care.claim_case(claiming(&case.id, "bob")).await.expect("free again");
    let close = closing(&case.id, "bob", CaseOutcome::Answered);
    for _ in 0..2 {
        let closed = care.close_case(close.clone()).await.expect("his").into_inner().case;
        let closing = closed.and_then(|case| case.closing).expect("closed");
        assert_eq!(
            (closing.outcome(), closing.note.as_str()),
            (CaseOutcome::Answered, "called back")
        );
    }
    refused(
        care.close_case(closing(&case.id, "ann", CaseOutcome::FalseAlarm)).await,
        Code::FailedPrecondition,
        "the case was closed by bob as answered",
    );
    assert_eq!(list(&service, ListCasesRequest::default()).await, []);
    let states = vec![CaseState::Closed.into()];
    let closed = list(&service, ListCasesRequest { states, ..ListCasesRequest::default() }).await;
    let did: Vec<_> =
        closed[0].history.iter().map(|entry| (entry.kind().name(), &*entry.by)).collect();
    assert_eq!(
        did,
        [
            ("opened", ""),
            ("claimed", "ann"),
            ("released", "ann"),
            ("claimed", "bob"),
            ("closed", "bob")
        ]
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_posts_of_a_topic_that_are_severe_enough_open_cases() {
    let cases = CaseSpec { severity_min: Some(Level::High), ..CaseSpec::off() };
    let mut spec = Spec { cases, ..Spec::default() };
    spec.service.thresholds.discontent_high = 0.999;
    let service = Service::start(spec).await;
    send(&service, complaint(0, 0)).await;
    send(&service, Post { text: "bad bad bad".into(), ..complaint(1, 1) }).await;
    send(&service, Post { topic: "".into(), text: "bad bad bad".into(), ..complaint(2, 2) }).await;
    send(&service, Post { language: "de".into(), text: "bad bad bad".into(), ..complaint(3, 3) })
        .await;
    send(&service, Post { text: "good".into(), ..complaint(4, 4) }).await;
    assert_eq!(only_case(&service).await.post_ids, ["p1"]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_filtered_ordered_and_read_by_pages() {
    let service = start().await;
    for n in 0..7 {
        send(&service, complaint(n, n)).await;
    }
    let late = prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 };
    let other = Post { topic: "lark".into(), posted_at: Some(late), ..complaint(7, 7) };
    send(&service, other).await;
    let overdue = ListCasesRequest { overdue: true, ..ListCasesRequest::default() };
    let judged = async { while list(&service, overdue.clone()).await.is_empty() {} };
    tokio::time::timeout(LIMIT, judged).await.expect("its deadline is over");
    let all = list(&service, ListCasesRequest::default()).await;
    assert_eq!((all.len(), all[0].topic.as_str(), all[0].overdue), (8, "lark", true));
    assert_eq!(list(&service, overdue).await.len(), 1);
    let filter = CaseFilter { topics: vec![" ACME".to_owned()], ..CaseFilter::default() };
    let of_topic = ListCasesRequest { filter: Some(filter), ..ListCasesRequest::default() };
    assert_eq!(list(&service, of_topic.clone()).await.len(), 7);

    let mut care = care(&service).await;
    let mut request = ListCasesRequest { page_size: 3, ..of_topic };
    let mut ids = HashSet::new();
    let mut pages = 0;
    loop {
        let page = care.list_cases(request.clone()).await.expect("a page").into_inner();
        ids.extend(page.cases.into_iter().map(|case| case.id));
        pages += 1;
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!((pages, ids.len()), (3, 7));

    let one = |change: fn(&mut ListCasesRequest)| {
        let mut request = ListCasesRequest::default();
        change(&mut request);
        request
    };
    for (request, says) in [
        (one(|r| r.page_size = -1), "page_size is out of range: 0 or more"),
        (one(|r| r.page_token = "nonsense".to_owned()), "page_token is none"),
        (one(|r| r.states = vec![9]), "states has an unknown value"),
        (one(|r| r.order = 9), "order has an unknown value"),
        (
            one(|r| r.filter = Some(CaseFilter { severity_min: 9, ..CaseFilter::default() })),
            "filter.severity_min has an unknown value",
        ),
        (
            one(|r| {
                let topics = vec!["x".repeat(257)];
                r.filter = Some(CaseFilter { topics, ..CaseFilter::default() });
            }),
            "filter.topics has 257 bytes, more than the limit of 256",
        ),
    ] {
        refused(care.list_cases(request).await, Code::InvalidArgument, says);
    }
    let severe =
        ListCasesRequest { order: CaseOrder::Severity.into(), ..ListCasesRequest::default() };
    assert_eq!(list(&service, severe).await.len(), 8);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_an_action_names_its_field() {
    let service = start().await;
    send(&service, complaint(1, 1)).await;
    let id = only_case(&service).await.id;
    let mut care = care(&service).await;
    let long = "x".repeat(257);
    for (request, code, says) in [
        (claiming("1f", "ann"), Code::InvalidArgument, "id is out of range: 32 hexadecimal digits"),
        (claiming(&"0".repeat(32), "ann"), Code::NotFound, "no case has this id"),
        (claiming(&id, " "), Code::InvalidArgument, "by is required"),
        (
            claiming(&id, &long),
            Code::InvalidArgument,
            "by has 257 bytes, more than the limit of 256",
        ),
    ] {
        refused(care.claim_case(request).await, code, says);
    }
    let unset = closing(&id, "ann", CaseOutcome::Unspecified);
    refused(care.close_case(unset).await, Code::InvalidArgument, "outcome is required");
    let note = "x".repeat(1025);
    let long = CloseCaseRequest { note, ..closing(&id, "ann", CaseOutcome::Answered) };
    let says = "note has 1025 bytes, more than the limit of 1024";
    refused(care.close_case(long).await, Code::InvalidArgument, says);
    service.stop().await;
}

async fn next(watch: &mut Streaming<pounce_proto::WatchCasesResponse>) -> Message {
    let next = tokio::time::timeout(LIMIT, watch.message()).await.expect("in time");
    next.expect("no status").expect("it goes on").message.expect("a message")
}

async fn change(watch: &mut Streaming<pounce_proto::WatchCasesResponse>) -> CaseChange {
    match next(watch).await {
        Message::Change(change) => change,
        other => panic!("a change, not {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_begins_with_what_is_open_and_goes_on_where_another_one_ended() {
    let service = start().await;
    send(&service, complaint(1, 1)).await;
    let mut care = care(&service).await;
    let watch = care.watch_cases(WatchCasesRequest::default()).await;
    let mut watch = watch.expect("a watch").into_inner();
    let present = change(&mut watch).await;
    assert_eq!((present.kind(), present.position.as_str()), (CaseChangeKind::Present, ""));
    assert_eq!(
        next(&mut watch).await,
        Message::Current(pounce_proto::WatchCasesCurrent { resumed: false })
    );
    let id = present.case.expect("a case").id;
    care.claim_case(claiming(&id, "ann")).await.expect("free");
    let claimed = change(&mut watch).await;
    assert_eq!(claimed.kind(), CaseChangeKind::Claimed);
    drop(watch);
    care.claim_case(claiming(&id, "ann")).await.expect("hers");
    send(&service, complaint(2, 2)).await;

    let resume_after = claimed.position;
    let request = WatchCasesRequest { resume_after, ..WatchCasesRequest::default() };
    let mut again = care.watch_cases(request).await.expect("a watch").into_inner();
    assert_eq!(change(&mut again).await.kind(), CaseChangeKind::Renewed);
    assert_eq!(change(&mut again).await.kind(), CaseChangeKind::Opened);
    assert_eq!(
        next(&mut again).await,
        Message::Current(pounce_proto::WatchCasesCurrent { resumed: true })
    );
    let resume_after = "nonsense".to_owned();
    let request = WatchCasesRequest { resume_after, ..WatchCasesRequest::default() };
    refused(care.watch_cases(request).await, Code::InvalidArgument, "resume_after is out of range");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_holder_of_a_token_acts_in_its_name_and_within_its_scopes() {
    let file = TokenFile::new();
    let feeder = file.add("feeder", &[Scope::Score, Scope::AlertsRead, Scope::AlertsWrite]);
    let reader = file.add("reader", &[Scope::CasesRead]);
    let ann = file.add("ann", &[Scope::CasesRead, Scope::CasesWrite]);
    let tokens = Some(file.open());
    let service = Service::start(Spec { cases: on(), tokens, ..Spec::default() }).await;
    let client = |token: &str| {
        let access = Access { token: Some(token.to_owned()), ..Access::default() };
        Client::connect_with(&service.url(), &access).expect("an address")
    };
    let posts = futures::stream::iter([Ok(complaint(1, 1))]);
    let scored: Vec<_> = client(&feeder).score_all(posts, Default::default()).collect().await;
    assert!(scored[0].is_ok());

    let all = ListCasesRequest::default;
    let refused_call = client(&feeder).care().list_cases(all()).await;
    refused(refused_call, Code::PermissionDenied, "not good for this call");
    let case = client(&reader).cases(all()).await.expect("a list").remove(0);
    let denied = client(&reader).care().claim_case(claiming(&case.id, "")).await;
    refused(denied, Code::PermissionDenied, "not good for this call");
    let posing = client(&ann).care().claim_case(claiming(&case.id, "bob")).await;
    let says = "by must be empty or the name of your token, ann";
    refused(posing, Code::InvalidArgument, says);
    let claimed = client(&ann).care().claim_case(claiming(&case.id, "")).await.expect("free");
    let claim = claimed.into_inner().case.and_then(|case| case.claim);
    assert_eq!(claim.map(|claim| claim.by).as_deref(), Some("ann"));
    service.stop().await;
}

/// The next change that a client is told.
async fn told(
    watch: &mut (impl StreamExt<Item = Result<WatchedCase, pounce_client::ClientError>> + Unpin),
) -> WatchedCase {
    let next = tokio::time::timeout(LIMIT, watch.next()).await.expect("in time");
    next.expect("it goes on").expect("no error")
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_outlive_the_process_and_a_clients_watch_outlives_it_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let start = |addr: std::net::SocketAddr| {
        let state = Some(StateDir::open(folder.path()).expect("writable"));
        Service::start(Spec { cases: on(), state, addr, ..Spec::default() })
    };
    let service = start(([127, 0, 0, 1], 0).into()).await;
    let addr = service.addr;
    let client = service.client();
    send(&service, complaint(1, 1)).await;
    send(&service, complaint(2, 2)).await;
    let mut watch = client.watch_cases(CaseFilter::default());
    assert_eq!(told(&mut watch).await, WatchedCase::Connected);
    let mut ids = Vec::new();
    for _ in 0..2 {
        let WatchedCase::Change(change) = told(&mut watch).await else { panic!("two cases") };
        ids.extend(change.case.map(|case| case.id));
    }
    let claimed = client.care().claim_case(claiming(&ids[0], "ann")).await;
    claimed.expect("free");
    assert!(matches!(told(&mut watch).await, WatchedCase::Change(_)));
    service.stop().await;
    assert!(matches!(told(&mut watch).await, WatchedCase::Lost(_)));

    let service = start(addr).await;
    assert_eq!(told(&mut watch).await, WatchedCase::Connected);
    let mut other = care(&service).await;
    refused(
        other.claim_case(claiming(&ids[0], "bob")).await,
        Code::FailedPrecondition,
        "claimed by ann",
    );
    // What was told before is not told again.
    other.close_case(closing(&ids[1], "bob", CaseOutcome::FalseAlarm)).await.expect("free");
    let WatchedCase::Change(closed) = told(&mut watch).await else { panic!("a change") };
    assert_eq!(
        (closed.kind(), closed.case.map(|case| case.id)),
        (CaseChangeKind::Closed, Some(ids[1].clone()))
    );
    // A post that is sent again to the new process joins no second case.
    send(&service, complaint(1, 1)).await;
    assert_eq!(only_case(&service).await.posts, 1);
    drop(watch);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_tell_how_fast_people_were_and_how_often_the_flag_was_wrong() {
    let service = start().await;
    let closed = "pounce_cases_closed_total{severity=\"high\",outcome=\"false_alarm\"}";
    let before = [
        metric("pounce_case_claim_seconds_count"),
        metric("pounce_case_close_seconds_count"),
        metric(closed),
        metric("pounce_cases_due_total{result=\"in_time\"}"),
        metric("pounce_cases_due_total{result=\"opened_late\"}"),
    ];
    let severe = |n| Post { text: format!("bad bad bad {n}").into(), ..complaint(n, n) };
    send(&service, severe(1)).await;
    send(&service, severe(2)).await;
    let ids: Vec<_> =
        list(&service, ListCasesRequest::default()).await.into_iter().map(|case| case.id).collect();
    let mut care = care(&service).await;
    for _ in 0..2 {
        care.claim_case(claiming(&ids[0], "ann")).await.expect("hers");
    }
    care.close_case(closing(&ids[0], "ann", CaseOutcome::Answered)).await.expect("hers");
    care.close_case(closing(&ids[1], "ann", CaseOutcome::FalseAlarm)).await.expect("free");
    let late = prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 };
    send(&service, Post { posted_at: Some(late), ..severe(3) }).await;
    eventually("its deadline is over", || metric("pounce_cases_overdue{topic=\"acme\"}") >= 1.0)
        .await;
    let after = [
        metric("pounce_case_claim_seconds_count"),
        metric("pounce_case_close_seconds_count"),
        metric(closed),
        metric("pounce_cases_due_total{result=\"in_time\"}"),
        metric("pounce_cases_due_total{result=\"opened_late\"}"),
    ];
    // Other tests of this process may add to them.
    for ((before, after), least) in before.iter().zip(after).zip([1.0, 2.0, 1.0, 1.0, 1.0]) {
        assert!(after - before >= least, "{before} {after}");
    }
    service.stop().await;
}

/// Runs `pounce cases` to its end, off the async threads; what it wrote, and its exit code.
async fn command(service: &Service, words: &[&str]) -> (String, Option<i32>) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pounce"));
    command.arg("cases").args(words).args(["--addr", &service.url()]).env_remove("RUST_LOG");
    let run = tokio::task::spawn_blocking(move || command.output().expect("the binary runs"));
    let output = run.await.expect("no panic");
    let wrote = [output.stdout, output.stderr].concat();
    (String::from_utf8(wrote).expect("UTF-8"), output.status.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_lists_claims_closes_and_exports() {
    let service = start().await;
    send(&service, Post { place: "Lisbon".into(), ..complaint(1, 1) }).await;
    send(&service, complaint(2, 1)).await;
    send(&service, complaint(3, 2)).await;
    let (table, code) = command(&service, &[]).await;
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!((rows.len(), code), (3, Some(0)), "{table}");
    assert!(rows[0].starts_with("due ") && rows[1].starts_with("in 1"), "{table}");
    assert!(rows[1].contains("acme in Lisbon") && rows[1].ends_with("p1"), "{table}");

    let (json, _) = command(&service, &["list", "--json", "--places", "lisbon"]).await;
    let case: serde_json::Value = serde_json::from_str(&json).expect("one line");
    let id = case["id"].as_str().expect("an id");
    assert_eq!((&case["posts"], &case["state"]), (&2.into(), &"open".into()));
    let (claimed, code) = command(&service, &["claim", id, "--by", "ann"]).await;
    assert_eq!(code, Some(0), "{claimed}");
    assert!(claimed.contains(r#""claimed_by":"ann""#), "{claimed}");
    let (refused, code) = command(&service, &["claim", id, "--by", "bob"]).await;
    assert_eq!(code, Some(1));
    assert!(refused.contains("the case is claimed by ann until"), "{refused}");
    command(&service, &["release", id, "--by", "ann"]).await;
    let close = ["close", id, "--by", "bob", "--outcome", "false-alarm", "--note", "a joke"];
    let (closed, code) = command(&service, &close).await;
    assert_eq!(code, Some(0), "{closed}");
    let (table, _) = command(&service, &["--states", "closed"]).await;
    assert!(table.contains("false_alarm      bob"), "{table}");

    let (lines, _) = command(&service, &["export"]).await;
    let parse = |line| serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    let exported: Vec<serde_json::Value> = lines.lines().map(parse).collect();
    let of = |name: &str| exported.iter().map(|line| line[name].clone()).collect::<Vec<_>>();
    assert_eq!(of("post_id"), ["p1", "p2"]);
    assert_eq!(of("outcome"), ["false_alarm", "false_alarm"]);
    assert!(!lines.contains("a joke"), "ids and outcomes alone");
    service.stop().await;
}
