//! `styx serve` for a program that starts a server of its own: `--port-file` and
//! `--exit-with-parent`.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use styx_tests::api::{write_lines, written};
use styx_tests::cli::{run, styx};
use styx_tests::{Connection, Request, Scratch, Settings, binary, wait};

const PATIENCE: Duration = Duration::from_secs(30);

fn serve(data: &Path, port_file: &Path) -> Command {
    let mut command = styx(&["serve", "--bind-address", "127.0.0.1:0", "--data-directory"]);
    command.arg(data).arg("--port-file").arg(port_file);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A child that is killed when the test ends.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl KillOnDrop {
    fn start(mut command: Command) -> KillOnDrop {
        KillOnDrop(command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}")))
    }

    /// Stops it with SIGTERM, and waits for a clean exit.
    fn stop(mut self) {
        let id = Pid::from_child(&self.0);
        kill_process(id, Signal::TERM).expect("it runs");
        let status = wait::until("the exit", PATIENCE, || self.0.try_wait().expect("a child"));
        assert!(status.success(), "{status}");
    }
}

/// Waits for the port file, and returns the address. Its content is complete at any time.
fn address(port_file: &Path) -> SocketAddr {
    let text = wait::until("the port file", PATIENCE, || std::fs::read_to_string(port_file).ok());
    let port = text.strip_suffix('\n').and_then(|port| port.parse().ok());
    SocketAddr::from(([127, 0, 0, 1], port.unwrap_or_else(|| panic!("{text:?} is not a port"))))
}

fn ask(address: SocketAddr, request: &Request) -> styx_tests::Response {
    Connection::open(address).exchange(request).expect("an answer")
}

fn create(address: SocketAddr, log: &str) {
    let _ = ask(address, &Request::post("/logs").form(&format!("name={log}"))).expect(200);
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("listed").map(|entry| entry.expect("one"));
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into()).collect();
    names.sort();
    names
}

