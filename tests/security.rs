//! Who gets in, and how much of the service they get: TLS, tokens, limits.

#[path = "support/authority.rs"]
mod authority;
mod support;

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use authority::Authority;
use futures::StreamExt;
use pounce::auth::tokens::{self, NewToken, Scope, Tokens};
use pounce::lifecycle::reload::{Look, Reloaded};
use pounce::transport::tls::{self, TlsFiles};
use pounce_client::{Access, Line, Reply, StreamSpec, line};
use pounce_proto::score_stream_request::Request;
use pounce_proto::score_stream_response::Reply as Wire;
use pounce_proto::scoring_service_client::ScoringServiceClient;
use pounce_proto::{
    GetModelRequest, Post, ScoreBatchRequest, ScoreRequest, ScoreStreamRequest,
    ScoreStreamResponse, StreamOptions,
};
use support::{Service, Spec, eventually, message, metric, post};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_types::StatusExt;

/// A folder with files of a server's TLS and tokens.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        // As deployments do it: whole files appear under their name.
        let new = self.path("new");
        std::fs::write(&new, content).expect("written");
        std::fs::rename(new, self.path(name)).expect("renamed");
    }

    fn write_tls(&self, authority: &Authority) {
        let (cert, key) = authority.issue();
        self.write("cert", &cert);
        self.write("key", &key);
    }

    fn tls(&self, client_ca: Option<&Authority>) -> tls::Tls {
        let client_ca = client_ca.map(|authority| {
            self.write("client-ca", &authority.pem);
            self.path("client-ca")
        });
        let files = TlsFiles { cert: self.path("cert"), key: self.path("key"), client_ca };
        tls::open(files).expect("good files")
    }

    /// Adds a token to the file and gives it.
    fn add_token(&self, name: &str, scopes: &[Scope], posts_per_second: Option<u32>) -> String {
        let rate = posts_per_second.and_then(NonZeroU32::new);
        let made = NewToken::make(name, scopes, rate).expect("made");
        made.append_to(&self.path("tokens")).expect("appended");
        made.token
    }

    fn tokens(&self) -> Reloaded<Tokens> {
        tokens::open(self.path("tokens"), None).expect("good tokens")
    }
}

fn with_token(token: &str) -> Access {
    Access { token: Some(token.to_owned()), ..Access::default() }
}

fn connect(service: &Service, access: &Access) -> ScoringServiceClient<Line> {
    ScoringServiceClient::new(line(&service.url(), access).expect("an address"))
}

async fn score(client: &mut ScoringServiceClient<Line>, text: &str) -> Result<(), Status> {
    let request = ScoreRequest { post: Some(post("1", text)), ..Default::default() };
    client.score(request).await.map(|response| {
        assert!(response.into_inner().event.is_some());
    })
}

async fn code(service: &Service, access: &Access) -> Code {
    score(&mut connect(service, access), "good")
        .await
        .map_or_else(|status| status.code(), |()| Code::Ok)
}

/// An open stream, one post and one reply at a time.
struct Talk {
    posts: mpsc::Sender<ScoreStreamRequest>,
    replies: Streaming<ScoreStreamResponse>,
}

impl Talk {
    async fn open(service: &Service, access: &Access) -> Self {
        let (posts, receiver) = mpsc::channel(4);
        let replies = connect(service, access).score_stream(ReceiverStream::new(receiver)).await;
        Self { posts, replies: replies.expect("a stream").into_inner() }
    }

    async fn say(&mut self, text: &str) -> Result<Option<Wire>, Status> {
        // A stream that has ended says so in its replies.
        let _ = self.posts.send(message(post("1", text))).await;
        self.hear().await
    }

