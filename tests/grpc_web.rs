//! gRPC-Web on the HTTP port, as it is on the wire: the calls, tokens, limits and drain of the gRPC
//! port, for pages of the origins that are listed.

#[path = "support/authority.rs"]
mod authority;
mod support;

use std::sync::Arc;

use authority::Authority;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pounce::auth::tokens::{self, NewToken, Scope};
use pounce::lifecycle::drain::Phase;
use pounce::transport::origin::Origin;
use pounce::transport::tls::{self, TlsFiles};
use pounce_proto::watch_alerts_response::Message as Watched;
use pounce_proto::{
    ScoreBatchRequest, ScoreBatchResponse, ScoreRequest, ScoreResponse, Sentiment,
    WatchAlertsRequest, WatchAlertsResponse,
};
use prost::Message;
use support::{Service, Spec, angry, metric, post};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

const BOARD: &str = "https://board.example";
const SCORE: &str = "/pounce.v1.ScoringService/Score";
const BATCH: &str = "/pounce.v1.ScoringService/ScoreBatch";
const WATCH: &str = "/pounce.v1.AlertService/WatchAlerts";
const BINARY: &str = "content-type: application/grpc-web+proto";
const FROM_BOARD: &str = "origin: https://board.example";

/// A service that pages of two origins may call.
fn open_to_pages() -> Spec {
    let mut spec = Spec::default();
    let listed = [BOARD, "http://localhost:3000"];
    spec.service.web_origins = listed.map(|origin| Origin::parse(origin).expect("good")).into();
    spec
}

/// A message with the header that goes before it.
fn framed(message: &impl Message) -> Vec<u8> {
    let length = u32::try_from(message.encoded_len()).expect("small");
    [&[0][..], &length.to_be_bytes(), &message.encode_to_vec()].concat()
}

fn score(text: &str) -> Vec<u8> {
    framed(&ScoreRequest { post: Some(post("1", text)), ..Default::default() })
}

/// A response, as far as it has been read.
struct Answer<S> {
    status: u16,
    head: String,
    socket: BufReader<S>,
    /// Of the body, without the framing of HTTP.
    read: Vec<u8>,
}

/// Sends a request on a connection of its own.
async fn ask_on<S>(socket: S, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut socket = BufReader::new(socket);
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: pounce\r\nconnection: close\r\n{headers}\
         content-length: {length}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.expect("sent");
    socket.write_all(body).await.expect("sent");
    socket.flush().await.expect("sent");
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(socket.read_line(&mut head).await.expect("a line"), 0, "a whole head: {head}");
    }
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Answer { status, head, socket, read: Vec::new() }
}

async fn ask(
    service: &Service,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &[u8],
) -> Answer<TcpStream> {
    let socket = TcpStream::connect(service.http_addr).await.expect("it listens");
    ask_on(socket, method, path, headers, body).await
}

async fn call(service: &Service, path: &str, more: &[&str], body: &[u8]) -> Answer<TcpStream> {
    ask(service, "POST", path, &[&[BINARY, FROM_BOARD], more].concat(), body).await
}

impl<S: AsyncRead + AsyncWrite + Unpin> Answer<S> {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// More of the body; whether there was more.
    async fn read_on(&mut self) -> bool {
        if self.header("transfer-encoding") != Some("chunked") {
            return self.socket.read_to_end(&mut self.read).await.expect("a body") > 0;
        }
        let mut size = String::new();
        self.socket.read_line(&mut size).await.expect("a chunk");
        let size = usize::from_str_radix(size.trim(), 16).expect("a size");
        let mut chunk = vec![0; size + 2];
        self.socket.read_exact(&mut chunk).await.expect("a whole chunk");
        self.read.extend_from_slice(&chunk[..size]);
        size > 0
    }

