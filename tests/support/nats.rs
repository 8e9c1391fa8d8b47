//! A real NATS server of this test's own.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub, reason = "shared by test files")]

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pounce_replication::{Credentials, JetStreamLog, JetStreamSpec};
use tempfile::TempDir;

/// Longest time that the server may take to listen.
const START_MAX: Duration = Duration::from_secs(20);

/// A server with JetStream, and the folder of its streams.
pub struct Nats {
    child: Child,
    port: u16,
    folder: TempDir,
    flags: Vec<String>,
}

/// `make test-rust` installs it; another one can be named.
fn binary() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/tools/nats/bin/nats-server");
    std::env::var_os("NATS_SERVER").map_or(own, PathBuf::from)
}

impl Nats {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With more flags.
    pub fn start_with(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.expect("a port").port();
        let flags: Vec<_> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let child = run(port, folder.path(), &flags);
        Self { child, port, folder, flags }
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// A connection to the log of a fleet.
    pub async fn log(&self, fleet: &str) -> JetStreamLog {
        self.log_as(fleet, None).await
    }

    /// As [`Nats::log`], by somebody.
    pub async fn log_as(&self, fleet: &str, credentials: Option<Credentials>) -> JetStreamLog {
        let spec = JetStreamSpec {
            servers: vec![self.url().parse().expect("an address")],
            fleet: fleet.to_owned(),
            credentials,
            ca: None,
            copies: 1,
            bytes_max: 64 << 20,
        };
        JetStreamLog::connect(&spec).await.expect("a log to try")
    }

    /// Stops it without letting it know: connections stay open and silent.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("a child of ours");
    }

    /// Starts it again on the same port, with the streams that it had.
    pub fn restart(&mut self) {
        self.child = run(self.port, self.folder.path(), &self.flags);
    }

    /// Starts it again on the same port, with nothing.
    pub fn restart_empty(&mut self) {
        self.folder = tempfile::tempdir().expect("a folder");
        self.restart();
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("kill runs").success());
    }
}

fn run(port: u16, folder: &Path, flags: &[String]) -> Child {
    let mut command = Command::new(binary());
    command.args(["--jetstream", "--addr", "127.0.0.1", "--port", &port.to_string()]);
    command.arg("--store_dir").arg(folder).args(flags);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = child.unwrap_or_else(|error| {
        panic!("{} can't be run: {error}; `make test-rust` installs it", binary().display())
    });
    let until = Instant::now() + START_MAX;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "nats-server does not listen");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    child
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
