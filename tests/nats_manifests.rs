//! The configuration of NATS that the Kubernetes components carry, read by real servers: three that
//! speak TLS with each other and with a replica.

#[path = "support/authority.rs"]
mod authority;
#[path = "support/nats.rs"]
mod nats;
mod support;

use std::path::Path;

use authority::Authority;
use nats::{Nats, free_ports};
use pounce_proto::{Flag, ScoreRequest};
use pounce_replication::{Credentials, JetStreamLog, JetStreamSpec, ObservationLog};
use support::{Service, Spec, angry, counts};

/// A file within a ConfigMap: its lines are indented by four spaces.
fn content(config_map: &str, file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("k8s/components").join(config_map);
    let text = std::fs::read_to_string(&path).expect("the manifest is there");
    let (_, after) = text.split_once(&format!("\n  {file}: |\n")).expect("the file is in it");
    let lines = after.lines().take_while(|line| line.starts_with("    ") || line.is_empty());
    lines.map(|line| format!("{}\n", line.trim())).collect()
}

/// The certificate of the servers, and of its authority, as cert-manager writes them.
fn write_certificate(folder: &Path) {
    let authority = Authority::new();
    let (certificate, key) = authority.issue();
    for (name, content) in
        [("ca.crt", &authority.pem), ("tls.crt", &certificate), ("tls.key", &key)]
    {
        std::fs::write(folder.join(name), content).expect("written");
    }
}

/// A server of the component, of three that listen for each other on `ports`.
fn server(number: usize, ports: [u16; 3], folder: &Path) -> Nats {
    let own = folder.join(format!("server-{number}"));
    let (config, auth) = (own.join("nats"), own.join("nats-auth"));
    std::fs::create_dir_all(&config).expect("created");
    std::fs::create_dir_all(&auth).expect("created");
    let secret = "authorization { user: pounce, password: \"secret password\" }\n";
    std::fs::write(auth.join("auth.conf"), secret).expect("written");
    let mut main = content("nats/config.yaml", "nats.conf")
        .replace("$POD_NAME", &format!("server-{number}"))
        .replace("0.0.0.0:6222", &format!("127.0.0.1:{}", ports[number]))
        .replace("0.0.0.0:8222", "127.0.0.1:-1")
        // A flag names the folder.
        .replace("store_dir: /data\n", "");
    for (number, port) in ports.iter().enumerate() {
        let there = format!("pounce-nats-{number}.pounce-nats-peers:6222");
        assert!(main.contains(&there), "a route to each");
        main = main.replace(&there, &format!("127.0.0.1:{port}"));
    }
    std::fs::write(config.join("nats.conf"), main).expect("written");
    for file in ["tls.conf", "cluster-tls.conf"] {
        let here = folder.display().to_string();
        let text = content("nats-tls/config.yaml", file).replace("/etc/nats-tls", &here);
        std::fs::write(config.join(file), text).expect("written");
    }
    Nats::start_with(&["--config", &config.join("nats.conf").display().to_string()])
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_of_the_component_keep_a_log_over_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    write_certificate(folder.path());
    let ports = free_ports();
    let mut servers = [0, 1, 2].map(|number| server(number, ports, folder.path()));
    let password_file = folder.path().join("password");
    std::fs::write(&password_file, "secret password").expect("written");
    let spec = JetStreamSpec {
        servers: servers
            .iter()
            .map(|nats| format!("tls://{}", nats.addr()).parse().expect("an address"))
            .collect(),
        credentials: Some(Credentials::Password { user: "pounce".to_owned(), password_file }),
        ca: Some(folder.path().join("ca.crt")),
        copies: 3,
        ..servers[0].spec("test")
    };
    let log = JetStreamLog::connect(&spec).await.expect("good files");
    let service = Service::start(Spec { observations: Some(log), ..Spec::default() }).await;
    counts(&service).await;
    let counted = async |n| {
        let request = ScoreRequest { post: Some(angry(n)), ..ScoreRequest::default() };
        let reply = service.connect().await.score(request).await.expect("an answer");
        let event = reply.into_inner().event.expect("an event");
        event.flags().all(|flag| flag != Flag::NotCountedYet)
    };
    assert!(counted(0).await);
    // Whoever does not speak TLS, or does not know the authority, gets nowhere.
    let stranger = servers[0].log_as("test", spec.credentials.clone()).await;
    stranger.extent().await.expect_err("it can't verify the certificate");
    // The three are a cluster: the log goes on without one.
    servers[0].kill();
    let mut n = 1;
    while !counted(n).await {
        n += 1;
    }
    service.stop().await;
}
