//! `cargo xtask fuzz`: random bytes for every decoder, with libFuzzer.
//!
//! The targets and their corpus are in `fuzz/`. What is found on the way stays in
//! `target/fuzz/corpus`; an input that breaks a promise is kept in
//! `target/fuzz/artifacts`, and belongs into `fuzz/corpus` once that is mended.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use crate::tally::Tally;
use crate::{root, run, tools};

const COMPILER_MISSING: &str =
    "there is no nightly compiler, which libFuzzer needs: rustup toolchain install nightly";

/// Far more than any decoder needs for inputs of this size.
const MEMORY_MIB_MAX: u64 = 1024;

/// A minute for all targets where a nightly compiler is; else that is skipped. The
/// corpus is replayed by the engine's and the server's tests either way.
pub(crate) fn step() -> Tally {
    if has_compiler() {
        return Tally::step(run_all(60, None));
    }
    println!("skipped: {COMPILER_MISSING}");
    Tally::skipped()
}

/// Runs every target, or one, for its share of the time.
pub(crate) fn run_all(seconds: u64, only: Option<&str>) -> bool {
    if !has_compiler() {
        eprintln!("{COMPILER_MISSING}");
        return false;
    }
    let Some(program) = tools::cargo_fuzz() else { return false };
    let targets: Vec<String> =
        targets().into_iter().filter(|name| only.is_none_or(|only| only == name)).collect();
    if targets.is_empty() {
        eprintln!("there is no such target in fuzz/fuzz_targets");
        return false;
    }
    let start = Instant::now();
    if !run("fuzz build", cargo_fuzz(&program, "build").args(only)) {
        return false;
    }
    println!("built in {:.1} s", start.elapsed().as_secs_f64());
    let share = (seconds / targets.len() as u64).max(1);
    let found = each_for(share, &targets, &program);
    println!("\n{} targets, {share} s each; broken: {}", targets.len(), found.len());
    for target in &found {
        println!("{target}: see target/fuzz/artifacts/{target}");
    }
    found.is_empty()
}

/// Runs each for so long, as many at a time as there are cores; gives the broken.
fn each_for(seconds: u64, targets: &[String], program: &Path) -> Vec<String> {
    let (next, found) = (Mutex::new(targets.iter()), Mutex::new(Vec::new()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        while let Some(target) = next.lock().ok().and_then(|mut next| next.next()) {
            match executed(&mut one(program, target, seconds)) {
                Ok(inputs) => println!("{target:<16} {inputs:>9} inputs in {seconds} s"),
                Err(said) => {
                    println!("{said}\n{target:<16} BROKEN");
                    found.lock().expect("nobody panics with it").push(target.clone());
                }
            }
        }
    };
    std::thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
    found.into_inner().expect("nobody panics with it")
}

/// Runs a fuzzer; says how many inputs it tried, or what it said when it found one
/// that breaks a promise.
fn executed(command: &mut Command) -> Result<u64, String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let stat =
        |line: &str| line.strip_prefix("stat::number_of_executed_units:")?.trim().parse().ok();
    match said.lines().find_map(stat) {
        Some(inputs) if output.status.success() => Ok(inputs),
        _ => Err(said.into_owned()),
    }
}

fn one(program: &Path, target: &str, seconds: u64) -> Command {
    let grown = tools::target().join("fuzz/corpus").join(target);
    let artifacts = tools::target().join("fuzz/artifacts").join(target);
    for folder in [&grown, &artifacts] {
        let _ = std::fs::create_dir_all(folder);
    }
    let mut command = cargo_fuzz(program, "run");
    // What is new goes into the first folder.
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

/// A program whose cargo and rustc are those of the nightly toolchain. That is not
/// fetched for this: where it is not installed, the program fails.
fn nightly(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("RUSTUP_TOOLCHAIN", "nightly").env("RUSTUP_AUTO_INSTALL", "0");
    command.env_remove("CARGO").env_remove("RUSTC");
    command
}

/// Whether there is a nightly compiler, which the fuzzer's instruments need.
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