    /// The next part: a message (flag 0) or the trailers (flag 128).
    async fn part(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let [flag, a, b, c, d, rest @ ..] = &self.read[..] {
                let length = u32::from_be_bytes([*a, *b, *c, *d]).try_into().expect("small");
                if let Some(part) = rest.get(..length) {
                    let part = (*flag, part.to_vec());
                    self.read.drain(..5 + length);
                    return part;
                }
            }
            assert!(self.read_on().await, "the body ends too early: {:?}", self.read);
        }
    }

    async fn message<M: Message + Default>(&mut self) -> M {
        let (flag, bytes) = self.part().await;
        assert_eq!(flag, 0, "{}", String::from_utf8_lossy(&bytes));
        M::decode(&bytes[..]).expect("a message")
    }

    /// The status at the end of the body.
    async fn end(&mut self) -> String {
        let (flag, bytes) = self.part().await;
        assert_eq!(flag, 128, "trailers");
        assert!(!self.read_on().await && self.read.is_empty(), "nothing comes after trailers");
        String::from_utf8(bytes).expect("text").trim().to_owned()
    }

    async fn text(&mut self) -> String {
        while self.read_on().await {}
        String::from_utf8(std::mem::take(&mut self.read)).expect("text")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_listed_origin_has_a_post_scored() {
    let service = Service::start(open_to_pages()).await;
    let mut answer = call(&service, SCORE, &[], &score("good good")).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(&BINARY[14..])));
    assert_eq!(answer.header("access-control-allow-origin"), Some(BOARD));
    let exposed = answer.header("access-control-expose-headers").expect("exposed headers");
    assert_eq!(exposed, "grpc-status,grpc-message,grpc-status-details-bin");
    assert!(answer.head.contains("vary: origin"), "{}", answer.head);
    let event = answer.message::<ScoreResponse>().await.event.expect("an event");
    assert_eq!(event.sentiment(), Sentiment::Positive);
    assert_eq!(answer.end().await, "grpc-status:0");

    // In base64, as grpc-web does it for streams.
    let text = "content-type: application/grpc-web-text";
    let headers = [text, "accept: application/grpc-web-text", FROM_BOARD];
    let body = STANDARD.encode(score("bad"));
    let mut answer = ask(&service, "POST", SCORE, &headers, body.as_bytes()).await;
    let text = answer.text().await;
    // Each part is encoded by itself, so that padding may lie anywhere.
    let four = text.as_bytes().chunks(4);
    answer.read = four.flat_map(|four| STANDARD.decode(four).expect("base64")).collect();
    let event = answer.message::<ScoreResponse>().await.event.expect("an event");
    assert_eq!(event.sentiment(), Sentiment::Negative);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_told_before_it_calls_who_may_and_with_what() {
    let service = Service::start(open_to_pages()).await;
    let wish = "access-control-request-method: POST";
    let headers = "access-control-request-headers: authorization,content-type,x-grpc-web";
    let answer = ask(&service, "OPTIONS", SCORE, &[FROM_BOARD, wish, headers], b"").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some(BOARD)));
    assert_eq!(answer.header("access-control-allow-methods"), Some("POST"));
    let allowed = answer.header("access-control-allow-headers").expect("headers");
    for header in ["authorization", "content-type", "grpc-timeout", "x-grpc-web", "x-user-agent"] {
        assert!(allowed.split(',').any(|allowed| allowed == header), "{header}: {allowed}");
    }
    assert_eq!(answer.header("access-control-max-age"), Some("3600"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);

    for other in ["https://evil.example", "http://board.example", "null"] {
        let origin = format!("origin: {other}");
        for (method, headers) in [("OPTIONS", [&origin, wish]), ("POST", [&origin, BINARY])] {
            let mut answer = ask(&service, method, SCORE, &headers, &score("good")).await;
            assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, None));
            assert!(answer.text().await.contains("--grpc-web-origins"), "{method} of {other}");
        }
    }
    // The other routes of the port are for no page.
    let json = "content-type: application/json";
    let answer = ask(&service, "OPTIONS", "/v1/score", &[FROM_BOARD, wish, json], b"").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (405, None));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_listed_origin_there_is_no_grpc_web() {
    let service = Service::start(Spec::default()).await;
    assert_eq!(call(&service, SCORE, &[], &score("good")).await.status, 404);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_watches_alerts_until_the_server_drains() {
    let service = Service::start(open_to_pages()).await;
    let request = framed(&WatchAlertsRequest::default());
    let mut watch = call(&service, WATCH, &[], &request).await;
    assert_eq!((watch.status, watch.header("x-accel-buffering")), (200, Some("no")));
    let posts = ScoreBatchRequest { posts: (0..60).map(angry).collect(), ..Default::default() };
    let mut scored = call(&service, BATCH, &[], &framed(&posts)).await;
    assert_eq!(scored.message::<ScoreBatchResponse>().await.results.len(), 60);
    let response: WatchAlertsResponse = watch.message().await;
    let Some(Watched::Change(change)) = response.message else { panic!("{response:?}") };
    assert_eq!(change.alert.expect("an alert").topic, "acme");
    service.drain.advance(Phase::Draining);
    let end = loop {
        let (flag, part) = watch.part().await;
        if flag == 128 {
            break String::from_utf8(part).expect("text");
        }
    };
    assert!(end.contains("grpc-status:0"), "{end}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_their_scopes_hold_as_on_the_grpc_port() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tokens");
    let token = NewToken::make("page", &[Scope::Score], None).expect("made");
    token.append_to(&file).expect("written");
    let tokens = tokens::open(file, None).expect("good tokens");
    let service = Service::start(Spec { tokens: Some(tokens), ..open_to_pages() }).await;
    let bearer = format!("authorization: Bearer {}", token.token);

    let mut answer = call(&service, SCORE, &[&bearer], &score("good")).await;
    assert!(answer.message::<ScoreResponse>().await.event.is_some());
    assert_eq!(answer.end().await, "grpc-status:0");
    let watch = framed(&WatchAlertsRequest::default());
    let unknown = "authorization: Bearer pounce_nobody";
    for (path, body, more, status) in [
        (SCORE, score("good"), &[][..], "16"),
        (SCORE, score("good"), &[unknown], "16"),
        (WATCH, watch, &[&bearer[..]], "7"),
    ] {
        let answer = call(&service, path, more, &body).await;
        assert_eq!((answer.status, answer.header("grpc-status")), (200, Some(status)), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(BOARD), "{path}");
    }
    // Who is at the wrong door does not learn whether the token is good.
    let headers = [BINARY, "origin: https://evil.example", &bearer];
    assert_eq!(ask(&service, "POST", SCORE, &headers, &score("good")).await.status, 403);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_browsers_can_not_do_and_what_is_no_grpc_web_is_refused_in_words() {
    let service = Service::start(open_to_pages()).await;
    for path in [
        "/pounce.v1.ScoringService/ScoreStream",
        "/inference.GRPCInferenceService/ModelStreamInfer",
    ] {
        let answer = call(&service, path, &[], b"").await;
        assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("12")), "{path}");
        let says = answer.header("grpc-message").expect("words");
        assert!(says.contains("stream%20requests"), "{says}");
    }
    let answer = call(&service, "/pounce.v1.ScoringService/Nonsense", &[], b"").await;
    assert_eq!(answer.header("grpc-status"), Some("12"));

    let json = ["content-type: application/json", FROM_BOARD];
    let mut answer = ask(&service, "POST", SCORE, &json, b"{}").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (415, Some(BOARD)));
    assert!(answer.text().await.contains("application/grpc-web+proto"));
    let answer = ask(&service, "GET", SCORE, &[FROM_BOARD, BINARY], b"").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_bounded_and_calls_counted_as_on_the_grpc_port() {
    let service = Service::start(open_to_pages()).await;
    let large = call(&service, SCORE, &[], &score(&"good ".repeat(10_000))).await;
    assert_eq!(large.header("grpc-status"), Some("11"), "{}", large.head);
    let posts = (0..101).map(|n| post(n, "good")).collect();
    let many = framed(&ScoreBatchRequest { posts, ..Default::default() });
    let many = call(&service, BATCH, &[], &many).await;
    assert_eq!(many.header("grpc-status"), Some("3"), "{}", many.head);
    let counted = metric(
        "grpc_server_handled_total{grpc_type=\"unary\",grpc_service=\"pounce.v1.ScoringService\",\
         grpc_method=\"ScoreBatch\",grpc_code=\"InvalidArgument\"}",
    );
    assert!(counted >= 1.0, "{counted}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_certificate_calls_are_taken_through_tls_alone() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a folder"));
    let (cert, key) = authority.issue();
    let files = [("cert", cert), ("key", key)].map(|(name, content)| {
        let file = folder.path().join(name);
        std::fs::write(&file, content).expect("written");
        file
    });
    let [cert, key] = files;
    let tls = tls::open(TlsFiles { cert, key, client_ca: None }).expect("good files");
    let service = Service::start(Spec { tls: Some(tls), ..open_to_pages() }).await;
    let mut in_clear = call(&service, SCORE, &[], &score("good")).await;
    assert_eq!(in_clear.status, 403);
    assert!(in_clear.text().await.contains("use https"));

    let mut roots = RootCertStore::empty();
    let own = CertificateDer::from_pem_slice(authority.pem.as_bytes()).expect("a certificate");
    roots.add(own).expect("added");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = TcpStream::connect(service.http_addr).await.expect("it listens");
    let name = "127.0.0.1".try_into().expect("an address");
    let socket = TlsConnector::from(Arc::new(config)).connect(name, socket).await.expect("TLS");
    let headers = [BINARY, FROM_BOARD];
    let mut answer = ask_on(socket, "POST", SCORE, &headers, &score("good")).await;
    assert!(answer.message::<ScoreResponse>().await.event.is_some());
    assert_eq!(answer.end().await, "grpc-status:0");
    service.stop().await;
}
