//! The project's own commands. `cargo xtask test` is what CI runs.
//!
//! It only starts processes and has no dependencies. So it builds in a second on a clean
//! machine, and can report what else is missing there.

mod c;
mod cross;
mod dist;
mod docs;
mod failures;
mod fuzz;
mod hung;
mod instructions;
mod node;
mod polyglot;
mod prometheus;
mod proxies;
mod python;
mod sabotage;
mod schemathesis;
mod soak;
mod spelling;
mod steps;
mod suites;
mod tally;
mod tools;
mod venv;
mod versitygw;

use std::path::Path;
use std::process::{Command, ExitCode};

const USAGE: &str = "\
cargo xtask test                                   run everything that CI runs
cargo xtask test --only NAME                       run one step, or the tests whose module or name matches
cargo xtask test --only python                     run the steps python-style, python-wheel and so on
cargo xtask test --only node                       run the steps node-style, node-build and so on
cargo xtask test --only c                          run the steps c-build, c-tests and c-abi
cargo xtask test --only polyglot                   run the example in four languages, and kill its programs
cargo xtask docs                                   write the generated documents (docs/errors.md)
cargo xtask bench-instructions                     compare instructions per record with the baseline
cargo xtask bench-instructions --accept            replace the baseline
cargo xtask sabotage                               switch known mistakes on, show the tests that catch each
cargo xtask faults --cycles N                      kill a loaded server N times, cut the power N times
cargo xtask fuzz [NAME] --seconds N                fuzz all decoders or one, N seconds in total
cargo xtask soak                                   ten minutes of fuzzing, 20 million records through Python and Node.js, 10,000 clients in C, a thousand kills and power cuts, an hour of all protocols and languages at once (3 hours)
cargo xtask soak --only mixed [--seconds N]         one part of it: fuzz, python, node, c, faults or mixed
cargo xtask c-abi --accept                         replace the baseline of libstyx's ABI
cargo xtask c-install                              install libstyx below target/, and build programs with it
cargo xtask wheels [--dist DIR]                    build and check the files for PyPI, for all targets
cargo xtask npm [--dist DIR]                       build and check the files for npm, for all targets
cargo xtask dist [--only PART]                     build and check the packages for operators; --help lists the parts
cargo xtask flights                                download the data of examples/curl/flights.sh
cargo fmt --all                                    format the code
cargo build --release --package styx               build target/release/styx, the binary that users run
cargo build --profile profiling --package styx     the same with symbols, for perf
cargo bench --package styx-engine --bench append   measure one hot path by time
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let succeeded = match words.as_slice() {
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            true
        }
        ["test"] => steps::test(None),
        ["test", "--only", name] => steps::test(Some(name)),
        ["flights"] => run("flights", &mut tools::flights()),
        ["faults"] => faults("1000"),
        ["faults", "--cycles", cycles] => faults(cycles),
        ["sabotage"] => sabotage::all_caught(),
        ["fuzz"] => fuzz("60", None),
        ["fuzz", "--seconds", seconds] => fuzz(seconds, None),
        ["fuzz", name, "--seconds", seconds] => fuzz(seconds, Some(name)),
        ["soak"] => soak::all(None),
        ["soak", "--only", "mixed", "--seconds", seconds] => soak::mixed(seconds),
        ["soak", "--only", part] => soak::all(Some(part)),
        ["bench-instructions"] => instructions::compare(),
        ["bench-instructions", "--accept"] => instructions::accept(),
        ["c-abi", "--accept"] => c::abi::accept(),
        ["c-install"] => c::install::works(),
        ["wheels"] => python::wheels::write(None),
        ["wheels", "--dist", folder] => python::wheels::write(Some(folder)),
        ["npm"] => node::npm::write(None),
        ["npm", "--dist", folder] => node::npm::write(Some(folder)),
        ["dist", arguments @ ..] => dist::run(arguments),
        ["docs"] => docs::write(),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn faults(cycles: &str) -> bool {
    let build = ["build", "--workspace", "--bins", "--test", "faults"];
    let mut build = tools::cargo(&build);
    let mut faults = tools::cargo(&["test", "--workspace", "--test", "faults", "--no-fail-fast"]);
    faults.args(["--", "kill::", "power::", "--skip", "_kill::"]);
    // One after the other, so that their seeds and figures can be read.
    faults.args(["--nocapture", "--test-threads=1"]);
    faults.env("STYX_FAULT_CYCLES", cycles).env("STYX_BIN", tools::styx());
    run("build", &mut build) && run("faults", &mut faults)
}

fn fuzz(seconds: &str, only: Option<&str>) -> bool {
    match seconds.parse() {
        Ok(seconds) => fuzz::run_all(seconds, only),
        Err(e) => {
            eprintln!("--seconds {seconds}: {e}");
            false
        }
    }
}

/// Runs a command. Reports it if it fails.
fn run(name: &str, command: &mut Command) -> bool {
    match command.status() {
        Ok(status) if status.success() => true,
        Ok(status) => {
            eprintln!("{name} failed ({status}): {command:?}");
            false
        }
        Err(e) => {
            eprintln!("{name} could not be started ({e}): {command:?}");
            false
        }
    }
}

/// As [`run`], but up to three times: an answer of a package registry can be cut off, and pip does
/// not try again then.
fn run_download(name: &str, command: &mut Command) -> bool {
    (0..3).any(|_| run(name, command))
}

/// The root of the workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this crate is two folders below the root")
}
