//! `cargo xtask test`: runs the steps, and prints the time of each and a summary.

use std::time::Instant;

use crate::tally::{self, Tally};
use crate::{
    c, docs, instructions, node, polyglot, prometheus, proxies, python, run, sabotage,
    schemathesis, spelling, suites, tools, versitygw,
};

/// The name for `--only`, the description, and the function that runs the step.
type Step = (&'static str, &'static str, fn() -> Tally);

const STEPS: &[Step] = &[
    ("needed", "the programs that the tests need are installed", || {
        Tally::step(tools::are_installed())
    }),
    ("fmt", "the code is formatted", || cargo(&["fmt", "--all", "--", "--check"], &[])),
    ("spelling", "no word is misspelled", || Tally::step(spelling::check())),
    ("clippy", "no warnings", || {
        let all = ["clippy", "--locked", "--workspace", "--all-targets"];
        cargo(&[&all[..], &["--", "-D", "warnings"]].concat(), &[])
    }),
    ("doc", "rustdoc has no warnings", || {
        // Not the tests: with these targets it uses what clippy has already checked.
        let targets = ["--lib", "--bins", "--examples"];
        // libstyx is documented in its header, and has the name of the program `styx`.
        let all = ["doc", "--locked", "--workspace", "--no-deps", "--exclude", "styx-c"];
        cargo(&[&all[..], &targets].concat(), &[("RUSTDOCFLAGS", "-D warnings")])
    }),
    (
        "build",
        "all programs, examples, tests and native modules, built once with the same features",
        || cargo(BUILD, &[]),
    ),
    ("docs", "generated documents are up to date", || Tally::step(docs::unchanged())),
    ("release", "the styx binary that users run, for the tests that need it", || {
        cargo(&["build", "--locked", "--release", "--package", "styx"], &[])
    }),
    ("instructions", "no hot path takes more instructions than its baseline", instructions::step),
    ("flights", "the flights data is downloaded", || {
        Tally::step(run("flights", &mut tools::flights()))
    }),
    ("proxies", "nginx and Caddy are installed, for the tests with a proxy", proxies::step),
    ("prometheus", "Prometheus is installed, for the tests of contrib/", prometheus::step),
    (
        "object-store",
        "versitygw, a server with the API of S3, is built, for the tests of the archive",
        versitygw::step,
    ),
    ("python-style", "Python code is formatted, and ruff has no warnings", python::style::step),
    (
        "python-wheel",
        "the Python package builds from its source distribution, and works",
        python::wheel::step,
    ),
    ("node-style", "JavaScript code is formatted, and biome has no warnings", node::style::step),
    ("node-build", "the npm package is compiled", node::build::step),
    ("c-build", "the tests of libstyx and the conformance driver compile", c::build::step),
    ("tests", "all tests, including the examples and the commands in the documents", tests),
    ("schemathesis", "a server answers as its OpenAPI document says", schemathesis::step),
    ("python-types", "mypy, pyright and stubtest agree with the types", python::types::step),
    ("python-tests", "the tests of the Python package pass", python::tests::step),
    ("python-server", "the Python package with the server works", python::server::step),
    ("node-types", "tsc and tsd agree with the types", node::types::step),
    ("node-tests", "the tests of the npm package pass", node::tests::step),
    (
        "node-package",
        "the packed npm packages work with Node.js, Bun and Deno",
        node::package::step,
    ),
    ("c-abi", "libstyx exports what it did, and the structs are the same", c::abi::step),
    ("c-tests", "the tests of libstyx pass, also with valgrind", c::tests::step),
    ("polyglot", "an application in four languages survives kills, in a browser", polyglot::step),
    ("loom", "no thread waits forever, in any order of the steps of threads", loom),
    ("sabotage", "every known mistake is caught by a test", || Tally::step(sabotage::all_caught())),
    ("deny", "the licenses and sources of dependencies are allowed", || Tally::step(tools::deny())),
];

const TEST_THREADS_PER_CORE: usize = 4;

/// Builds the tests and the programs that they run, in one call. Cargo unifies features over
/// the packages of a call, so a second call would build tokio and others again. The libraries are
/// there because of the native module for Node.js.
const BUILD: &[&str] =
    &["build", "--locked", "--workspace", "--lib", "--bins", "--examples", "--tests"];

/// Runs all steps, or one. Returns whether all passed. A step that fails does not stop
/// the others.
pub(crate) fn test(only: Option<&str>) -> bool {
    let chosen: Vec<&Step> =
        STEPS.iter().filter(|(name, _, _)| only.is_none_or(|only| selects(only, name))).collect();
    if chosen.is_empty() {
        return selected(only.unwrap_or_default());
    }
    if only.is_none() {
        tools::install_in_background();
    }
    let start = Instant::now();
    let mut total = Tally::default();
    let mut lines = Vec::new();
    for (name, description, step) in chosen {
        println!("\n==> {name}: {description}");
        let start = Instant::now();
        let tally = step();
        let verdict = if tally.failed == 0 { "ok" } else { "FAILED" };
        let seconds = start.elapsed().as_secs_f64();
        lines.push(format!("{verdict:6} {seconds:7.1} s  {name}: {description}"));
        total.add(tally);
    }
    println!("\n{}", lines.join("\n"));
    println!("{:6} {:7.1} s", "all", start.elapsed().as_secs_f64());
    summary(total)
}

/// Whether this is the name of the step, or of its group: `python` for `python-wheel`.
fn selects(only: &str, step: &str) -> bool {
    step.strip_prefix(only).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Runs the tests that a name selects.
fn selected(name: &str) -> bool {
    let build = suites::build();
    let build: Vec<&str> = build.iter().map(String::as_str).collect();
    let mut total = cargo(&build, &[]);
    match suites::run(name) {
        Some(tally) => total.add(tally),
        None => {
            let names: Vec<&str> = STEPS.iter().map(|(name, _, _)| *name).collect();
            eprintln!("steps: {}", names.join(", "));
            return false;
        }
    }
    summary(total)
}

fn summary(total: Tally) -> bool {
    let Tally { passed, failed, skipped, failures, .. } = total;
    print!("\n{}", failures.text());
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
    command.envs(suites::environment()).env("STYX_RELEASE_BIN", tools::released_styx());
    // Most tests wait: for a sync, a timeout or a server that starts.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    command.env("RUST_TEST_THREADS", (TEST_THREADS_PER_CORE * cores).to_string());
    tally::run(command)
}

/// The models of `styx_engine::models`. Only the engine is built again for them.
fn loom() -> Tally {
    let mut command = tools::cargo(&["test", "--locked", "--workspace"]);
    command.args(["--test", "loom", "--features", "styx-engine/loom"]);
    tally::run(command)
}
