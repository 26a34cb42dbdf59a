//! `cargo xtask sabotage`: compiles known mistakes into the engine, one at a time, and
//! shows which tests catch each. A mistake that no test catches is a failure, because then
//! the tests prove nothing about the promise that it breaks.
//!
//! The mistakes are features of the engine, described in its `sabotage.rs`. Cargo keeps
//! the builds with each feature apart, so that the main build is not rebuilt.

use std::process::Stdio;
use std::time::Instant;

use crate::{root, tools};

/// A feature of the engine that is not a mistake.
const FUZZING: &str = "fuzzing";

/// With this number of seeds, each mistake has an effect dozens of times, and a run takes seconds.
const SEEDS: &str = "400";

/// Tries every mistake. Returns whether a test caught each.
pub(crate) fn all_caught() -> bool {
    let features = features();
    if features.is_empty() {
        eprintln!("server/engine/Cargo.toml has no sabotage features");
        return false;
    }
    // A test that always fails would seem to catch every mistake.
    if !matches!(attempt(None), Attempt::NotCaught) {
        eprintln!("the engine's tests fail without a mistake: fix that first");
        return false;
    }
    let tried: Vec<(String, Attempt)> = features
        .into_iter()
        .map(|feature| {
            let start = Instant::now();
            let outcome = attempt(Some(&feature));
            println!("{:5.1} s  {feature}", start.elapsed().as_secs_f64());
            (feature, outcome)
        })
        .collect();
    println!("\n{:<24} caught by", "mistake");
    let mut all = true;
    for (feature, outcome) in tried {
        let by = match outcome {
            Attempt::CaughtBy(tests) => tests.join(&format!("\n{:<24} ", "")),
            Attempt::NotCaught => "NOTHING".to_owned(),
            Attempt::NotRun(stdout) => format!("NOT RUN:\n{stdout}"),
        };
        all &= !by.starts_with("NOT");
        println!("{feature:<24} {by}");
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
fn attempt(feature: Option<&str>) -> Attempt {
    // The workspace, so that only the engine is rebuilt: with `--package`, cargo would unify
    // features over fewer crates, and build their dependencies again.
    let mut command = tools::cargo(&["test", "--locked", "--workspace", "--no-fail-fast"]);
    command.args(["--test", "simulation", "--test", "engine"]);
    // Each mistake builds the engine again, which takes longer with optimisation than it saves.
    command.args(["--config", "profile.dev.package.styx-engine.opt-level=0"]);
    if let Some(feature) = feature {
        command.args(["--features", &format!("styx-engine/{feature}")]);
    }
    // The audit of damaged files takes as long as all other tests together, and the tests
    // of the log catch everything that it catches here. Of the engine's tests only those of
    // the log run: the others wait for calls that some mistakes leave out.
    command.args(["--", "--skip", "damage::"]);
    for module in ["open_segments::", "overlap::", "producers::", "reading::"] {
        command.args(["--skip", module]);
    }
    // Failures are expected here, so no backtraces.
    command.env("STYX_SEEDS", SEEDS).env("RUST_BACKTRACE", "0").stdin(Stdio::null());
    let output = match command.output() {
        Ok(output) => output,
        Err(e) => return Attempt::NotRun(e.to_string()),
    };
    let stdout = String::from_utf8_lossy(&output.stdout);
    let failed = failed(&stdout);
    if !failed.is_empty() {
        Attempt::CaughtBy(failed)
    } else if output.status.success() && stdout.contains("test result: ok") {
        Attempt::NotCaught
    } else {
        Attempt::NotRun(String::from_utf8_lossy(&output.stderr).into_owned())
    }
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

/// All mistakes, read from the manifest so that none is forgotten.
fn features() -> Vec<String> {
    let manifest = std::fs::read_to_string(root().join("server/engine/Cargo.toml"));
    let manifest = manifest.unwrap_or_default();
    let section = manifest.split("[features]").nth(1).unwrap_or_default();
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.strip_suffix(" = []"));
    names.filter(|name| *name != FUZZING).map(str::to_owned).collect()
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
    fn mistakes_are_read_from_the_manifest() {
        assert!(features().iter().any(|feature| feature == "ack-before-sync"));
    }
}
