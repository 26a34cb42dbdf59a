//! The step `python-tests`: pytest with the installed wheel and a real server.

use std::ffi::OsString;

use super::{CLIENT, summary, wheel};
use crate::tally::{self, Tally};
use crate::{root, suites, tools};

/// The records of the test of flat memory in a soak.
const SOAK_RECORDS: &str = "20000000";

/// Runs `bindings/python/tests`.
pub(crate) fn step() -> Tally {
    pytest(CLIENT, &[], &[])
}

/// Runs the tests in another folder of the tree.
pub(crate) fn run(folder: &str, variables: &[(&str, OsString)]) -> Tally {
    pytest(folder, &["--rootdir", ".", "--timeout", "120", "."], variables)
}

/// Runs the test of flat memory with 20 million records.
pub(crate) fn soak() -> bool {
    let records = [("STYX_SOAK_RECORDS", SOAK_RECORDS.into())];
    pytest(CLIENT, &["-s", "tests/test_memory.py"], &records).failed == 0
}

/// Runs pytest in a folder, with the settings of the package.
fn pytest(folder: &str, arguments: &[&str], variables: &[(&str, OsString)]) -> Tally {
    let Some(environment) = wheel::installed() else { return Tally::step(false) };
    if !tools::build_styx() {
        return Tally::step(false);
    }
    // The program and not `python -m pytest`, which would add the folder to the modules.
    let mut pytest = environment.command("pytest");
    pytest.args(["-p", "no:cacheprovider", "--color", "no"]).current_dir(root().join(folder));
    pytest.arg("-c").arg(root().join(CLIENT).join("pyproject.toml"));
    pytest.args(arguments).envs(suites::environment()).envs(variables.iter().cloned());
    tally::run_counting(pytest, summary::add_line)
}
