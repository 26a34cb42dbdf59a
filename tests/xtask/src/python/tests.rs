//! The step `python-tests`: pytest with the installed wheel and a real server.

use super::{CLIENT, summary, wheel};
use crate::tally::{self, Tally};
use crate::{root, suites, tools};

/// The records of the test of flat memory in a soak.
const SOAK_RECORDS: &str = "20000000";

/// Runs `bindings/python/tests`.
pub(crate) fn step() -> Tally {
    pytest(&[], &[])
}

/// Runs the test of flat memory with 20 million records.
pub(crate) fn soak() -> bool {
    let records = [("STYX_SOAK_RECORDS", SOAK_RECORDS)];
    pytest(&["-s", "tests/test_memory.py"], &records).failed == 0
}

fn pytest(arguments: &[&str], variables: &[(&str, &str)]) -> Tally {
    let Some(environment) = wheel::installed() else { return Tally::step(false) };
    if !tools::build_styx() {
        return Tally::step(false);
    }
    // The program and not `python -m pytest`, which would add the folder to the modules.
    let mut pytest = environment.command("pytest");
    pytest.args(["-p", "no:cacheprovider", "--color", "no"]).current_dir(root().join(CLIENT));
    pytest.args(arguments).envs(suites::environment()).envs(variables.iter().copied());
    tally::run_counting(pytest, summary::add_line)
}
