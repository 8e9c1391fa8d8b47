//! A server of the release binary, on a port of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::Outcome;

/// The binary under trial.
pub(crate) const BINARY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/release/pounce");
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/model");

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: String,
}

impl Server {
    /// Starts a server on `port` (0: any) and waits until it serves.
    pub(crate) fn start(port: u16) -> Outcome<Self> {
        let mut child = Command::new(BINARY)
            .args(["serve", "--model", MODEL, "--drain-notice", "0"])
            .args(["--grpc-addr", &format!("127.0.0.1:{port}"), "--http-addr", "127.0.0.1:0"])
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{BINARY}: {error}"))?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("no stderr")?).lines();
        for line in lines.by_ref() {
            let line: serde_json::Value = serde_json::from_str(&line?)?;
            if line["message"] == "serving" {
                let addr = format!("http://{}", line["grpc"].as_str().unwrap_or_default());
                // Reads on, so that the server never writes to a closed pipe.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(Self { child, addr });
            }
        }
        Err("the server ended before it served".into())
    }

    pub(crate) fn port(&self) -> Outcome<u16> {
        Ok(self.addr.rsplit(':').next().unwrap_or_default().parse()?)
    }

    pub(crate) fn signal(&self, signal: &str) -> Outcome<()> {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status()?;
        if sent.success() { Ok(()) } else { Err("no signal was sent".into()) }
    }

    /// Waits for the end; the exit code.
    pub(crate) fn wait(&mut self) -> Outcome<Option<i32>> {
        Ok(self.child.wait()?.code())
    }

    /// Memory in use, MiB; `None` where the system has no /proc.
    pub(crate) fn resident_mib(&self) -> Option<u64> {
        Some(self.resident_kib()? / 1024)
    }

    /// The same in KiB.
    pub(crate) fn resident_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    }

    /// Open file descriptors; `None` where the system has no /proc.
    pub(crate) fn descriptors(&self) -> Option<usize> {
        Some(std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).ok()?.count())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
