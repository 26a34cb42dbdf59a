//! [`TestServer`]: the real binary as a child process, with its own directory and port.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::process::{Pid, Signal, kill_process};

use crate::http::{Connection, Request, Response};
use crate::tls_bridge::{TlsBridge, client_config};
use crate::{Authority, Scratch, binary, transport, wait};

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(30);
/// The files of a server with TLS, in its directory.
const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";
/// The token file of a server in tests that run again with tokens.
const TOKENS: &str = "tokens.toml";

/// Makes the standard input the first socket that systemd has passed, and runs a program.
const PASS_SOCKET: &str =
    "exec 3<&0 0</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" \"$@\"";

/// The settings of a server.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    top: String,
    log_manager: String,
    tables: String,
    whole: Option<String>,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    passed: Option<Arc<OwnedFd>>,
    program: Option<PathBuf>,
    script: bool,
    old_name: bool,
    scanning: bool,
    tls: Option<Encryption>,
    own_tls: bool,
    is_direct: bool,
}

/// How a test asks for TLS.
#[derive(Debug, Clone)]
struct Encryption {
    authority: Arc<Authority>,
    /// Further lines of `[tls]`.
    lines: String,
}

impl Settings {
    /// The settings of a server that runs the release binary, which users run.
    #[must_use]
    pub fn released() -> Settings {
        Settings::default().program(binary::released())
    }

    /// A line of the configuration file, such as `shutdown_timeout = 1`.
    #[must_use]
    pub fn set(mut self, line: &str) -> Settings {
        self.top.push_str(line);
        self.top.push('\n');
        self
    }

    /// A line under `[log_manager]`.
    #[must_use]
    pub fn set_log_manager(mut self, line: &str) -> Settings {
        self.log_manager.push_str(line);
        self.log_manager.push('\n');
        self
    }

    /// A table of the configuration file, with its head.
    #[must_use]
    pub fn table(mut self, text: &str) -> Settings {
        self.tables.push_str(text);
        self.tables.push('\n');
        self
    }

    /// The whole configuration file. `DATA` in it is replaced by the data directory.
    #[must_use]
    pub fn file(mut self, text: &str) -> Settings {
        self.whole = Some(text.to_owned());
        self
    }