    async fn hear(&mut self) -> Result<Option<Wire>, Status> {
        Ok(self.replies.message().await?.and_then(|reply| reply.reply))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_to_those_who_trust_the_certificate_and_plaintext_is_not() {
    let (files, authority) = (Files::new(), Authority::new());
    files.write_tls(&authority);
    let tls = Some(files.tls(None));
    let service = Service::start(Spec { tls, ..Spec::default() }).await;
    assert_eq!(code(&service, &authority.trusted()).await, Code::Ok);
    let refused = metric("pounce_connections_refused_total{reason=\"handshake\"}");
    assert_eq!(code(&service, &Authority::new().trusted()).await, Code::Unavailable);
    let plain = format!("http://{}", service.addr);
    let plain = line(&plain, &Access::default()).expect("an address");
    let status = score(&mut ScoringServiceClient::new(plain), "good").await.expect_err("plaintext");
    assert_ne!(status.code(), Code::Ok);
    eventually("both handshakes are counted", || {
        metric("pounce_connections_refused_total{reason=\"handshake\"}") >= refused + 2.0
    })
    .await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutual_tls_lets_in_only_clients_that_its_authority_vouches_for() {
    let (files, authority, clients) = (Files::new(), Authority::new(), Authority::new());
    files.write_tls(&authority);
    let tls = Some(files.tls(Some(&clients)));
    let service = Service::start(Spec { tls, ..Spec::default() }).await;
    assert_eq!(code(&service, &authority.trusted_as(&clients)).await, Code::Ok);
    assert_ne!(code(&service, &authority.trusted()).await, Code::Ok);
    assert_ne!(code(&service, &authority.trusted_as(&authority)).await, Code::Ok);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_replaces_no_valid_one() {
    let (files, authority) = (Files::new(), Authority::new());
    let write = |(cert, key): (String, String)| {
        files.write("cert", &cert);
        files.write("key", &key);
    };
    write(authority.issue_until(2100));
    let tls = files.tls(None);
    let service = Service::start(Spec { tls: Some(tls.clone()), ..Spec::default() }).await;

    write(authority.issue_until(2020));
    assert!(matches!(tls.look(), Look::Bad(error) if error.to_string().contains("has expired")));
    assert_eq!(code(&service, &authority.trusted()).await, Code::Ok);
    service.stop().await;

    // Nothing better at hand: clients see the fault themselves, and the gauge shows it.
    let tls = files.tls(None);
    write(authority.issue_until(2021));
    assert_eq!(tls.look(), Look::New);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_for_new_connections_and_open_streams_go_on() {
    let (files, old, new) = (Files::new(), Authority::new(), Authority::new());
    files.write_tls(&old);
    let tls = files.tls(None);
    let service = Service::start(Spec { tls: Some(tls.clone()), ..Spec::default() }).await;
    let mut talk = Talk::open(&service, &old.trusted()).await;
    assert!(matches!(talk.say("good").await, Ok(Some(Wire::Event(_)))));

    files.write_tls(&new);
    assert_eq!(tls.look(), Look::New);
    assert_eq!(code(&service, &new.trusted()).await, Code::Ok);
    assert_eq!(code(&service, &old.trusted()).await, Code::Unavailable);
    assert!(matches!(talk.say("bad").await, Ok(Some(Wire::Event(_)))));

    files.write("key", "no key at all");
    assert!(matches!(tls.look(), Look::Bad(error) if error.to_string().contains("private key")));
    files.write("key", &old.issue().1);
    assert!(matches!(tls.look(), Look::Bad(error) if error.to_string().contains("does not go")));
    assert_eq!(code(&service, &new.trusted()).await, Code::Ok);
    assert!(matches!(talk.say("good good").await, Ok(Some(Wire::Event(_)))));
    drop(talk.posts);
    let summary = talk.replies.message().await.expect("no status").and_then(|reply| reply.reply);
    assert!(matches!(summary, Some(Wire::Summary(summary)) if summary.scored == 3));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_over_the_limit_are_closed_until_there_is_a_place() {
    let mut spec = Spec::default();
    spec.service.connections_max = 2;
    let service = Service::start(spec).await;
    let refused = metric("pounce_connections_refused_total{reason=\"limit\"}");
    let (mut first, mut second) =
        (connect(&service, &Access::default()), connect(&service, &Access::default()));
    score(&mut first, "good").await.expect("the first place");
    score(&mut second, "good").await.expect("the second place");
    assert_ne!(code(&service, &Access::default()).await, Code::Ok);
    assert!(metric("pounce_connections_refused_total{reason=\"limit\"}") > refused);

    let limits = first.get_model(GetModelRequest {}).await.expect("open").into_inner().limits;
    assert_eq!(limits.expect("limits").connections_max, 2);
    drop(second);
    let freed = async {
        while code(&service, &Access::default()).await != Code::Ok {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), freed).await.expect("a place is given back");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_method_asks_for_its_scope_and_tells_strangers_nothing() {
    let files = Files::new();
    let shop = with_token(&files.add_token("shop", &[Scope::Score], None));
    let board = with_token(&files.add_token("board", &[Scope::AlertsRead], None));
    let tokens = Some(files.tokens());
    let service = Service::start(Spec { tokens, ..Spec::default() }).await;
    assert_eq!(code(&service, &shop).await, Code::Ok);

    let mut answers = Vec::new();
    for stranger in [Access::default(), with_token("pounce_guess"), with_token("x")] {
        let mut client = connect(&service, &stranger);
        answers.push(score(&mut client, "good").await.expect_err("a stranger"));
        answers.push(client.get_model(GetModelRequest {}).await.expect_err("a stranger"));
        let stream = client.score_stream(futures::stream::iter([message(post("1", "x"))]));
        answers.push(stream.await.expect_err("a stranger"));
        answers.push(no_such_method(&service, &stranger).await);
        answers.push(reflection(&service, &stranger).await.expect_err("a stranger"));
    }
    for status in &answers {
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(status.message(), answers[0].message());
    }
    let denied = score(&mut connect(&service, &board), "good").await.expect_err("another scope");
    assert_eq!(denied.code(), Code::PermissionDenied);
    let options = StreamOptions { alerts: true, ..StreamOptions::default() };
    let alerts = ScoreStreamRequest { request: Some(Request::Options(options)) };
    let alerts = futures::stream::iter([alerts]);
    let mut replies = connect(&service, &shop).score_stream(alerts).await.expect("a stream");
    let not_for_alerts = replies.get_mut().message().await.expect_err("no alerts:read");
    assert_eq!(not_for_alerts.code(), Code::PermissionDenied);
    assert_eq!(no_such_method(&service, &board).await.code(), Code::Unimplemented);
    connect(&service, &board).get_model(GetModelRequest {}).await.expect("any token");
    reflection(&service, &board).await.expect("any token");

    let anybody = line(&service.url(), &Access::default()).expect("an address");
    let health = HealthClient::new(anybody).check(HealthCheckRequest::default()).await;
    health.expect("open to all");
    let counted =
        |reason: &str| metric(&format!("pounce_calls_refused_total{{reason=\"{reason}\"}}"));
    assert!(counted("missing_token") >= 5.0 && counted("unknown_token") >= 10.0);
    assert!(counted("missing_scope") >= 2.0);
    let handled = "grpc_server_handled_total{grpc_type=\"unary\",\
        grpc_service=\"pounce.v1.ScoringService\",grpc_method=\"Score\",\
        grpc_code=\"Unauthenticated\"}";
    assert!(metric(handled) >= 3.0, "refused calls are calls");
    service.stop().await;
}

async fn no_such_method(service: &Service, access: &Access) -> Status {
    let mut grpc = tonic::client::Grpc::new(line(&service.url(), access).expect("an address"));
    grpc.ready().await.expect("it listens");
    let path = http::uri::PathAndQuery::from_static("/nobody.Knows/This");
    let codec = tonic_prost::ProstCodec::<GetModelRequest, GetModelRequest>::default();
    let response = grpc.unary(tonic::Request::new(GetModelRequest {}), path, codec).await;
    response.expect_err("there is no such method")
}

async fn reflection(service: &Service, access: &Access) -> Result<(), Status> {
    let line = line(&service.url(), access).expect("an address");
    let ask = ServerReflectionRequest::default();
    let asked = futures::stream::iter([ask]);
    ServerReflectionClient::new(line).server_reflection_info(asked).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_taken_away_ends_its_streams_after_what_was_accepted() {
    let files = Files::new();
    let kept = files.add_token("kept", &[Scope::Score], None);
    let line_of_kept = std::fs::read_to_string(files.path("tokens")).expect("a line");
    let lost = with_token(&files.add_token("lost", &[Scope::Score], None));
    let tokens = files.tokens();
    let spec = Spec { tokens: Some(tokens.clone()), ..Spec::default() };
    let service = Service::start(spec).await;
    let mut keeps = Talk::open(&service, &with_token(&kept)).await;
    let mut loses = Talk::open(&service, &lost).await;
    for talk in [&mut keeps, &mut loses] {
        assert!(matches!(talk.say("good").await, Ok(Some(Wire::Event(_)))));
    }
    service.script.hold();
    loses.posts.send(message(post("2", "bad"))).await.expect("open");
    eventually("the post is accepted", || service.scorer.posts_open() == 1).await;
    files.write("tokens", &line_of_kept);
    assert_eq!(tokens.look(), Look::New);
    service.script.release();
    assert!(matches!(loses.hear().await, Ok(Some(Wire::Event(_)))), "accepted, so answered");
    assert_eq!(loses.hear().await.expect_err("taken away").code(), Code::Unauthenticated);
    assert_eq!(code(&service, &lost).await, Code::Unauthenticated);
    assert!(matches!(keeps.say("good").await, Ok(Some(Wire::Event(_)))));

    files.write("tokens", "");
    assert!(matches!(tokens.look(), Look::Bad(_)), "a file caught in the middle of a write");
    assert!(matches!(keeps.say("good").await, Ok(Some(Wire::Event(_)))));
    drop(keeps);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_over_a_tokens_rate_are_told_when_to_come_back() {
    let files = Files::new();
    // Slow enough that no post comes back while the test runs.
    let slow = with_token(&files.add_token("slow", &[Scope::Score], Some(20)));
    let free = with_token(&files.add_token("free", &[Scope::Score], None));
    let tokens = Some(files.tokens());
    let service = Service::start(Spec { tokens, ..Spec::default() }).await;
    let mut client = connect(&service, &slow);
    let limits = client.get_model(GetModelRequest {}).await.expect("a token").into_inner().limits;
    assert_eq!(limits.expect("limits").token_posts_per_second_max, 20);

    let batch = |posts: usize| {
        let posts: Vec<Post> = (0..posts).map(|n| post(n, format!("good {n}"))).collect();
        ScoreBatchRequest { posts, ..Default::default() }
    };
    let scored = client.score_batch(batch(60)).await.expect("a full bucket").into_inner();
    assert_eq!(scored.results.len(), 60);
    let refusals = [
        client.score_batch(batch(1)).await.expect_err("an empty bucket"),
        score(&mut client, "good").await.expect_err("an empty bucket"),
    ];
    for status in refusals {
        assert_eq!(status.code(), Code::ResourceExhausted);
        let delay = status.get_error_details().retry_info().and_then(|info| info.retry_delay);
        let delay = delay.expect("a delay");
        assert!(delay > Duration::from_millis(100) && delay < Duration::from_secs(3), "{delay:?}");
    }
    assert!(metric("pounce_calls_refused_total{reason=\"posts_per_second\"}") >= 2.0);
    connect(&service, &free).score_batch(batch(100)).await.expect("no limit");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_over_its_tokens_rate_is_slowed_and_loses_nothing() {
    let files = Files::new();
    let access = with_token(&files.add_token("slow", &[Scope::Score], Some(200)));
    let tokens = Some(files.tokens());
    let service = Service::start(Spec { tokens, ..Spec::default() }).await;
    let client = pounce_client::Client::connect_with(&service.url(), &access).expect("an address");
    let posts = futures::stream::iter((0..300).map(|n| Ok(post(n, format!("good {n}")))));
    let began = Instant::now();
    let replies: Vec<_> = client.score_all(posts, StreamSpec::default()).collect().await;
    // 200 from the full bucket, and half a second for the rest.
    assert!(began.elapsed() > Duration::from_millis(450), "{:?}", began.elapsed());
    assert_eq!(replies.len(), 300);
    assert!(replies.iter().all(|reply| matches!(reply, Ok(Reply::Event(_)))));
    service.stop().await;
}

#[test]
fn files_that_are_of_no_use_are_named_in_one_line() {
    let (files, authority) = (Files::new(), Authority::new());
    files.write_tls(&authority);
    files.write("other-key", &authority.issue().1);
    let open = |cert: &str, key: &str, client_ca: Option<&str>| {
        let client_ca = client_ca.map(|name| files.path(name));
        let opened =
            tls::open(TlsFiles { cert: files.path(cert), key: files.path(key), client_ca });
        match opened {
            Ok(_) => panic!("{cert} and {key} must not do"),
            Err(error) => error.to_string(),
        }
    };
    let starts = |error: String, name: &str, says: &str| {
        let path: &Path = &files.path(name);
        assert!(error.starts_with(&path.display().to_string()), "{error}");
        assert!(error.contains(says) && !error.contains('\n'), "{error}");
    };
    starts(open("no-cert", "key", None), "no-cert", "No such file");
    starts(open("key", "key", None), "key", "no certificate");
    starts(open("cert", "cert", None), "cert", "no private key");
    starts(open("cert", "other-key", None), "cert", "does not go with");
    starts(open("cert", "key", Some("key")), "key", "no certificate");
}
