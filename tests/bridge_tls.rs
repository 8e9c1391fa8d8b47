//! `pounce bridge` where everybody asks who is there: NATS over mutual TLS with credentials, the
//! service over mutual TLS with a token.

#[path = "support/authority.rs"]
mod authority;
mod binary;
#[path = "support/nats.rs"]
mod nats;
#[path = "support/nats_identity.rs"]
mod nats_identity;
mod support;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::{self, Context, stream};
use authority::Authority;
use binary::{free_port, pounce};
use nats::Nats;
use nats_identity::Operator;
use pounce::auth::tokens::{self, NewToken, Scope};
use pounce::transport::tls::{self, TlsFiles};
use pounce_bridge::access::Access;
use pounce_bridge::ends::{self, Bounds, End};
use pounce_bridge::status::Status;
use pounce_bridge::stop;
use pounce_client::Client;
use serde_json::json;
use support::{Service, Spec, eventually};
use tempfile::TempDir;

/// A NATS and a service that let in only those whom they know, and what they know them by.
struct Guarded {
    folder: TempDir,
    nats: Nats,
    service: Service,
    context: Context,
}

impl Guarded {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let files = Files(&folder);
        let [servers, clients, stranger] = [(); 3].map(|()| Authority::new());
        let operator = Operator::new();
        files.write("server-ca", &servers.pem);
        files.write("client-ca", &clients.pem);
        files.write("stranger-ca", &stranger.pem);
        for (name, authority) in [("server", &servers), ("client", &clients)] {
            let (cert, key) = authority.issue();
            files.write(&format!("{name}-cert"), &cert);
            files.write(&format!("{name}-key"), &key);
        }
        files.write("good.creds", &operator.credentials());
        files.write("stranger.creds", &Operator::new().credentials());
        let log = files.text("nats.log");
        files.write("nats.conf", &format!("{}\nlog_file: \"{log}\"\n", operator.config()));
        let nats = Nats::start_with(&[
            "--config",
            &files.text("nats.conf"),
            "--tlsverify",
            "--tlscert",
            &files.text("server-cert"),
            "--tlskey",
            &files.text("server-key"),
            "--tlscacert",
            &files.text("client-ca"),
        ]);

        let token = NewToken::make("bridge", &[Scope::Score], None).expect("made");
        token.append_to(&files.path("tokens")).expect("written");
        files.write("token", &token.token);
        let service = Service::start(Spec {
            tls: Some(
                tls::open(TlsFiles {
                    cert: files.path("server-cert"),
                    key: files.path("server-key"),
                    client_ca: Some(files.path("client-ca")),
                })
                .expect("good files"),
            ),
            tokens: Some(tokens::open(files.path("tokens"), None).expect("good tokens")),
            ..Spec::default()
        })
        .await;

        let options = ConnectOptions::new();
        let options = options.credentials_file(files.path("good.creds")).await.expect("readable");
        let client = options
            .add_root_certificates(files.path("server-ca"))
            .add_client_certificate(files.path("client-cert"), files.path("client-key"))
            .require_tls(true)
            .connect(nats.url())
            .await;
        let context = jetstream::new(client.expect("let in"));
        for (name, subjects) in [("POSTS", ["posts", "more"]), ("EVENTS", ["events", "dead"])] {
            let subjects = subjects.map(str::to_owned).into();
            let config = stream::Config { name: name.into(), subjects, ..Default::default() };
            context.create_stream(config).await.expect("a stream");
        }
        for n in 0..20 {
            let post = json!({ "id": n, "text": format!("bad {n}") }).to_string();
            let sent = context.publish("posts", post.into()).await;
            sent.expect("sent").await.expect("stored");
        }
        Self { folder, nats, service, context }
    }

    fn files(&self) -> Files<'_> {
        Files(&self.folder)
    }

    fn address(&self, path: &str) -> String {
        format!("nats+tls://{}/{path}", self.nats.addr())
    }

    async fn events(&self) -> u64 {
        let mut stream = self.context.get_stream("EVENTS").await.expect("a stream");
        stream.info().await.expect("told").state.messages
    }

    /// What NATS has known and let in.
    fn known(&self) -> Access {
        let files = self.files();
        Access {
            credentials: Some(files.path("good.creds")),
            user: None,
            ca: Some(files.path("server-ca")),
            identity: Some((files.path("client-cert"), files.path("client-key"))),
        }
    }

    fn client(&self, change: impl FnOnce(&mut pounce_client::Access)) -> Client {
        let read = |name: &str| std::fs::read(self.files().path(name)).expect("readable");
        let mut access = pounce_client::Access {
            ca: Some(read("server-ca")),
            identity: Some((read("client-cert"), read("client-key"))),
            token: Some(String::from_utf8(read("token")).expect("text")),
        };
        change(&mut access);
        Client::connect_with(&self.service.url(), &access).expect("settings")
    }
}

struct Files<'a>(&'a TempDir);

