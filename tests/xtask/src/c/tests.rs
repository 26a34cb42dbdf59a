//! The step `c-tests`: the tests in C, with a real server.
//!
//! The longest test is that of valgrind, which opens and closes a thousand clients, producers and
//! consumers. A soak also runs the builds with sanitizers, at the same time, because most tests
//! wait.

use std::process::Command;

use super::build::{self, Build, GCC, SANITIZERS};
use super::{sources, summary};
use crate::tally::{self, Tally};
use crate::tools;

/// The numbers that are larger in a soak.
const SOAK: [(&str, &str); 6] = [
    ("STYX_TEST_ROUNDS", "10000"),
    ("STYX_TEST_WAKEUPS", "1000000"),
    ("STYX_TEST_FORKS", "20000"),
    ("STYX_TEST_OPTIONS", "1000000"),
    ("STYX_TEST_CPP_ROUNDS", "100"),
    ("STYX_TEST_SECONDS", "7200"),
];
/// Seconds after which ctest ends a program: in a soak, and otherwise.
const TIMEOUTS: (&str, &str) = ("7200", "800");

/// Runs `bindings/c/tests/c`.
pub(crate) fn step() -> Tally {
    run(&[&GCC], &[], TIMEOUTS.1)
}

/// Runs them with 10,000 clients, a million wake-ups and so on, and with sanitizers.
pub(crate) fn soak() -> bool {
    let [address, thread] = &SANITIZERS;
    run(&[&GCC, address, thread], &SOAK, TIMEOUTS.0).failed == 0
}

fn run(builds: &[&Build], variables: &[(&str, &str)], timeout: &str) -> Tally {
    if !build::is_built(builds) {
        return Tally::step(false);
    }
    let mut total = Tally::default();
    std::thread::scope(|scope| {
        let start = |build| {
            scope.spawn(move || {
                tally::run_counting(ctest(build, variables, timeout), summary::add_line)
            })
        };
        let runs: Vec<_> = builds.iter().copied().map(start).collect();
        for run in runs {
            total.add(run.join().unwrap_or_else(|_| Tally::step(false)));
        }
    });
    total
}

fn ctest(build: &Build, variables: &[(&str, &str)], timeout: &str) -> Command {
    let mut ctest = Command::new("ctest");
    ctest.arg("--test-dir").arg(build.folder()).args(["--output-on-failure", "--timeout", timeout]);
    ctest.args(["--parallel", "3"]).env("STYX_BIN", tools::styx());
    let suppressions = sources().join("tests/c/thread-sanitizer.supp");
    ctest.env("TSAN_OPTIONS", format!("suppressions={}", suppressions.display()));
    ctest.envs(variables.iter().copied());
    ctest
}
