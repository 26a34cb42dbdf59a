//! `cargo xtask soak`: tests that take too long for every change. Run it before a release, and note
//! the date in docs/reliability.md.

use crate::{c, faults, fuzz, node, python, run, suites, tools};

/// How long the mixed soak takes, if the command line does not say it.
const MIXED_SECONDS: &str = "3600";
/// The test that it repeats.
const MIXED: &str = "mixed::all_protocols_and_languages_together_lose_and_double_nothing";

/// The name for `--only`, and the function that runs the part and returns whether it passed.
type Part = (&'static str, fn() -> bool);

const PARTS: [Part; 6] = [
    ("fuzz", || fuzz("600", None)),
    ("python", python::tests::soak),
    ("node", node::tests::soak),
    ("c", c::tests::soak),
    ("faults", || faults("1000")),
    ("mixed", || mixed(MIXED_SECONDS)),
];

/// Runs all parts, or one. All run even if one fails.
pub(crate) fn all(only: Option<&str>) -> bool {
    let chosen: Vec<_> =
        PARTS.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)).collect();
    if chosen.is_empty() {
        let names = PARTS.map(|(name, _)| name).join(", ");
        eprintln!("there is no part {}; use one of {names}", only.unwrap_or_default());
        return false;
    }
    let results: Vec<_> = chosen.iter().map(|(name, part)| (*name, part())).collect();
    for (name, passed) in &results {
        println!("{:6} {name}", if *passed { "ok" } else { "FAILED" });
    }
    results.iter().all(|(_, passed)| *passed)
}

/// Runs all protocols and client libraries at once, with the server that users run.
pub(crate) fn mixed(seconds: &str) -> bool {
    if !seconds.parse::<u64>().is_ok_and(|seconds| seconds >= 20) {
        eprintln!("--seconds {seconds}: use a whole number from 20");
        return false;
    }
    let release = ["build", "--locked", "--release", "--package", "styx"];
    let is_built = python::wheel::step().failed == 0
        && node::build::is_built()
        && c::build::step().failed == 0
        && run("build", &mut tools::cargo(&release));
    if !is_built {
        return false;
    }
    let mut test = tools::cargo(&["test", "--locked", "--workspace", "--test", "conformance"]);
    test.args(["--", "--exact", MIXED, "--nocapture"]).envs(suites::environment());
    test.env("STYX_SOAK_SECONDS", seconds).env("STYX_BIN", tools::released_styx());
    run("the mixed soak", &mut test)
}
