//! `cargo xtask sabotage`: compiles known mistakes into the engine, one at a time,
//! and shows which tests catch each. A mistake that nothing catches is a failure:
//! then the tests prove nothing about the promise that it breaks.
//!
//! The mistakes are the engine's features, described in its `sabotage.rs`. Cargo
//! keeps what it builds with each beside what it builds without, so that the main
//! build stays as it is.

use std::process::Stdio;
use std::time::Instant;

use crate::{root, tools};

/// A feature of the engine that is no mistake.
const FUZZING: &str = "fuzzing";

/// Enough for each mistake to be met dozens of times, and done in seconds.
const SEEDS: &str = "400";

/// Tries every mistake; says whether each was caught.
pub(crate) fn all_caught() -> bool {
    let features = features();
    if features.is_empty() {
        eprintln!("server/engine/Cargo.toml has no sabotage features");
        return false;
    }
    // A test that fails anyway would seem to catch everything.
    if !matches!(attempt(None), Outcome::NotCaught) {
        eprintln!("the engine's tests do not pass without a mistake: see to that first");
        return false;
    }
    let tried: Vec<(String, Outcome)> = features
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
            Outcome::CaughtBy(tests) => tests.join(&format!("\n{:<24} ", "")),
            Outcome::NotCaught => "NOTHING".to_owned(),
            Outcome::NotRun(said) => format!("NOT RUN:\n{said}"),
        };
        all &= !by.starts_with("NOT");
        println!("{feature:<24} {by}");
    }
    all
}

enum Outcome {
    CaughtBy(Vec<String>),
    NotCaught,
    /// It was not built or did not report; what was said.
    NotRun(String),
}

/// Builds with a mistake, or with none, and runs the tests.
fn attempt(feature: Option<&str>) -> Outcome {
    // The workspace, so that only the engine is built anew: with `--package` cargo would
    // unify features over fewer crates, and build their dependencies again.
    let mut command = tools::cargo(&["test", "--locked", "--workspace", "--no-fail-fast"]);
    command.args(["--test", "simulation", "--test", "engine"]);
    if let Some(feature) = feature {
        command.args(["--features", &format!("styx-engine/{feature}")]);
    }
    // The audit of every damage takes as long as all others together, and what it
    // catches here the tests of the log catch too. Of the engine's tests only those
    // of the log run: the others wait for calls that some mistakes leave out.
    command.args(["--", "--skip", "damage::"]);
    for module in ["open_segments::", "overlap::", "producers::", "reading::"] {
        command.args(["--skip", module]);
    }
    // What fails does so on purpose: no backtraces.
    command.env("STYX_SEEDS", SEEDS).env("RUST_BACKTRACE", "0").stdin(Stdio::null());
    let output = match command.output() {
        Ok(output) => output,
        Err(e) => return Outcome::NotRun(e.to_string()),
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = failed(&said);
    if !failed.is_empty() {
        Outcome::CaughtBy(failed)
    } else if output.status.success() && said.contains("test result: ok") {
        Outcome::NotCaught
    } else {
        Outcome::NotRun(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The names in lines like `test a_name ... FAILED`.
fn failed(said: &str) -> Vec<String> {
    let mut names: Vec<String> = said
        .lines()
        .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"))
        .map(str::to_owned)
        .collect();
    names.sort();
    names
}

/// Every mistake that can be compiled in, so that none is forgotten here.
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
    fn tests_that_failed_are_found_and_others_are_not() {
        let said = "test a ... ok\ntest b::c ... FAILED\nI said: test d ... FAILED\nfailures:\n";
        assert_eq!(failed(said), ["b::c"]);
    }

    #[test]
    fn the_engine_has_mistakes_to_try() {
        assert!(features().iter().any(|feature| feature == "ack-before-sync"));
    }
}
