//! The real binary as a server of its own process.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub, reason = "shared by test files")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use serde_json::Value;

pub const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/model");

/// Longest time that anything here is waited for.
const LIMIT: Duration = Duration::from_secs(60);

pub fn pounce(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pounce"));
    command.args(args).env_remove("RUST_LOG");
    command
}

/// `make test-rust` builds it; another one can be named.
fn libfaketime() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/tools/faketime/libfaketime.so.1");
    std::env::var_os("LIBFAKETIME").map_or(own, PathBuf::from)
}

fn with_libfaketime() -> Command {
    let library = libfaketime();
    assert!(library.exists(), "{} is missing: `make test-rust` builds it", library.display());
    let mut command = pounce(&[]);
    // Some releases know one name of the setting, some the other.
    command.envs([("FAKETIME_DONT_FAKE_MONOTONIC", "1"), ("DONT_FAKE_MONOTONIC", "1")]);
    command.env("LD_PRELOAD", library);
    command
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}

/// The next log line, unless `until` comes first or the log ends.
fn next(log: &Receiver<Value>, until: Instant) -> Option<Value> {
    log.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
}

/// A server that is ready.
pub struct Server {
    pub child: Child,
    /// Where its gRPC port is, with the scheme.
    pub addr: String,
    /// Where its HTTP port is.
    pub http: String,
    /// What it logged until it served.
    pub begun: Vec<Value>,
    log: Receiver<Value>,
}

impl Server {
    /// Starts on the given port (0: any), without a notice before the drain.
    pub fn start(port: u16) -> Self {
        Self::start_with(port, &["--drain-notice", "0"])
    }

    /// With the default model and more flags.
    pub fn start_with(port: u16, more: &[&str]) -> Self {
        Self::serve(port, &[&["--model", MODEL], more].concat())
    }

    /// With all flags but those of the addresses.
    pub fn serve(port: u16, flags: &[&str]) -> Self {
        Self::run(pounce(&[]), port, flags)
    }

    /// With the default model and more flags, in a process that gets an error in place of a signal
    /// when a file may not grow.
    pub fn start_on_limited_disk(more: &[&str]) -> Self {
        let mut shell = Command::new("sh");
        let ignore = "trap '' XFSZ; exec \"$0\" \"$@\"";
        shell.args(["-c", ignore, env!("CARGO_BIN_EXE_pounce")]).env_remove("RUST_LOG");
        Self::run(shell, 0, &[&["--model", MODEL], more].concat())
    }

    /// With all flags but those of the addresses, and a wall clock that is wrong by `offset`, such as
    /// `+5m`; the monotonic one is not touched.
    pub fn serve_with_clock(offset: &str, flags: &[&str]) -> Self {
        let mut command = with_libfaketime();
        command.env("FAKETIME", offset);
        Self::run(command, 0, flags)
    }

    /// As [`Server::serve_with_clock`], with a clock that is wrong by what `file` says at the time.
    pub fn serve_with_clock_of(file: &Path, flags: &[&str]) -> Self {
        let mut command = with_libfaketime();
        command.env("FAKETIME_TIMESTAMP_FILE", file).env("FAKETIME_NO_CACHE", "1");
        Self::run(command, 0, flags)
    }

    fn run(mut command: Command, port: u16, flags: &[&str]) -> Self {
        let grpc = format!("127.0.0.1:{port}");
        command.args(["serve", "--grpc-addr", &grpc, "--http-addr", "127.0.0.1:0"]).args(flags);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the binary runs");
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (sender, log) = sync_channel(10_000);
        // Reads on, so that the server never waits for a reader.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let line =
                    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                let _ = sender.try_send(line);
            }
        });
        let mut begun = Vec::new();
        let serving = loop {
            let line = next(&log, Instant::now() + LIMIT);
            let line = line.unwrap_or_else(|| panic!("it never served: {begun:?}"));
            if line["message"] == "serving" {
                break line;
            }
            begun.push(line);
        };
        let addr = format!("http://{}", serving["grpc"].as_str().expect("text"));
        let http = serving["http"].as_str().expect("text").to_owned();
        Self { child, addr, http, begun, log }
    }

    /// The log line with this message from before it served.
    pub fn said(&self, message: &str) -> Option<&Value> {
        self.begun.iter().find(|line| line["message"] == message)
    }

    /// Waits for a log line with this message.
    pub fn logged(&self, message: &str) -> Value {
        let until = Instant::now() + LIMIT;
        loop {
            let line = next(&self.log, until);
            let line = line.unwrap_or_else(|| panic!("the server never said `{message}`"));
            if line["message"] == message {
                return line;
            }
        }
    }

    /// Passes over what it logged so far.
    pub fn forget_log(&self) {
        self.log.try_iter().for_each(drop);
    }

    /// Ends it as an orchestrator does; every call must have ended by itself.
    pub fn drain(mut self) {
        self.signal("-TERM");
        assert_eq!(self.ended_within(LIMIT).code(), Some(0), "a clean drain");
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("kill runs").success());
    }

    /// Bounds the bytes of each file that it writes from now on.
    pub fn limit_files(&self, bytes: &str) {
        let (pid, limit) = (format!("--pid={}", self.child.id()), format!("--fsize={bytes}"));
        assert!(Command::new("prlimit").args([pid, limit]).status().expect("it runs").success());
    }

    /// Waits for the end, at most `limit`.
    pub fn ended_within(&mut self, limit: Duration) -> ExitStatus {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status;
            }
            assert!(Instant::now() < until, "still running after {limit:?}");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// The answer of the HTTP port: status and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(&self.http).expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: pounce\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("UTF-8");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        (status.expect("a status"), body.to_owned())
    }

    /// The sum of a metric's series.
    pub fn metric(&self, name: &str) -> f64 {
        let (_, metrics) = self.get("/metrics");
        let series = metrics.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

/// Waits until `done`; a minute without it is a hang.
pub async fn eventually(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(LIMIT, waiting).await;
    in_time.unwrap_or_else(|_| panic!("not within a minute: {what}"));
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