    /// A further argument of `styx serve`.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Settings {
        self.arguments.push(argument.to_owned());
        self
    }

    /// A variable of the server's environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Settings {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Passes a listening socket to each start of the server, as systemd does.
    #[must_use]
    pub fn passed(self, socket: impl Into<OwnedFd>) -> Settings {
        Settings { passed: Some(Arc::new(socket.into())), ..self }
    }

    /// Runs this program in place of the usual binary.
    #[must_use]
    pub fn program(mut self, path: &Path) -> Settings {
        self.program = Some(path.to_owned());
        self
    }

    /// Runs this shell script in place of the usual binary. It is an argument of the
    /// shell, because a new file cannot be executed while a child that another thread
    /// has forked still holds it open (`ETXTBSY`).
    #[must_use]
    pub fn script(self, path: &Path) -> Settings {
        Settings { script: true, ..self.program(path) }
    }

    /// Starts it like 0.x: by the name `styx-server`, with flags only.
    #[must_use]
    pub fn under_the_old_name(mut self) -> Settings {
        self.old_name = true;
        self
    }

    /// Starts it with TLS. The test speaks plain bytes to [`address`](TestServer::address),
    /// which a bridge encrypts.
    #[must_use]
    pub fn tls(self) -> Settings {
        self.tls_with("")
    }

    /// As [`tls`](Self::tls), with further lines under `[tls]`. `DIRECTORY` in them is
    /// replaced by the server's directory.
    #[must_use]
    pub fn tls_with(mut self, lines: &str) -> Settings {
        let authority = Arc::new(Authority::new("authority of a test"));
        self.tls = Some(Encryption { authority, lines: lines.to_owned() });
        self
    }

    /// Says that the test configures TLS itself, or not at all: there is no bridge.
    #[must_use]
    pub fn without_tls_bridge(mut self) -> Settings {
        self.own_tls = true;
        self
    }

    /// Says that with TLS, the connections of [`TestServer::connect`] encrypt themselves. The
    /// bridge would buffer, which hides when a peer does not read.
    #[must_use]
    pub fn direct(mut self) -> Settings {
        self.is_direct = true;
        self
    }

    /// Starts it without waiting until every log is open.
    #[must_use]
    pub fn while_scanning(mut self) -> Settings {
        self.scanning = true;
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    #[track_caller]
    pub fn start(self) -> TestServer {
        let scratch = Arc::new(Scratch::new("server"));
        self.start_in(scratch).unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    /// Starts it in a directory that other servers may use too: its data is in
    /// `data`, its configuration in `config.toml`.
    ///
    /// # Errors
    /// It ended before it listened.
    pub fn start_in(mut self, scratch: Arc<Scratch>) -> Result<TestServer, Refusal> {
        self = self.over_the_transport();
        let config = self.config_text(scratch.path());
        scratch.write("config.toml", config);
        let running = Running::start(&self, scratch.path())?;
        let running = Some(running);
        let server = TestServer { scratch, settings: self, running, kept_ports: Vec::new() };
        server.await_ready();
        Ok(server)
    }

    /// With the transport with which the tests run again, unless the test has its own.
    fn over_the_transport(self) -> Settings {
        let is_changed = transport::is_tls() && !self.script && !self.own_tls;
        if is_changed && self.tls.is_none() { self.tls() } else { self }
    }

    /// The token file that tests with tokens use, written to the directory.
    fn token_file_table(&self, directory: &Path) -> String {
        let is_own = self.script || self.own_tls || self.tables.contains("[auth]");
        let Some(administrator) = transport::administrator().filter(|_| !is_own) else {
            return String::new();
        };
        let path = directory.join(TOKENS);
        std::fs::write(&path, &administrator.token_file).expect("the directory can be written");
        format!("\n[auth]\ntoken_file = {path:?}\n")
    }

    fn config_text(&self, directory: &Path) -> String {
        let text = self.plain_config_text(directory) + &self.token_file_table(directory);
        let Some(Encryption { authority, lines }) = &self.tls else { return text };
        let signed = authority.server();
        let certificate = directory.join(CERTIFICATE);
        let key = directory.join(KEY);
        std::fs::write(&certificate, signed.certificate).expect("the directory can be written");
        std::fs::write(&key, signed.key).expect("the directory can be written");
        let lines = lines.replace("DIRECTORY", &directory.display().to_string());
        format!("{text}\n[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n{lines}\n")
    }

    fn plain_config_text(&self, directory: &Path) -> String {
        let data = directory.join("data").display().to_string();
        match &self.whole {
            Some(text) => text.replace("DATA", &data),
            None => format!(
                "bind_address = \"127.0.0.1:0\"\n{}\n[log_manager]\ndata_directory = {data:?}\n{}\n{}",
                self.top, self.log_manager, self.tables
            ),
        }
    }

    fn command(&self, directory: &Path) -> Command {
        let program = self.program.as_deref().unwrap_or_else(|| binary::styx());
        let mut command;
        if self.passed.is_some() {
            // The process keeps its id when the shell executes the server.
            command = Command::new("/bin/sh");
            command.arg("-c").arg(PASS_SOCKET).arg(program).arg("serve");
        } else if self.old_name {
            let link = directory.join("styx-server");
            if !link.exists() {
                std::os::unix::fs::symlink(program, &link).expect("a link can be made");
            }
            command = Command::new(link);
        } else {
            command = Command::new(if self.script { Path::new("/bin/sh") } else { program });
            command.args(self.script.then_some(program)).arg("serve");
        }
        command.arg("--config").arg(directory.join("config.toml")).args(&self.arguments);
        // A test that is killed leaves no server behind. 0.x had no such flag.
        command.args((!self.old_name).then_some("--exit-with-parent"));
        // The caller's environment must not configure a test's server.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("STYX_") {
                command.env_remove(name);
            }
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(directory).stdin(match &self.passed {
            None => Stdio::null(),
            Some(socket) => Stdio::from(socket.try_clone().expect("a descriptor is left")),
        });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// A server that ended before it listened.
#[derive(Debug)]
pub struct Refusal {
    /// How it ended.
    pub status: Option<ExitStatus>,
    /// Its standard output and standard error.
    pub output: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the server did not start ({:?}); its output:\n{}", self.status, self.output)
    }
}

/// A server. It is killed when this is dropped.
#[derive(Debug)]
pub struct TestServer {
    scratch: Arc<Scratch>,
    settings: Settings,
    running: Option<Running>,
    /// The ports of its processes that ended ([`keep_port`]).
    kept_ports: Vec<OwnedFd>,
}

impl TestServer {
    /// Starts one with the default settings.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    #[track_caller]
    pub fn start() -> TestServer {
        Settings::default().start()
    }

    /// The address that it listens on, or that of the bridge in front of its TLS.
    ///
    /// # Panics
    /// When it is not running.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let running = self.running();
        running.bridge.as_ref().map_or(running.address, TlsBridge::address)
    }

    /// The address that it listens on, with TLS if it has that.
    ///
    /// # Panics
    /// When it is not running.
    #[must_use]
    pub fn listener_address(&self) -> SocketAddr {
        self.running().address
    }

    /// Its URL for clients with TLS, with the host name of its certificate.
    #[must_use]
    pub fn tls_url(&self) -> String {
        format!("styxs://localhost:{}", self.listener_address().port())
    }

    /// Whether it speaks TLS.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.settings.tls.is_some()
    }

    /// The authority of its certificate, if it has TLS.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.settings.tls.as_ref().expect("a server with TLS").authority
    }

    /// The files of its certificate and key, if it has TLS.
    #[must_use]
    pub fn certificate_files(&self) -> (PathBuf, PathBuf) {
        (self.scratch.join(CERTIFICATE), self.scratch.join(KEY))
    }

    /// Its URL, with this path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.running().child.id()
    }

    /// The directory with its configuration and data.
    #[must_use]
    pub fn scratch(&self) -> &Arc<Scratch> {
        &self.scratch
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.scratch.join("data")
    }

    /// Its standard error since the last start.
    #[must_use]
    pub fn log(&self) -> String {
        self.running().log()
    }

    /// Waits for a line with this text in its standard error. The lines are read from a pipe, so
    /// one that was written before an answer may arrive after it.
    ///
    /// # Panics
    /// When there is none after 30 s.
    #[track_caller]
    pub fn expect_log(&self, text: &str) {
        let begun = Instant::now();
        while !self.log().contains(text) {
            assert!(begun.elapsed() < PATIENCE, "no line has {text:?}: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A connection to it.
    #[must_use]
    pub fn connect(&self) -> Connection {
        let Some(tls) = self.settings.tls.as_ref().filter(|_| self.settings.is_direct) else {
            return Connection::open(self.address());
        };
        let config = client_config(tls.authority.certificate());
        Connection::try_open_tls(self.listener_address(), config).expect("the server is listening")
    }

    /// Sends one request on a new connection.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    #[track_caller]
    pub fn ask(&self, request: &Request) -> Response {
        match self.connect().exchange(request) {
            Ok(response) => response,
            Err(e) => panic!("{e} instead of an answer to {request:?}\n{}", self.log()),
        }
    }

    /// Sends bytes on a new connection and reads one answer.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    #[track_caller]
    pub fn ask_bytes(&self, bytes: &[u8]) -> Response {
        let method = bytes.split(|b| *b == b' ').next().unwrap_or_default();
        let method = String::from_utf8_lossy(method).into_owned();
        let mut connection = self.connect();
        connection.send(bytes).expect("the request can be sent");
        match connection.response(&method) {
            Ok(response) => response,
            Err(e) => panic!("{e} instead of an answer to {}", bytes.escape_ascii()),
        }
    }

    /// Kills it with SIGKILL.
    ///
    /// # Panics
    /// When it is not running.
    pub fn kill(&mut self) {
        assert!(self.running.is_some(), "the server runs");
        self.end_process();
    }

    /// Asks it to stop with SIGTERM and waits until it has stopped.
    ///
    /// # Panics
    /// When it takes longer than 30 seconds.
    pub fn stop(&mut self) -> Stopped {
        self.ask_to_stop();
        self.wait_for_exit()
    }

    /// Sends SIGTERM and does not wait.
    ///
    /// # Panics
    /// When it is not running.
    pub fn ask_to_stop(&self) {
        self.tell(Signal::TERM);
    }

    /// Stops all of its threads (SIGSTOP), as on an overloaded machine.
    ///
    /// # Panics
    /// When it is not running.
    pub fn pause(&self) {
        self.tell(Signal::STOP);
    }

    /// Continues it after [`pause`](Self::pause).
    ///
    /// # Panics
    /// When it is not running.
    pub fn resume(&self) {
        self.tell(Signal::CONT);
    }

    /// Sends a signal and does not wait.
    ///
    /// # Panics
    /// When it is not running.
    pub fn tell(&self, signal: Signal) {
        let id = i32::try_from(self.process()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("a child has an id"), signal)
            .expect("a signal can be sent to a child");
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it takes longer than 30 seconds.
    pub fn wait_for_exit(&mut self) -> Stopped {
        let mut running = self.running.take().expect("the server runs");
        let start = Instant::now();
        let status = wait::until("the server's end", PATIENCE, || running.child.try_wait().ok()?);
        let took = start.elapsed();
        running.settle();
        self.kept_ports.extend(keep_port(running.address));
        Stopped { status, took, log: running.log() }
    }

    fn end_process(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.settle();
            self.kept_ports.extend(keep_port(running.address));
        }
    }

    /// Starts it again, on another port, after [`kill`](Self::kill) or
    /// [`stop`](Self::stop).
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn restart(&mut self) {
        if let Err(refusal) = self.try_restart() {
            panic!("{refusal}");
        }
    }

    /// As [`restart`](Self::restart).
    ///
    /// # Errors
    /// It ended before it listened.
    pub fn try_restart(&mut self) -> Result<(), Refusal> {
        self.end_process();
        self.running = Some(Running::start(&self.settings, self.scratch.path())?);
        self.await_ready();
        Ok(())
    }

    /// Starts its process again without waiting, so that it can be killed
    /// while it recovers.
    ///
    /// # Panics
    /// When the process cannot be started.
    pub fn begin_restart(&mut self) {
        self.running = Some(Running::spawn(&self.settings, self.scratch.path()).0);
    }

    /// Starts it again with other settings, on the same data.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart_with(&mut self, settings: Settings) {
        let settings = settings.over_the_transport();
        self.end_process();
        self.scratch.write("config.toml", settings.config_text(self.scratch.path()));
        self.settings = settings;
        self.restart();
    }

    /// Waits until every log has been opened.
    ///
    /// # Panics
    /// When that takes longer than 30 seconds.
    pub fn await_ready(&self) {
        if self.settings.scanning {
            return;
        }
        wait::until_true("/health/ready", PATIENCE, || {
            let answer = Connection::try_open(self.address())
                .and_then(|mut c| c.exchange(&Request::get("/health/ready")));
            answer.is_ok_and(|a| a.status() == 200)
        });
    }

    /// Its resident memory in bytes.
    ///
    /// # Panics
    /// When /proc cannot be read.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.status_kib("VmRSS:") * 1024
    }

    /// Its peak resident memory in bytes.
    ///
    /// # Panics
    /// When /proc cannot be read.
    #[must_use]
    pub fn memory_bytes_most(&self) -> u64 {
        self.status_kib("VmHWM:") * 1024
    }

    fn status_kib(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.process());
        let status = std::fs::read_to_string(path).expect("a child has a status");
        let line = status.lines().find(|line| line.starts_with(field)).expect("a known field");
        let number = line.split_whitespace().nth(1).expect("a number");
        number.parse().expect("a number")
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("the server runs")
    }
}

