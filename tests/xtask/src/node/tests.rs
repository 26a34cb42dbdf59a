//! The step `node-tests`: Node's test runner with the built package and a real server.

use std::path::Path;
use std::process::Command;

use super::{build, client, files, summary};
use crate::suites;
use crate::tally::{self, Tally};

/// How long one test may take.
const TIMEOUT_MS: u32 = 120_000;
/// The same in a soak, and the records of its test of flat memory.
const SOAK_TIMEOUT_MS: u32 = 3_600_000;
const SOAK_RECORDS: &str = "20000000";
/// The files that run at the same time. Most tests wait for a server.
const CONCURRENCY: u32 = 2;

/// Runs the tests in `bindings/node/test`.
pub(crate) fn step() -> Tally {
    if build::is_built() { run(&client(), &client().join("test")) } else { Tally::step(false) }
}

/// Runs the test of flat memory with 20 million records.
pub(crate) fn soak() -> bool {
    if !build::is_built() {
        return false;
    }
    let mut node = node(SOAK_TIMEOUT_MS);
    node.arg(client().join("test/memory.test.mjs"));
    node.current_dir(client()).env("STYX_SOAK_RECORDS", SOAK_RECORDS);
    tally::run_counting(node, summary::add_line).failed == 0
}

/// Runs the tests below a folder, with another folder as the current directory.
pub(super) fn run(directory: &Path, tests: &Path) -> Tally {
    let files = files::below(tests, &[".test.mjs", ".test.cjs", ".test.js"]);
    if files.is_empty() {
        eprintln!("there are no tests in {}", tests.display());
        return Tally::step(false);
    }
    let mut node = node(TIMEOUT_MS);
    node.arg(format!("--test-concurrency={CONCURRENCY}")).args(files).current_dir(directory);
    tally::run_counting(node, summary::add_line)
}

/// A call of Node's test runner.
fn node(timeout_ms: u32) -> Command {
    let mut node = Command::new("node");
    // Some tests collect garbage.
    node.args(["--expose-gc", "--test", "--test-reporter=tap"]);
    node.arg(format!("--test-timeout={timeout_ms}")).envs(suites::environment());
    node
}
