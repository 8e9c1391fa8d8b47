//! The real binary as a server.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

pub(crate) fn pounce(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pounce"));
    command.args(args).env_remove("RUST_LOG");
    command
}

/// A server that is ready.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) addr: String,
}

impl Server {
    /// On the given port (0: any), with the flags that name its model.
    pub(crate) fn start(port: u16, model: &[&str]) -> Self {
        let grpc = format!("127.0.0.1:{port}");
        let args = ["--grpc-addr", &grpc, "--http-addr", "127.0.0.1:0", "--drain-notice", "0"];
        let mut child = pounce(&["serve"])
            .args(args)
            .args(model)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let serving = lines.find_map(|line| {
            let line: serde_json::Value =
                serde_json::from_str(&line.expect("UTF-8")).expect("a log line of JSON");
            (line["message"] == "serving").then_some(line)
        });
        let serving = serving.expect("the server ended before it served");
        // Reads on, so that the server never writes to a closed pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, addr: format!("http://{}", serving["grpc"].as_str().expect("text")) }
    }

    #[allow(dead_code, reason = "not every test ends its server")]
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("kill runs").success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
