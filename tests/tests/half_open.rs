//! A peer that vanished without a word: its machine lost power, its cable was
//! pulled. Nothing comes any more, not even the end of the connection, and the
//! server has to find out by itself.
//!
//! `unshare` gives the server a network of its own, which is then switched off;
//! where that is not allowed the test says that it was skipped.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use styx_tests::{Scratch, Settings, TestServer, binary, faults, strace, wait};

/// Whether a network of one's own can be had here.
fn is_possible() -> bool {
    let script = "ip link set lo up && ip link set lo down";
    let tried = Command::new("unshare").args(["-Urn", "sh", "-c", script]).output();
    tried.is_ok_and(|tried| tried.status.success())
}

/// A program that runs the server in a network that nobody else is in.
fn alone(scratch: &Scratch) -> std::path::PathBuf {
    let styx = binary::styx().display();
    let text = format!(
        "#!/bin/sh\nexport STYX='{styx}'\n\
         exec unshare -Urn sh -c 'ip link set lo up && exec \"$STYX\" \"$@\"' styx \"$@\"\n"
    );
    strace::executable(scratch, "alone", &text)
}

/// A command in the server's network.
fn beside(server: &TestServer, script: &str) -> Command {
    let mut command = Command::new("nsenter");
    let process = server.process().to_string();
    command.args(["-t", &process, "-U", "-n", "--preserve-credentials", "bash", "-c", script]);
    command.stdin(Stdio::null());
    command
}

fn must(mut command: Command) -> String {
    let output = command.output().expect("it can be run");
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The server's open sockets.
fn sockets(server: &TestServer) -> usize {
    let folder = format!("/proc/{}/fd", server.process());
    let entries = std::fs::read_dir(Path::new(&folder)).expect("a list of descriptors");
    let targets = entries.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

/// A client that sends a request and waits, until it is killed.
struct Waiting(Child);

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn request(server: &TestServer, request: &str) -> Waiting {
    let port = server.address().port();
    let script =
        format!("exec 3<>/dev/tcp/127.0.0.1/{port}; printf '{request}' >&3; exec sleep 1000");
    Waiting(beside(server, &script).spawn().expect("it can be run"))
}

#[test]
fn a_peer_that_vanished_is_let_go() {
    if !is_possible() {
        return faults::skip("no network of its own can be had here (unshare -Urn, ip)");
    }
    let scratch = Arc::new(Scratch::new("alone"));
    let settings = Settings::default().program(&alone(&scratch)).set("tcp_timeout = 2");
    // It cannot be reached from here.
    let server = settings.while_scanning().start_in(scratch).expect("it starts");
    let url = format!("http://127.0.0.1:{}", server.address().port());
    let before = sockets(&server);
    must(beside(&server, &format!("curl -sSf -d name=a {url}/logs")));
    wait::until_true("curl's connection to go", Duration::from_secs(10), || {
        sockets(&server) == before
    });

    // A follower of a quiet log says nothing for as long as it likes.
    let follow = r"GET /logs/a/records?whence=end&follow=true HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n";
    let waiting = [request(&server, follow), request(&server, follow)];
    wait::until_true("the followers", Duration::from_secs(10), || sockets(&server) == before + 2);
    must(beside(&server, "ip link set lo down"));
    let start = Instant::now();
    wait::until_true("the vanished to be let go", Duration::from_secs(30), || {
        sockets(&server) == before
    });
    println!("they were let go after {:?}", start.elapsed());
    drop(waiting);

    must(beside(&server, "ip link set lo up"));
    let answer = must(beside(&server, &format!("curl -sSf -d x {url}/logs/a/records")));
    assert!(answer.contains("\"position\": 1"), "{answer}");
}
