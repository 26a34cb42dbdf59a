//! Counts what cargo's test runs report, while it passes their output on.
//!
//! A test that finds that it cannot prove anything on this machine passes, and
//! says `skipped: why` on a line of its own: it counts as skipped, not as passed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// How many passed, failed and were skipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// Tests that said they were skipped, of the run whose result is to come.
    said_skipped: u64,
}

impl Tally {
    /// One step that cannot run here.
    pub(crate) fn skipped() -> Tally {
        Tally { skipped: 1, ..Tally::default() }
    }

    /// Counts one step.
    pub(crate) fn step(went_well: bool) -> Tally {
        Tally { passed: went_well.into(), failed: (!went_well).into(), ..Tally::default() }
    }

    pub(crate) fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Counts `test result: ok. 3 passed; 0 failed; 1 ignored; …`, and `skipped: …`
    /// before it.
    fn add_line(&mut self, line: &str) {
        if line.starts_with("skipped: ") {
            self.said_skipped += 1;
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
        let skipped = std::mem::take(&mut self.said_skipped).min(self.passed);
        self.passed -= skipped;
        self.skipped += skipped;
    }
}

/// Runs cargo's tests and counts them. A run that fails without a failed test
/// (it does not compile, or a test process died) counts as one.
pub(crate) fn run(mut command: Command) -> Tally {
    let mut tally = Tally::default();
    let child = command.stdout(Stdio::piped()).spawn();
    let went_well = child.is_ok_and(|mut child| {
        let output = child.stdout.take().expect("it is piped");
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = writeln!(std::io::stdout(), "{line}");
            tally.add_line(&line);
        }
        child.wait().is_ok_and(|status| status.success())
    });
    if !went_well && tally.failed == 0 {
        eprintln!("failed: {command:?}");
        tally.failed = 1;
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_counted_and_others_are_not() {
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
        assert_eq!(tally, Tally { passed: 15, failed: 1, skipped: 2, said_skipped: 0 });
    }

    #[test]
    fn a_test_that_says_it_was_skipped_did_not_pass() {
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
    fn a_run_that_dies_is_a_failure() {
        assert_eq!(run(Command::new("false")), Tally { failed: 1, ..Tally::default() });
        assert_eq!(run(Command::new("/no/such/program")).failed, 1);
    }
}
