//! `cargo xtask test`: the steps, each with its time, and one line for all.

use std::time::Instant;

use crate::tally::{self, Tally};
use crate::{docs, fuzz, instructions, root, run, sabotage, schemathesis, tools};

/// A name for `--only`, what it is for people, and how it is done.
type Step = (&'static str, &'static str, fn() -> Tally);

const STEPS: &[Step] = &[
    ("needed", "what the tests need is installed", || Tally::step(tools::all_there())),
    ("fmt", "the code is formatted", || cargo(&["fmt", "--all", "--", "--check"], &[])),
    ("clippy", "no warnings", || {
        let all = ["clippy", "--locked", "--workspace", "--all-targets"];
        cargo(&[&all[..], &["--", "-D", "warnings"]].concat(), &[])
    }),
    ("doc", "the code's documentation has no warnings", || {
        cargo(&["doc", "--locked", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])
    }),
    ("docs", "generated documents are unchanged", || Tally::step(docs::unchanged())),
    ("build", "the styx binary and the examples", || cargo(&[BUILD, &["--locked"]].concat(), &[])),
    ("release", "the styx binary as it is released, for tests that are about that one", || {
        cargo(&["build", "--locked", "--release", "--package", "styx"], &[])
    }),
    ("instructions", "no hot piece of work takes more of them than it did", instructions::step),
    ("flights", "the flights data is there", || Tally::step(run("flights", &mut tools::flights()))),
    ("tests", "all tests, with the examples and the commands in the documents", tests),
    ("schemathesis", "a server answers as its OpenAPI document says", schemathesis::step),
    ("loom", "nobody waits forever, in whichever order threads take their steps", loom),
    ("sabotage", "every known mistake is caught by a test", || Tally::step(sabotage::all_caught())),
    ("fuzz", "a minute of random bytes for every decoder", fuzz::step),
    ("deny", "dependencies: bans, licenses, sources", || Tally::step(tools::deny())),
];

/// Builds what the tests run.
const BUILD: &[&str] = &["build", "--package", "styx", "--package", "styx-examples", "--bins"];

/// Runs all steps, or one; says how many passed. A step that fails does not
/// keep the others from running.
pub(crate) fn test(only: Option<&str>) -> bool {
    let chosen: Vec<&Step> =
        STEPS.iter().filter(|(name, _, _)| only.is_none_or(|only| only == *name)).collect();
    if chosen.is_empty() {
        return test_file(only.unwrap_or_default());
    }
    let start = Instant::now();
    let mut total = Tally::default();
    let mut lines = Vec::new();
    for (name, what, step) in chosen {
        println!("\n==> {name}: {what}");
        let start = Instant::now();
        let tally = step();
        let verdict = if tally.failed == 0 { "ok" } else { "FAILED" };
        let took = start.elapsed().as_secs_f64();
        lines.push(format!("{verdict:6} {took:7.1} s  {name}: {what}"));
        total.add(tally);
    }
    println!("\n{}", lines.join("\n"));
    println!("{:6} {:7.1} s", "all", start.elapsed().as_secs_f64());
    summary(total)
}

/// Runs one file of `tests/tests`.
fn test_file(name: &str) -> bool {
    if !root().join("tests/tests").join(format!("{name}.rs")).is_file() {
        let names: Vec<&str> = STEPS.iter().map(|(name, _, _)| *name).collect();
        eprintln!("there is no step and no file tests/tests/{name}.rs of that name");
        eprintln!("the steps are: {}", names.join(", "));
        return false;
    }
    let mut total = cargo(BUILD, &[]);
    let mut command = tools::cargo(&["test", "--package", "styx-tests", "--test", name]);
    command.env("STYX_BIN", tools::styx()).env("STYX_EXAMPLES", tools::examples());
    total.add(tally::run(command));
    summary(total)
}

fn summary(total: Tally) -> bool {
    let Tally { passed, failed, skipped, .. } = total;
    println!("\n{passed} passed, {failed} failed, {skipped} skipped");
    failed == 0
}

fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> Tally {
    let mut command = tools::cargo(arguments);
    command.envs(environment.iter().copied());
    Tally::step(run(arguments.first().unwrap_or(&"cargo"), &mut command))
}

fn tests() -> Tally {
    let mut command = tools::cargo(&["test", "--locked", "--workspace", "--no-fail-fast"]);
    command.env("STYX_BIN", tools::styx()).env("STYX_RELEASE_BIN", tools::released_styx());
    command.env("STYX_EXAMPLES", tools::examples());
    tally::run(command)
}

/// The models of `styx_engine::models`. Built apart and without optimisation: the
/// code is small, and so is the time it takes.
fn loom() -> Tally {
    let mut command = tools::cargo(&["test", "--locked", "--package", "styx-engine"]);
    command.args(["--test", "loom", "--config", "profile.dev.debug=0"]);
    command.args(["--config", "profile.dev.package.'*'.opt-level=0"]);
    command.env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", tools::target().join("loom"));
    tally::run(command)
}
