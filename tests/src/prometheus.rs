//! [`Prometheus`]: a real Prometheus that scrapes a server, and `promtool`.
//!
//! `cargo xtask test --only prometheus` installs both if they are missing.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http::{Connection, Request};
use crate::{Scratch, binary};

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// Another program may take the port before it does.
const ATTEMPTS_MAX: usize = 5;

/// A running Prometheus. It is killed when this is dropped.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    address: SocketAddr,
    scratch: Scratch,
}

impl Prometheus {
    /// Starts one with this configuration file.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    #[track_caller]
    pub fn start(config: &str) -> Prometheus {
        let program = find("prometheus");
        let mut failures = String::new();
        for _ in 0..ATTEMPTS_MAX {
            let scratch = Scratch::new("prometheus");
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            let address = free.local_addr().expect("an address");
            drop(free);
            let output = File::create(scratch.join("log")).expect("a file");
            let mut command = Command::new(&program);
            command.arg(argument("config.file", &scratch.write("prometheus.yml", config)));
            command.arg(argument("storage.tsdb.path", &scratch.join("data")));
            command.arg(format!("--web.listen-address={address}"));
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
            let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
            let mut prometheus = Prometheus { child, address, scratch };
            if prometheus.becomes_ready() {
                return prometheus;
            }
            failures.push_str(&prometheus.log());
        }
        panic!("Prometheus did not start:\n{failures}");
    }

    /// The data of the answer to a request of its API, such as `query?query=up`.
    ///
    /// # Errors
    /// Why Prometheus refuses the request.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn api(&self, request: &str) -> Result<Value, String> {
        let request = Request::get(&format!("/api/v1/{request}"));
        let answer = Connection::open(self.address).exchange(&request).expect("an answer");
        let json: Value = serde_json::from_slice(&answer.body).expect("JSON");
        if json["status"] == "success" { Ok(json["data"].clone()) } else { Err(json.to_string()) }
    }

    /// The values of an expression now.
    ///
    /// # Errors
    /// The expression is not valid.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let escaped: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let data = self.api(&format!("query?query={escaped}"))?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// Its log lines.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.join("log")).unwrap_or_default()
    }

    /// False if it ended.
    fn becomes_ready(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < PATIENCE && matches!(self.child.try_wait(), Ok(None)) {
            let answer = Connection::try_open(self.address)
                .and_then(|mut connection| connection.exchange(&Request::get("/-/ready")));
            if answer.is_ok_and(|answer| answer.status() == 200) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `promtool` with these arguments in a directory, and returns what it printed.
///
/// # Errors
/// The same, if it found a fault.
///
/// # Panics
/// When it cannot be started.
pub fn promtool(arguments: &[&str], directory: &Path) -> Result<String, String> {
    let mut command = Command::new(find("promtool"));
    command.args(arguments).current_dir(directory);
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    if output.status.success() { Ok(text) } else { Err(text) }
}

fn argument(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

/// The program in `target/`, or an installed one.
fn find(name: &str) -> PathBuf {
    let in_target = binary::target().join("tools/prometheus/root/usr/bin").join(name);
    let runs = |program: &PathBuf| {
        let mut command = Command::new(program);
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    [in_target, PathBuf::from(name)].into_iter().find(runs).unwrap_or_else(|| {
        panic!("{name} is not installed; run `cargo xtask test --only prometheus` once")
    })
}
