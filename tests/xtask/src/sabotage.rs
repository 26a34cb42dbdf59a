//! `cargo xtask sabotage`: switches known mistakes of the engine and of the archive on, one at a
//! time, and shows which tests catch each. A mistake that no test catches is a failure, because then
//! the tests prove nothing about the promise that it breaks.
//!
//! The mistakes are listed in the `sabotage.rs` of each crate. One build with the feature `sabotage`
//! of a crate has all of that crate, and `STYX_SABOTAGE` chooses one.

use std::process::{Output, Stdio};
use std::time::Instant;

use crate::{root, tools};

/// With this number of seeds, each mistake has an effect dozens of times, and a run takes seconds.
const SEEDS: &str = "400";

/// A crate with known mistakes.
struct Suite {
    package: &'static str,
    /// The folder of the crate.
    folder: &'static str,
    /// The tests that run: a test binary, and the arguments that select in it.
    /// Their names differ from those of all other packages, because cargo runs every binary with the name.
    tests: &'static [(&'static str, &'static [&'static str])],
}

/// The audit of damaged files takes as long as all other tests of the engine together, and the tests
/// of the log and of one record catch everything that it catches here. The other tests of the engine
/// wait for calls that some mistakes leave out.
const SUITES: [Suite; 2] = [
    Suite {
        package: "styx-engine",
        folder: "server/engine",
        tests: &[("engine", &["log::", "one_record::"]), ("simulation", &["--skip", "damage::"])],
    },
    Suite {
        package: "styx-archive",
        folder: "server/archive",
        tests: &[("archiver", &["conditional::", "collector_"])],
    },
];

/// Tries every mistake. Returns whether a test caught each.
pub(crate) fn all_caught() -> bool {
    SUITES.iter().all(all_of_crate_caught)
}

fn all_of_crate_caught(suite: &Suite) -> bool {
    let mistakes = mistakes(suite);
    if mistakes.is_empty() {
        eprintln!("{}/src/sabotage.rs has no mistakes", suite.folder);
        return false;
    }
    // A test that always fails would seem to catch every mistake.
    match attempt(suite, None) {
        Attempt::NotCaught => {}
        Attempt::CaughtBy(tests) => {
            eprintln!("these fail without a mistake, fix them first: {}", tests.join(", "));
            return false;
        }
        Attempt::NotRun(stderr) => {
            eprintln!("{stderr}");
            return false;
        }
    }
    let tried: Vec<(String, Attempt)> = mistakes
        .into_iter()
        .map(|mistake| {
            let start = Instant::now();
            let outcome = attempt(suite, Some(&mistake));
            println!("{:5.1} s  {mistake}", start.elapsed().as_secs_f64());
            (mistake, outcome)
        })
        .collect();
    println!("\n{:<24} caught by", "mistake");
    let mut all = true;
    for (mistake, outcome) in tried {
        let by = match outcome {
            Attempt::CaughtBy(tests) => tests.join(&format!("\n{:<24} ", "")),
            Attempt::NotCaught => "NOTHING".to_owned(),
            Attempt::NotRun(stdout) => format!("NOT RUN:\n{stdout}"),
        };
        all &= !by.starts_with("NOT");
        println!("{mistake:<24} {by}");
    }
    all
}

enum Attempt {
    CaughtBy(Vec<String>),
    NotCaught,
    /// The tests were not built or did not report. Contains their output.
    NotRun(String),
}

/// Runs the tests with a mistake, or without one.
fn attempt(suite: &Suite, mistake: Option<&str>) -> Attempt {
    let mut failures = Vec::new();
    for (binary, selected) in suite.tests {
        let output = match run(suite.package, binary, selected, mistake) {
            Ok(output) => output,
            Err(e) => return Attempt::NotRun(e.to_string()),
        };
        let stdout = String::from_utf8_lossy(&output.stdout);
        let failed = failed(&stdout);
        if failed.is_empty() && !(output.status.success() && ran(&stdout)) {
            return Attempt::NotRun(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        failures.extend(failed);
    }
    if failures.is_empty() { Attempt::NotCaught } else { Attempt::CaughtBy(failures) }
}

fn run(
    package: &str,
    binary: &str,
    selected: &[&str],
    mistake: Option<&str>,
) -> std::io::Result<Output> {
    // The workspace, so that only this crate is rebuilt: with `--package`, cargo would unify
    // features over fewer crates, and build their dependencies again.
    let mut command = tools::cargo(&["test", "--locked", "--workspace", "--test", binary]);
    let feature = format!("{package}/sabotage");
    command.args(["--features", &feature, "--"]).args(selected);
    command.env_remove("STYX_SABOTAGE");
    if let Some(mistake) = mistake {
        command.env("STYX_SABOTAGE", mistake);
    }
    // Failures are expected here, so no backtraces.
    command.env("STYX_SEEDS", SEEDS).env("RUST_BACKTRACE", "0").stdin(Stdio::null()).output()
}

/// Whether tests ran: a filter that selects none succeeds too.
fn ran(stdout: &str) -> bool {
    stdout.contains("test result: ok") && !stdout.contains(" 0 passed")
}

/// The names in lines like `test a_name ... FAILED`.
fn failed(stdout: &str) -> Vec<String> {
    let mut names: Vec<String> = stdout
        .lines()
        .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"))
        .map(str::to_owned)
        .collect();
    names.sort();
    names
}

/// All mistakes of a crate, read from the source so that none is forgotten.
fn mistakes(suite: &Suite) -> Vec<String> {
    let source = std::fs::read_to_string(root().join(suite.folder).join("src/sabotage.rs"));
    let source = source.unwrap_or_default();
    let names = source.lines().filter_map(|line| line.strip_prefix("    (\"")?.split_once('"'));
    names.map(|(name, _)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_failed_tests_are_parsed_from_the_output() {
        let stdout = "test a ... ok\ntest b::c ... FAILED\nI said: test d ... FAILED\nfailures:\n";
        assert_eq!(failed(stdout), ["b::c"]);
    }

    #[test]
    fn mistakes_are_read_from_the_sources() {
        let [engine, archive] = SUITES.each_ref().map(mistakes);
        assert!(engine.iter().any(|mistake| mistake == "ack-before-sync"));
        assert_eq!(engine.len(), 9);
        assert_eq!(archive, ["skip-read-back", "trust-precondition", "collect-current-epoch"]);
    }
}
