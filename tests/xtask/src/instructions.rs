//! `cargo xtask bench-instructions`: instructions per record of the hot pieces of
//! work, held against a baseline.
//!
//! ```text
//! tests/instructions ─▶ valgrind --tool=callgrind ─▶ one dump a case ─▶ per record
//!                                              tests/instructions/baseline.toml ─┴▶ table
//! ```
//! Time on a shared machine says nothing about a change of five per cent; this does.
//! Counts belong to a compiler and an instruction set: they are compared only where
//! both are the baseline's, and elsewhere that is said and counted as skipped.

mod baseline;
mod callgrind;

use std::process::{Command, Stdio};
use std::time::Instant;

use self::baseline::{Baseline, Verdict};
use crate::tally::Tally;
use crate::{root, run, tools};

/// More than this, in per cent, is worse, and as much less is better.
const CHANGE_PERCENT: f64 = 5.0;

/// What a case took, by its name.
type Counts = Vec<(String, f64)>;

/// Compares where that means something; else it is skipped.
pub(crate) fn step() -> Tally {
    let compared = counting_missing().map_or_else(comparing_missing, Some);
    match compared {
        Some(why) => {
            println!("skipped: {why}");
            Tally::skipped()
        }
        None => Tally::step(compare()),
    }
}

/// Counts and compares, as far as there is something to compare with.
pub(crate) fn compare() -> bool {
    if let Some(why) = counting_missing() {
        eprintln!("{why}");
        return false;
    }
    if let Some(why) = comparing_missing() {
        println!("nothing is compared: {why}");
        return counted().is_some_and(|counts| {
            counts.iter().for_each(|(name, count)| println!("{name:<28} {count:>12.3}"));
            true
        });
    }
    let Some(baseline) = baseline::read() else { return false };
    counted().is_some_and(|counts| report(&baseline, &counts))
}

/// Counts, and writes what was counted as the new baseline.
pub(crate) fn accept() -> bool {
    if let Some(why) = counting_missing() {
        eprintln!("{why}");
        return false;
    }
    let (Some(rustc), Some(counts)) = (rustc(), counted()) else { return false };
    if let Some(old) = baseline::read() {
        report(&old, &counts);
    }
    let written = std::fs::write(baseline::path(), Baseline { rustc, counts }.encode());
    match &written {
        Ok(()) => println!("accepted: {}", baseline::PATH),
        Err(error) => eprintln!("cannot write {}: {error}", baseline::PATH),
    }
    written.is_ok()
}

/// The table, and what to do about it; says whether nothing is worse.
fn report(baseline: &Baseline, counts: &[(String, f64)]) -> bool {
    println!(
        "\n{:<28} {:>12} {:>12} {:>8}",
        "instructions per record", "baseline", "now", "change"
    );
    let (mut good, mut better) = (true, false);
    for row in baseline.against(counts, CHANGE_PERCENT) {
        println!("{row}");
        good &= !matches!(row.verdict, Verdict::Worse | Verdict::New | Verdict::Gone);
        better |= matches!(row.verdict, Verdict::Better);
    }
    if !good {
        println!(
            "\nMore than {CHANGE_PERCENT} % worse, or not in both: mend it, or accept the new \
             baseline and say in the commit what is gained: cargo xtask bench-instructions --accept"
        );
    } else if better {
        println!(
            "\nBetter: accept the new baseline, so that it stays so: \
             cargo xtask bench-instructions --accept"
        );
    }
    good
}

/// Builds and counts; `None`, once it was said why, when that fails.
fn counted() -> Option<Counts> {
    // With the server's binary, so that what both depend on is built once.
    let mut build = tools::cargo(&["build", "--locked", "--release"]);
    build.args(["--package", "styx", "--package", callgrind::PROGRAM]);
    if !run("build", &mut build) {
        return None;
    }
    let start = Instant::now();
    let counts = callgrind::count(&tools::target());
    match &counts {
        Ok(_) => println!("counted in {:.1} s", start.elapsed().as_secs_f64()),
        Err(why) => eprintln!("{why}"),
    }
    counts.ok()
}

/// Why nothing can be counted here.
fn counting_missing() -> Option<String> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return Some("instructions are counted on x86_64 Linux alone".to_owned());
    }
    let mut valgrind = Command::new("valgrind");
    valgrind.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    match valgrind.status() {
        Ok(status) if status.success() => None,
        _ => Some("there is no valgrind to count instructions: apt-get install valgrind".into()),
    }
}

/// Why counts cannot be compared with the baseline's.
fn comparing_missing() -> Option<String> {
    let (baseline, rustc) = (baseline::read()?, rustc()?);
    (baseline.rustc != rustc).then(|| {
        format!(
            "the baseline is of rustc {}, and this is {rustc}: where nothing else has changed, \
             cargo xtask bench-instructions --accept",
            baseline.rustc
        )
    })
}

/// The compiler's version, as the workspace's toolchain has it.
fn rustc() -> Option<String> {
    let output = Command::new("rustc").arg("--version").current_dir(root()).output();
    let said = output.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    let version = said.as_deref().and_then(|said| said.split_whitespace().nth(1));
    if version.is_none() {
        eprintln!("`rustc --version` cannot be run");
    }
    version.map(str::to_owned)
}
