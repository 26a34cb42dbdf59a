//! A server that is process 1, as in a container without an init.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use styx_tests::{Connection, Request, Scratch, binary, faults, wait};

const PATIENCE: Duration = Duration::from_secs(30);

/// The process that `unshare` has started.
fn child_of(process: u32) -> Pid {
    let path = format!("/proc/{process}/task/{process}/children");
    wait::until("a child", PATIENCE, || {
        let text = std::fs::read_to_string(&path).ok()?;
        text.split_whitespace().next()?.parse().ok().and_then(Pid::from_raw)
    })
}

/// The kernel ignores signals to process 1 for which it has no handler.
#[test]
fn process_1_stops_at_sigterm_and_at_sigint() {
    for signal in [Signal::TERM, Signal::INT] {
        let scratch = Scratch::new("process-1");
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child"]).arg(binary::styx());
        command.args(["serve", "--bind-address", "127.0.0.1:0"]).current_dir(scratch.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut outer = command.spawn().expect("unshare is installed");
        let mut lines = BufReader::new(outer.stdout.take().expect("it is piped")).lines();
        let Some(Ok(line)) = lines.next() else {
            let done = outer.wait_with_output().expect("it ends");
            return faults::skip(&String::from_utf8_lossy(&done.stderr));
        };
        let address = line.strip_prefix("listening on http://").expect("the first line");
        let address = address.parse().expect("an address");
        let answer = Connection::open(address).exchange(&Request::get("/health/live"));
        assert_eq!(answer.expect("an answer").status(), 200);
        kill_process(child_of(outer.id()), signal).expect("the server runs");
        let status = wait::until("the end", PATIENCE, || outer.try_wait().ok()?);
        assert!(status.success(), "{signal:?}: {status:?}");
    }
}
