//! A real NATS server of this test's own.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub, reason = "shared by test files")]

use std::net::{SocketAddr, TcpListener, TcpStream};
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
        let [port] = free_ports();
        Self::start_on(port, flags.iter().map(|&flag| flag.to_owned()).collect())
    }

    fn start_on(port: u16, flags: Vec<String>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let child = run(port, folder.path(), &flags);
        Self { child, port, folder, flags }
    }

    pub fn addr(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    pub fn url(&self) -> String {
        format!("nats://{}", self.addr())
    }

    /// A connection to the log of a fleet.
    pub async fn log(&self, fleet: &str) -> JetStreamLog {
        self.log_as(fleet, None).await
    }

    /// As [`Nats::log`], by somebody.
    pub async fn log_as(&self, fleet: &str, credentials: Option<Credentials>) -> JetStreamLog {
        let spec = JetStreamSpec { credentials, ..self.spec(fleet) };
        JetStreamLog::connect(&spec).await.expect("a log to try")
    }

    /// How to reach the log of a fleet.
    pub fn spec(&self, fleet: &str) -> JetStreamSpec {
        JetStreamSpec {
            servers: vec![self.url().parse().expect("an address")],
            fleet: fleet.to_owned(),
            credentials: None,
            ca: None,
            copies: 1,
            bytes_max: 64 << 20,
        }
    }

    /// Stops it without letting it know: connections stay open and silent.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// Bounds the bytes of each file that it writes, until it is restarted: to it, a full disk.
    pub fn limit_files(&self, bytes: u64) {
        let (pid, limit) = (format!("--pid={}", self.child.id()), format!("--fsize={bytes}"));
        assert!(Command::new("prlimit").args([pid, limit]).status().expect("it runs").success());
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

/// Ports that nobody listens on just now.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let bound = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    bound.map(|listener| listener.local_addr().expect("bound").port())
}

/// Three servers, each with a copy of every stream.
pub struct Cluster {
    servers: [Nats; 3],
}

impl Cluster {
    pub fn start() -> Self {
        let [ports, inner] = [free_ports::<3>(), free_ports::<3>()];
        let routes = inner.map(|port| format!("nats://127.0.0.1:{port}")).join(",");
        let servers = [0, 1, 2].map(|n| {
            let own = format!("nats://127.0.0.1:{}", inner[n]);
            let name = format!("server-{n}");
            let flags = ["--name", &name, "--cluster_name", "test", "--cluster", &own];
            let flags = flags.into_iter().chain(["--routes", &routes]);
            Nats::start_on(ports[n], flags.map(str::to_owned).collect())
        });
        Self { servers }
    }

    /// A connection to the log of a fleet, by any server.
    pub async fn log(&self, fleet: &str) -> JetStreamLog {
        let servers = self.servers.iter().flat_map(|server| server.spec(fleet).servers).collect();
        let spec = JetStreamSpec { servers, copies: 3, ..self.servers[0].spec(fleet) };
        JetStreamLog::connect(&spec).await.expect("a log to try")
    }

    pub fn kill(&mut self, server: usize) {
        self.servers[server].kill();
    }

    pub fn restart(&mut self, server: usize) {
        self.servers[server].restart();
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
