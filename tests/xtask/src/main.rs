//! The project's own commands. `cargo xtask test` is what CI runs.
//!
//! Plain processes and no dependencies, so that it is built in a second on a
//! clean machine and can say what else is missing there.

mod docs;
mod fuzz;
mod instructions;
mod sabotage;
mod schemathesis;
mod steps;
mod tally;
mod tools;

use std::path::Path;
use std::process::{Command, ExitCode};

const USAGE: &str = "\
cargo xtask test                 everything that CI runs
cargo xtask test --only NAME     one step of it, or one file of tests/tests
cargo xtask flights              gets target/flights/flights.csv
cargo xtask faults --cycles N    N kills of a server under load, N power cuts of each kind, audited
cargo xtask sabotage             compiles known mistakes in and shows the tests that catch each
cargo xtask fuzz --seconds N     random bytes for every decoder, N seconds in all
cargo xtask fuzz NAME --seconds N   for one of them
cargo xtask bench-instructions   instructions per record, held against the baseline
cargo xtask bench-instructions --accept   makes them the baseline
cargo xtask docs                 writes the generated documents anew
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let went_well = match words.as_slice() {
        ["test"] => steps::test(None),
        ["test", "--only", name] => steps::test(Some(name)),
        ["flights"] => run("flights", &mut tools::flights()),
        ["faults"] => faults("1000"),
        ["faults", "--cycles", cycles] => faults(cycles),
        ["sabotage"] => sabotage::all_caught(),
        ["fuzz"] => fuzz("60", None),
        ["fuzz", "--seconds", seconds] => fuzz(seconds, None),
        ["fuzz", name, "--seconds", seconds] => fuzz(seconds, Some(name)),
        ["bench-instructions"] => instructions::compare(),
        ["bench-instructions", "--accept"] => instructions::accept(),
        ["docs"] => docs::write(),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    if went_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn faults(cycles: &str) -> bool {
    let mut build = tools::cargo(&["build", "--package", "styx"]);
    let mut faults = tools::cargo(&["test", "--package", "styx-tests"]);
    faults.args(["--test", "kill", "--test", "power", "--no-fail-fast"]);
    // One after the other: their seeds and figures are to be read.
    faults.args(["--", "--nocapture", "--test-threads=1"]);
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

/// Runs a command; says so when it fails.
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

/// The workspace's root.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this crate is two folders below the root")
}
