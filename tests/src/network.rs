//! A server in its own network namespace, and a second host that is connected to it by
//! a link that can be cut.
//!
//! ```text
//! server ── lo                    `Network::near`: commands on the server's host
//!        └─ near ═══ far ── peer  `Network::far`: commands on the other host
//!                  ╳ cut_link
//! ```
//!
//! `unshare` creates both without root privileges, if the system allows it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{Scratch, TestServer, binary, wait};

const NEAR: &str = "10.77.0.1";
const FAR: &str = "10.77.0.2";
/// `FAR` in the format of /proc/net/tcp.
const FAR_HEX: &str = "02004D0A";

/// The two hosts of a server that [`alone`] runs.
#[derive(Debug)]
pub struct Network {
    server: u32,
    port: u16,
    /// The process that keeps the other host's network namespace alive.
    far: NetworkProcess,
}

/// A process that is killed when this is dropped.
#[derive(Debug)]
pub struct NetworkProcess(Child);

impl Drop for NetworkProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl NetworkProcess {
    /// Waits until it exits, and returns its output.
    ///
    /// # Panics
    /// When it fails.
    pub fn finish(mut self) -> String {
        let mut text = String::new();
        if let Some(mut output) = self.0.stdout.take() {
            let _ = std::io::Read::read_to_string(&mut output, &mut text);
        }
        let status = self.0.wait().expect("a child");
        assert!(status.success(), "{status}: {text}");
        text
    }
}

/// Whether this machine allows such namespaces.
#[must_use]
pub fn is_possible() -> bool {
    let script = "ip link set lo up && ip link add near type veth peer name far";
    let tried = Command::new("unshare").args(["-Urn", "sh", "-c", script]).output();
    tried.is_ok_and(|tried| tried.status.success())
}

/// A script that runs the server in its own network namespace. The server has to listen
/// on every address (`--bind-address 0.0.0.0:0 --insecure`).
#[must_use]
pub fn alone(scratch: &Scratch) -> PathBuf {
    let styx = binary::styx().display();
    let text = format!(
        "export STYX='{styx}'\n\
         exec unshare -Urn sh -c 'ip link set lo up && exec \"$STYX\" \"$@\"' styx \"$@\"\n"
    );
    scratch.write("alone", &text)
}

impl Network {
    /// Connects a second host to the server's.
    ///
    /// # Panics
    /// When that fails; see [`is_possible`].
    #[must_use]
    pub fn of(server: &TestServer) -> Network {
        let (process, port) = (server.process(), server.address().port());
        let mut hold = inside(process, "exec unshare -n sleep 10000");
        let far = NetworkProcess(hold.spawn().expect("nsenter can be run"));
        let network = |id: u32| std::fs::read_link(format!("/proc/{id}/ns/net")).ok();
        wait::until_true("the other host's network", Duration::from_secs(10), || {
            let (own, near) = (network(far.0.id()), network(process));
            own.is_some() && own != near && own != network(std::process::id())
        });
        let network = Network { server: process, port, far };
        let far = network.far.0.id();
        network.near(&format!(
            "ip link add near type veth peer name far netns {far} && \
             ip addr add {NEAR}/24 dev near && ip link set near up"
        ));
        must(inside(far, &format!("ip addr add {FAR}/24 dev far && ip link set far up")));
        network
    }

    /// Runs a command on the server's host; `$URL` is the server's.
    ///
    /// # Panics
    /// When it fails.
    pub fn near(&self, script: &str) -> String {
        must(self.near_command(script))
    }

    /// Starts a command on the server's host.
    #[must_use]
    pub fn start_near(&self, script: &str) -> NetworkProcess {
        start(self.near_command(script))
    }

    /// Starts a command on the other host; `$HOST` and `$PORT` are the server's too.
    #[must_use]
    pub fn start_far(&self, script: &str) -> NetworkProcess {
        start(self.told(inside(self.far.0.id(), script), NEAR))
    }

    /// Starts a client on the other host that sends these bytes, and then neither sends
    /// nor reads.
    #[must_use]
    pub fn send_far(&self, bytes: &str) -> NetworkProcess {
        let escaped = bytes.bytes().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "\\x{byte:02x}");
            text
        });
        let script =
            format!("exec 3<>/dev/tcp/$HOST/$PORT; printf '{escaped}' >&3; exec sleep 1000");
        self.start_far(&script)
    }

    /// Cuts the link between the two hosts.
    pub fn cut_link(&self) {
        must(inside(self.far.0.id(), "ip link set far down"));
    }

    /// The number of the server's open connections from the other host.
    ///
    /// # Panics
    /// When /proc cannot be read.
    #[must_use]
    pub fn open_from_far(&self) -> usize {
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", self.server));
        let targets = descriptors.expect("a list of descriptors").flatten();
        let targets: Vec<PathBuf> =
            targets.filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect();
        let text = std::fs::read_to_string(format!("/proc/{}/net/tcp", self.server));
        let rows = text.expect("a list of connections");
        rows.lines()
            .filter_map(|row| {
                let mut columns = row.split_whitespace();
                let remote = columns.nth(2)?;
                let inode = columns.nth(6)?;
                remote.starts_with(FAR_HEX).then(|| format!("socket:[{inode}]"))
            })
            .filter(|socket| targets.iter().any(|target| target == Path::new(socket)))
            .count()
    }

    fn near_command(&self, script: &str) -> Command {
        self.told(inside(self.server, script), "127.0.0.1")
    }

    fn told(&self, mut command: Command, host: &str) -> Command {
        command.env("HOST", host).env("PORT", self.port.to_string());
        command.env("URL", format!("http://{host}:{}", self.port));
        command
    }
}

/// A command on the network of a process.
fn inside(process: u32, script: &str) -> Command {
    let mut command = Command::new("nsenter");
    let process = process.to_string();
    command.args(["-t", &process, "-U", "-n", "--preserve-credentials", "bash", "-c", script]);
    command.stdin(Stdio::null());
    command
}

fn start(mut command: Command) -> NetworkProcess {
    NetworkProcess(command.stdout(Stdio::piped()).spawn().expect("nsenter can be run"))
}

fn must(mut command: Command) -> String {
    let output = command.output().expect("nsenter can be run");
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
