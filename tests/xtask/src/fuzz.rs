//! `cargo xtask fuzz`: random bytes for every decoder, with libFuzzer.
//!
//! The targets and their corpus are in `fuzz/`. `cargo xtask test` runs the corpus, in
//! the tests of the engine and the server. New interesting inputs stay in
//! `target/fuzz/corpus`. An input that makes a target fail is kept in
//! `target/fuzz/artifacts`: add it to `fuzz/corpus` when the bug is fixed.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use crate::{root, run, tools};

const COMPILER_MISSING: &str =
    "libFuzzer needs a nightly compiler: rustup toolchain install nightly";

/// Much more than any decoder needs for inputs of this size.
const MEMORY_MIB_MAX: u64 = 1024;

/// Runs every target, or one. The time is divided equally among them.
pub(crate) fn run_all(seconds: u64, only: Option<&str>) -> bool {
    if !has_compiler() {
        eprintln!("{COMPILER_MISSING}");
        return false;
    }
    let Some(program) = tools::cargo_fuzz() else { return false };
    let targets: Vec<String> =
        targets().into_iter().filter(|name| only.is_none_or(|only| only == name)).collect();
    if targets.is_empty() {
        eprintln!("there is no target of this name in fuzz/fuzz_targets");
        return false;
    }
    let start = Instant::now();
    if !run("fuzz build", cargo_fuzz(&program, "build").args(only)) {
        return false;
    }
    println!("built in {:.1} s", start.elapsed().as_secs_f64());
    let share = (seconds / targets.len() as u64).max(1);
    let found = each_for(share, &targets, &program);
    println!("\n{} targets, {share} s each; failed: {}", targets.len(), found.len());
    for target in &found {
        println!("{target}: see target/fuzz/artifacts/{target}");
    }
    found.is_empty()
}

/// Runs each target for `seconds`, one per core at a time. Returns those that failed.
fn each_for(seconds: u64, targets: &[String], program: &Path) -> Vec<String> {
    let (next, found) = (Mutex::new(targets.iter()), Mutex::new(Vec::new()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        while let Some(target) = next.lock().ok().and_then(|mut next| next.next()) {
            match executed(&mut one(program, target, seconds)) {
                Ok(inputs) => println!("{target:<16} {inputs:>9} inputs in {seconds} s"),
                Err(stderr) => {
                    println!("{stderr}\n{target:<16} FAILED");
                    found
                        .lock()
                        .expect("no thread panics while it holds the lock")
                        .push(target.clone());
                }
            }
        }
    };
    std::thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
    found.into_inner().expect("no thread panics while it holds the lock")
}

/// Runs a fuzzer. Returns the number of inputs it tried, or its output if it found a
/// failure.
fn executed(command: &mut Command) -> Result<u64, String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stat =
        |line: &str| line.strip_prefix("stat::number_of_executed_units:")?.trim().parse().ok();
    match stderr.lines().find_map(stat) {
        Some(inputs) if output.status.success() => Ok(inputs),
        _ => Err(stderr.into_owned()),
    }
}

fn one(program: &Path, target: &str, seconds: u64) -> Command {
    let grown = tools::target().join("fuzz/corpus").join(target);
    let artifacts = tools::target().join("fuzz/artifacts").join(target);
    for folder in [&grown, &artifacts] {
        let _ = std::fs::create_dir_all(folder);
    }
    let mut command = cargo_fuzz(program, "run");
    // libFuzzer writes new inputs to the first folder.
    command.arg(target).arg(&grown).arg(root().join("fuzz/corpus").join(target));
    command.arg("--").arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}")).arg("-timeout=10");
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.args(["-print_final_stats=1", "-verbosity=0"]).stdin(Stdio::null());
    command
}

fn cargo_fuzz(program: &Path, verb: &str) -> Command {
    let mut command = nightly(program);
    command.args(["fuzz", verb, "--target-dir"]).arg(tools::target().join("fuzz"));
    command.current_dir(root().join("fuzz"));
    command
}

/// A program that runs with the nightly toolchain. The toolchain is never downloaded: if
/// it is not installed, the program fails.
fn nightly(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("RUSTUP_TOOLCHAIN", "nightly").env("RUSTUP_AUTO_INSTALL", "0");
    command.env_remove("CARGO").env_remove("RUSTC");
    command
}

/// Whether a nightly compiler is installed.
fn has_compiler() -> bool {
    let mut compiler = nightly("rustc");
    compiler.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    compiler.status().is_ok_and(|status| status.success())
}

fn targets() -> Vec<String> {
    let entries = std::fs::read_dir(root().join("fuzz/fuzz_targets"));
    let paths = entries.into_iter().flatten().flatten().map(|entry| entry.path());
    let stem = |path: PathBuf| Some(path.file_stem()?.to_str()?.to_owned());
    let mut names: Vec<String> = paths.filter_map(stem).collect();
    names.sort();
    names
}