/// How a server ended.
#[derive(Debug)]
pub struct Stopped {
    /// Its exit status.
    pub status: ExitStatus,
    /// How long the caller waited.
    pub took: Duration,
    /// Its standard error.
    pub log: String,
}

/// Binds the port of a server that ended, without listening, so that connections are refused.
/// The kernel could give a free port to the server of another test, and that one would
/// answer the clients of this test. Returns nothing if the port is taken already.
fn keep_port(address: SocketAddr) -> Option<OwnedFd> {
    if address.port() == 0 {
        return None;
    }
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).ok()?;
    // The server binds with this option too, so a restart on the same port works.
    sockopt::set_socket_reuseaddr(&socket, true).ok()?;
    net::bind(&socket, &address).ok()?;
    Some(socket)
}

#[derive(Debug)]
struct Running {
    child: Child,
    address: SocketAddr,
    /// Encrypts for tests that speak plain bytes, if the server has TLS.
    bridge: Option<TlsBridge>,
    log: Arc<Mutex<String>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    fn spawn(settings: &Settings, directory: &Path) -> (Running, mpsc::Receiver<SocketAddr>) {
        let mut command = settings.command(directory);
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = child.stderr.take().expect("the stream is piped");
        let reader = Some(collect(stderr, Arc::clone(&log)));
        let stdout = child.stdout.take().expect("the stream is piped");
        let address = listening(stdout, Arc::clone(&log));
        let nowhere = ([0, 0, 0, 0], 0).into();
        (Running { child, address: nowhere, bridge: None, log, reader }, address)
    }

