//! [`Tally`]: counts the results of tests while their output is printed.
//!
//! A test that cannot prove anything on this machine passes, but prints `skipped: reason`
//! on a separate line. It counts as skipped, not as passed.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::failures::Failures;
use crate::hung;

/// Tests that print nothing for this long hang. The longest silence of a healthy run is
/// that of cargo, which builds for three minutes; on a slow disk everything takes longer.
const SILENCE: Duration = Duration::from_secs(900);

/// The numbers of passed, failed and skipped tests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// The failed tests.
    pub(crate) failures: Failures,
    /// Tests that printed `skipped:` since the last result line.
    printed_skipped: u64,
}

impl Tally {
    /// One step that cannot run on this machine.
    pub(crate) fn skipped() -> Tally {
        Tally { skipped: 1, ..Tally::default() }
    }

    /// One step that passed or failed.
    pub(crate) fn step(passed: bool) -> Tally {
        Tally { passed: passed.into(), failed: (!passed).into(), ..Tally::default() }
    }

    pub(crate) fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failures.append(other.failures);
    }

    /// Counts `test result: ok. 3 passed; 0 failed; 1 ignored; …`, and `skipped: …`
    /// before it.
    fn add_line(&mut self, line: &str) {
        if line.starts_with("skipped: ") {
            self.printed_skipped += 1;
        }
        let Some(counts) = line.strip_prefix("test result: ") else { return };
        let counts = counts.split_once(". ").map_or(counts, |(_, counts)| counts);
        for part in counts.split(';') {
            let mut words = part.split_whitespace();
            let number = words.next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
            match words.next() {
                Some("passed") => self.passed += number,
                Some("failed") => self.failed += number,
                Some("ignored") => self.skipped += number,
                _ => {}
            }
        }
        let skipped = std::mem::take(&mut self.printed_skipped).min(self.passed);
        self.passed -= skipped;
        self.skipped += skipped;
    }
}

/// Runs tests with cargo and counts them. A run without a failed test may still fail,
/// because it does not compile or a test process died. It counts as one failure. So does a
/// run that hangs: it is killed after 15 minutes without output, and its threads are
/// printed, which have the names of their tests.
pub(crate) fn run(command: Command) -> Tally {
    run_counting(command, Tally::add_line)
}

/// The same for tests of another kind, whose results `add_line` counts.
pub(crate) fn run_counting(command: Command, add_line: fn(&mut Tally, &str)) -> Tally {
    run_unless_silent(command, SILENCE, add_line)
}

fn run_unless_silent(
    mut command: Command,
    silence: Duration,
    add_line: fn(&mut Tally, &str),
) -> Tally {
    let mut tally = Tally::default();
    let child = command.stdout(Stdio::piped()).spawn();
    let succeeded = child.is_ok_and(|mut child| {
        let output = child.stdout.take().expect("the stream is piped");
        let add = |line: &str| {
            tally.failures.add_line(line);
            add_line(&mut tally, line);
        };
        if !print(&lines(output), silence, add) {
            tally.failed += 1;
            tally.failures.add_hang(&hung::describe_and_kill(child.id()));
        }
        child.wait().is_ok_and(|status| status.success())
    });
    if !succeeded && tally.failed == 0 {
        tally.failures.push(&format!("failed: {command:?}"));
        eprint!("{}", tally.failures.text());
        tally.failed = 1;
    }
    tally
}

/// The lines of the output, as they arrive.
fn lines(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Prints lines and gives them to `add`, until the output ends; `false` if it hangs.
fn print(lines: &Receiver<String>, silence: Duration, mut add: impl FnMut(&str)) -> bool {
    loop {
        match lines.recv_timeout(silence) {
            Ok(line) => {
                let _ = writeln!(std::io::stdout(), "{line}");
                add(&line);
            }
            Err(RecvTimeoutError::Disconnected) => return true,
            Err(RecvTimeoutError::Timeout) => {
                eprintln!("killed, because there was no output for {silence:?}");
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_result_lines_are_counted() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test a ... ok",
            "test result: ok. 12 passed; 0 failed; 2 ignored; 0 measured; 9 filtered out; finished",
            "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out",
            "I said: 4 passed; 4 failed",
        ] {
            tally.add_line(line);
        }
        assert_eq!(tally, Tally { passed: 15, failed: 1, skipped: 2, ..Tally::default() });
    }

    #[test]
    fn test_that_prints_skipped_does_not_count_as_passed() {
        let mut tally = Tally::default();
        for line in [
            "test a ... ",
            "skipped: Xfs: mkfs.xfs cannot be run: No such file or directory",
            "ok",
            "I was not skipped: I ran",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
            "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
        ] {
            tally.add_line(line);
        }
        assert_eq!(tally, Tally { passed: 4, skipped: 1, ..Tally::default() });
    }

    #[test]
    fn run_that_dies_counts_as_one_failure() {
        assert_eq!(run(Command::new("false")).failed, 1);
        assert_eq!(run(Command::new("/no/such/program")).failed, 1);
    }

    #[test]
    fn run_that_hangs_is_killed_with_its_children() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo this test hangs; sleep 1000; true"]);
        let tally = run_unless_silent(command, Duration::from_millis(500), Tally::add_line);
        assert_eq!((tally.passed, tally.failed, tally.skipped), (0, 1, 0));
        let text = tally.failures.text();
        assert!(text.contains("killed after a long silence") && text.contains("sleep"), "{text}");
    }
}