impl Files<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).expect("written");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flags_of_the_bridge_lead_through_tls_on_every_side() {
    let guarded = Guarded::start().await;
    let files = guarded.files();
    let http = format!("127.0.0.1:{}", free_port());
    let mut command = pounce(&["bridge", "--http-addr", &http]);
    for side in ["from", "to"] {
        let address = guarded.address(if side == "from" { "POSTS" } else { "EVENTS" });
        command.arg(format!("--{side}")).arg(address);
        for (flag, file) in [
            ("credentials", "good.creds"),
            ("ca", "server-ca"),
            ("cert", "client-cert"),
            ("key", "client-key"),
        ] {
            command.arg(format!("--{side}-{flag}")).arg(files.path(file));
        }
    }
    command.args(["--addr", &guarded.service.url()]);
    for (flag, file) in [
        ("--tls-ca", "server-ca"),
        ("--tls-cert", "client-cert"),
        ("--tls-key", "client-key"),
        ("--token-file", "token"),
    ] {
        command.arg(flag).arg(files.path(file));
    }
    let mut bridge = command.stderr(Stdio::null()).spawn().expect("the binary runs");
    let waiting = async {
        while guarded.events().await < 20 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    assert!(waited.is_ok(), "{} of 20 events", guarded.events().await);
    let asked = Command::new("kill").args(["-TERM", &bridge.id().to_string()]).status();
    assert!(asked.expect("kill runs").success());
    let ended = tokio::task::spawn_blocking(move || bridge.wait()).await.expect("no panic");
    assert!(ended.expect("a child of ours").success(), "a clean end");
    guarded.service.stop().await;
}

#[tokio::test]
async fn certificates_for_an_address_without_tls_are_refused_before_anything_runs() {
    let client = Client::connect("http://127.0.0.1:1").expect("an address");
    let end = |access| {
        let address = "nats://127.0.0.1:1/POSTS".parse().expect("an address");
        End { address, access }
    };
    let (ca, none) = (Some(PathBuf::from("ca.pem")), Access::default());
    let (from, to) = (end(Access { ca, ..none.clone() }), end(none));
    let bounds = Bounds { in_flight_max: 16, drain_timeout: Duration::from_secs(5) };
    let (_stopper, stop) = stop::channel();
    let ended = ends::run(client, &from, &to, bounds, Arc::default(), stop).await;
    let told = ended.expect_err("refused").to_string();
    assert!(told.contains("--from") && told.contains("nats+tls://"), "{told}");
}

/// Runs a bridge until NATS has said `refusal` in its log; nothing may have moved by then.
async fn refused_by_nats(guarded: &Guarded, access: Access, refusal: &str) {
    let log = guarded.files().path("nats.log");
    let said = move || std::fs::read_to_string(&log).expect("a log");
    let before = said().len();
    let end = |path: &str, access| {
        let address = guarded.address(path).parse().expect("an address");
        End { address, access }
    };
    let (from, to) = (end("POSTS", access), end("EVENTS", guarded.known()));
    let (stopper, stop) = stop::channel();
    let status = Arc::new(Status::default());
    let (client, seen) = (guarded.client(|_| {}), Arc::clone(&status));
    let bounds = Bounds { in_flight_max: 16, drain_timeout: Duration::from_secs(5) };
    let bridge =
        tokio::spawn(async move { ends::run(client, &from, &to, bounds, seen, stop).await });
    let wanted = refusal.to_owned();
    eventually(refusal, move || said()[before..].contains(&wanted)).await;
    let told = status.ready().expect_err("not ready");
    assert!(told.contains("source: "), "{told}");
    stopper.stop();
    bridge.await.expect("no panic").expect("a clean end");
    assert_eq!(guarded.events().await, 0, "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_known_moves_nothing() {
    let guarded = Guarded::start().await;
    let (files, known) = (guarded.files(), guarded.known());
    // It does not know the server: that one is told so.
    let ca = Some(files.path("stranger-ca"));
    let distrust = Access { ca, ..known.clone() };
    refused_by_nats(&guarded, distrust, "TLS handshake error: remote error").await;
    let nobody = Access { identity: None, ..known.clone() };
    refused_by_nats(&guarded, nobody, "client didn't provide a certificate").await;
    let credentials = Some(files.path("stranger.creds"));
    let stranger = Access { credentials, ..known.clone() };
    refused_by_nats(&guarded, stranger, "authentication error").await;

    // The service does not know the token: that will not change.
    let address = |path: &str| guarded.address(path).parse().expect("an address");
    let from = End { address: address("POSTS"), access: known.clone() };
    let to = End { address: address("EVENTS"), access: known };
    let client = guarded.client(|access| access.token = Some("pounce_nobody".to_owned()));
    let bounds = Bounds { in_flight_max: 16, drain_timeout: Duration::from_secs(5) };
    let (_stopper, stop) = stop::channel();
    let ended = ends::run(client, &from, &to, bounds, Arc::default(), stop).await;
    let told = ended.expect_err("refused for good").to_string();
    assert!(told.contains("a valid bearer token is needed"), "{told}");
    assert_eq!(guarded.events().await, 0);
    guarded.service.stop().await;
}
