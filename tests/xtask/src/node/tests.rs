//! The step `node-tests`: Node's test runner with the built package and a real server.

use std::path::Path;
use std::process::Command;

use super::{build, client, files, summary};
use crate::suites;
use crate::tally::{self, Tally};

/// How long one test may take.
const TIMEOUT_MS: u32 = 120_000;
/// The files that run at the same time. Most tests wait for a server.
const CONCURRENCY: u32 = 2;

/// Runs the tests in `bindings/node/test`.
pub(crate) fn step() -> Tally {
    if build::is_built() { run(&client(), &client().join("test")) } else { Tally::step(false) }
}

/// Runs the tests below a folder, with another folder as the current directory.
pub(super) fn run(directory: &Path, tests: &Path) -> Tally {
    let files = files::below(tests, &[".test.mjs", ".test.cjs", ".test.js"]);
    if files.is_empty() {
        eprintln!("there are no tests in {}", tests.display());
        return Tally::step(false);
    }
    let mut node = Command::new("node");
    // Some tests collect garbage.
    node.args(["--expose-gc", "--test", "--test-reporter=tap"]);
    node.arg(format!("--test-timeout={TIMEOUT_MS}"));
    node.arg(format!("--test-concurrency={CONCURRENCY}")).args(files);
    node.current_dir(directory).envs(suites::environment());
    tally::run_counting(node, summary::add_line)
}
