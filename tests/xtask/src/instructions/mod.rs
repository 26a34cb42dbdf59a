//! `cargo xtask bench-instructions`: compares instructions per record of the hot paths
//! with a baseline.
//!
//! ```text
//! tests/instructions ─▶ valgrind --tool=callgrind ─▶ one dump a case ─▶ per record
//!                                              tests/instructions/baseline.toml ─┴▶ table
//! ```
//! On a shared machine, time cannot show a change of 5 %, but instructions can. Counts
//! depend on the compiler and the instruction set. They are compared only if both are
//! those of the baseline; otherwise the step is skipped and says why.

mod baseline;
mod callgrind;

use std::process::{Command, Stdio};
use std::time::Instant;

use self::baseline::{Baseline, Verdict};
use crate::tally::Tally;
use crate::{root, run, tools};

/// A larger change, in per cent, is worse or better.
const CHANGE_PERCENT: f64 = 5.0;

/// The instructions per record of each case.
type Counts = Vec<(String, f64)>;

/// Compares if that is possible on this machine; otherwise the step is skipped.
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

/// Counts, and compares if the baseline is of this compiler.
pub(crate) fn compare() -> bool {
    if let Some(why) = counting_missing() {
        eprintln!("{why}");
        return false;
    }
    if let Some(why) = comparing_missing() {
        println!("not compared: {why}");
        return counted().is_some_and(|counts| {
            counts.iter().for_each(|(name, count)| println!("{name:<28} {count:>12.3}"));
            true
        });
    }
    let Some(baseline) = baseline::read() else { return false };
    counted().is_some_and(|counts| report(&baseline, &counts))
}

/// Counts, and writes the counts as the new baseline.
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

/// Prints the table and what to do. Returns whether no case is worse.
fn report(baseline: &Baseline, counts: &[(String, f64)]) -> bool {
    println!(
        "\n{:<28} {:>12} {:>12} {:>8}",
        "instructions per record", "baseline", "now", "change"
    );
    let (mut good, mut better) = (true, false);
    for row in baseline.compare(counts, CHANGE_PERCENT) {
        println!("{row}");
        good &= !matches!(row.verdict, Verdict::Worse | Verdict::New | Verdict::Gone);
        better |= matches!(row.verdict, Verdict::Better);
    }
    if !good {
        println!(
            "\nA case is more than {CHANGE_PERCENT} % worse, or missing on one side: fix it, or accept \
             a new baseline and explain why in the commit: cargo xtask bench-instructions --accept"
        );
    } else if better {
        println!(
            "\nA case is better: accept the new baseline to keep it: \
             cargo xtask bench-instructions --accept"
        );
    }
    good
}

/// Builds and counts. If that fails, prints why and returns `None`.
fn counted() -> Option<Counts> {
    // Together with the styx binary, so that shared dependencies are built once.
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

/// Why instructions cannot be counted on this machine.
fn counting_missing() -> Option<String> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return Some("instructions are counted only on x86_64 Linux".to_owned());
    }
    let mut valgrind = Command::new("valgrind");
    valgrind.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    match valgrind.status() {
        Ok(status) if status.success() => None,
        _ => {
            Some("valgrind is missing, which counts instructions: apt-get install valgrind".into())
        }
    }
}

/// Why counts cannot be compared with the baseline.
fn comparing_missing() -> Option<String> {
    let (baseline, rustc) = (baseline::read()?, rustc()?);
    (baseline.rustc != rustc).then(|| {
        format!(
            "the baseline is of rustc {}, but this is rustc {rustc}; if nothing else changed: \
             cargo xtask bench-instructions --accept",
            baseline.rustc
        )
    })
}

/// The compiler of the baseline.
#[cfg(test)]
pub(crate) fn baseline_compiler() -> Option<String> {
    baseline::read().map(|baseline| baseline.rustc)
}

/// The version of the compiler that the workspace uses.
pub(crate) fn rustc() -> Option<String> {
    let output = Command::new("rustc").arg("--version").current_dir(root()).output();
    let text = output.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    let version = text.as_deref().and_then(|text| text.split_whitespace().nth(1));
    if version.is_none() {
        eprintln!("cannot run `rustc --version`");
    }
    version.map(str::to_owned)
}