/// Whether a process is gone, or is a zombie that the first process of a container has not reaped.
fn has_ended(id: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

#[test]
fn port_file_appears_when_the_server_listens_and_is_removed_at_a_clean_stop() {
    let scratch = Scratch::new("port-file");
    let folder = scratch.join("ports");
    std::fs::create_dir(&folder).expect("created");
    let (data, port_file) = (scratch.join("data"), folder.join("port"));
    let server = KillOnDrop::start(serve(&data, &port_file));
    // The first connection after the file appears succeeds.
    let first = address(&port_file);
    drop(TcpStream::connect(first).expect("the server listens"));
    assert_eq!(names(&folder), ["port"]);
    server.stop();
    assert_eq!(names(&folder), Vec::<String>::new());

    // A killed server leaves its file, which the next one replaces.
    std::fs::write(&port_file, "1\n").expect("written");
    let server = KillOnDrop::start(serve(&data, &port_file));
    let restarted = wait::until("the new port", PATIENCE, || {
        let text = std::fs::read_to_string(&port_file).ok()?;
        (text != "1\n").then_some(text)
    });
    assert!(restarted.trim_end().parse::<u16>().is_ok(), "{restarted:?}");
    drop(TcpStream::connect(address(&port_file)).expect("the server listens"));
    server.stop();
}

#[test]
fn port_file_that_cannot_be_written_is_an_error_before_the_data_directory_is_created() {
    let scratch = Scratch::new("port-file-error");
    let data = scratch.join("data");
    let missing: PathBuf = scratch.join("missing/port");
    let notes = scratch.write("notes", "not a port");
    for (port_file, why) in [
        (missing.as_path(), "No such file or directory"),
        (scratch.path(), "it exists and is not a file"),
        (notes.as_path(), "it exists and does not contain a port"),
    ] {
        let refused = run(serve(&data, port_file), b"");
        let message = format!("cannot write the port file {}: {why}", port_file.display());
        assert!(refused.stderr.contains(&message), "{}", refused.stderr);
        assert_eq!(refused.code, 1);
        assert!(!data.exists());
    }
    assert_eq!(std::fs::read_to_string(notes).expect("kept"), "not a port");
}

#[test]
fn a_second_server_on_the_same_directory_or_port_file_is_refused() {
    let scratch = Scratch::new("second-server");
    let (data, port_file) = (scratch.join("data"), scratch.join("port"));
    let first = KillOnDrop::start(serve(&data, &port_file));
    let address = address(&port_file);
    let refused = run(serve(&data, &scratch.join("other")), b"");
    let message = format!("is in use by process {}", first.0.id());
    assert!(refused.code == 1 && refused.stderr.contains(&message), "{}", refused.stderr);
    let refused = run(serve(&scratch.join("data-2"), &port_file), b"");
    let message = "a running server uses it";
    assert!(refused.code == 1 && refused.stderr.contains(message), "{}", refused.stderr);
    assert_eq!(names(scratch.path()), ["data", "port"]);
    create(address, "log");
    first.stop();
}

/// A server whose parent, a shell, is killed.
#[test]
fn server_stops_cleanly_when_its_parent_is_killed_and_the_data_are_intact() {
    let scratch = Arc::new(Scratch::new("killed-parent"));
    let (data, port_file) = (scratch.join("data"), scratch.join("port"));
    let mut shell = Command::new("/bin/sh");
    // The shell starts the server in the background, says its id, and waits.
    let script = "\"$@\" --exit-with-parent=$$ 2>log & echo $! >id; wait";
    shell.args(["-c", script, "sh"]).arg(binary::styx()).args(["serve", "--bind-address"]);
    shell.arg("127.0.0.1:0").arg("--data-directory").arg(&data).arg("--port-file").arg(&port_file);
    shell.current_dir(scratch.path()).stdin(Stdio::null()).stdout(Stdio::null());
    let mut shell = KillOnDrop::start(shell);
    let address = address(&port_file);
    let id = wait::until("its id", PATIENCE, || {
        std::fs::read_to_string(scratch.join("id")).ok().filter(|id| id.ends_with('\n'))
    });
    create(address, "log");
    let answer = ask(address, &write_lines("log", &"line\n".repeat(1000))).expect(200);
    assert_eq!(written(&answer).expect("JSON").position, 1000);

    shell.0.kill().expect("it runs");
    let _ = shell.0.wait().expect("a child");
    wait::until_true("the end of the server", PATIENCE, || has_ended(id.trim()));
    assert!(!port_file.exists(), "a clean stop removes it");
    let log = std::fs::read_to_string(scratch.join("log")).expect("read");
    assert!(log.contains("the parent process has ended; stopping"), "{log}");
    assert!(log.contains("stopped"), "{log}");
    let server = Settings::default().start_in(scratch).expect("the directory is free");
    assert_eq!(server.read_all("log").len(), 1000);
}

#[test]
fn server_of_a_parent_that_has_already_ended_does_not_start() {
    let scratch = Scratch::new("ended-parent");
    let data = scratch.join("data");
    let mut ended = Command::new("true").spawn().expect("started");
    let id = ended.id();
    let _ = ended.wait().expect("a child");
    let mut command = serve(&data, &scratch.join("port"));
    command.arg(format!("--exit-with-parent={id}"));
    let refused = run(command, b"");
    let message = format!("process {id} has ended, or is not the parent of this server");
    assert!(refused.code == 1 && refused.stderr.contains(&message), "{}", refused.stderr);
    assert_eq!(names(scratch.path()), Vec::<String>::new());
}

#[test]
fn server_runs_as_long_as_its_parent() {
    let scratch = Scratch::new("parent");
    let port_file = scratch.join("port");
    // The thread that starts the server ends, but the process does not.
    let mut command = serve(&scratch.join("data"), &port_file);
    command.arg("--exit-with-parent");
    let server = std::thread::spawn(|| KillOnDrop::start(command)).join().expect("started");
    create(address(&port_file), "log");
    server.stop();
}