    fn start(settings: &Settings, directory: &Path) -> Result<Running, Refusal> {
        let (mut running, address) = Running::spawn(settings, directory);
        match address.recv_timeout(PATIENCE) {
            Ok(address) => {
                running.address = address;
                running.bridge = settings
                    .tls
                    .as_ref()
                    .map(|tls| TlsBridge::start(address, tls.authority.certificate()));
                Ok(running)
            }
            Err(reason) => {
                let status = match reason {
                    RecvTimeoutError::Disconnected => running.child.wait().ok(),
                    RecvTimeoutError::Timeout => None,
                };
                running.settle();
                Err(Refusal { status, output: running.log() })
            }
        }
    }

    fn log(&self) -> String {
        self.log.lock().map(|log| log.clone()).unwrap_or_default()
    }

    /// Ends the child, and waits for the rest of its output.
    fn settle(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.settle();
        if std::thread::panicking() {
            eprintln!("--- the server's log\n{}--- end of the server's log", self.log());
        }
    }
}

/// Collects what a child writes.
fn collect(
    mut from: impl Read + Send + 'static,
    into: Arc<Mutex<String>>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            if let Ok(mut log) = into.lock() {
                log.push_str(&text);
            }
        }
    })
}

/// Waits for the line `listening on http://ADDRESS`, or `https://`; all other lines are
/// collected. The channel closes when the output does.
fn listening(
    stdout: impl Read + Send + 'static,
    log: Arc<Mutex<String>>,
) -> mpsc::Receiver<SocketAddr> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            let Ok(line) = line else { return };
            let url = line.strip_prefix("listening on ");
            let address =
                url.and_then(|url| url.split_once("://")).map(|(_, address)| address.parse());
            match address {
                Some(Ok(address)) => drop(sender.send(address)),
                _ => log.lock().map(|mut log| log.push_str(&format!("{line}\n"))).unwrap_or(()),
            }
        }
    });
    receiver
}
