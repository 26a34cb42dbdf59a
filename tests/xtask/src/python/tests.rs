//! The step `python-tests`: pytest with the installed wheel and a real server.

use super::{CLIENT, summary, wheel};
use crate::tally::{self, Tally};
use crate::{root, suites, tools};

/// Runs `bindings/python/tests`.
pub(crate) fn step() -> Tally {
    let Some(environment) = wheel::installed() else { return Tally::step(false) };
    if !tools::build_styx() {
        return Tally::step(false);
    }
    // The program and not `python -m pytest`, which would add the folder to the modules.
    let mut pytest = environment.command("pytest");
    pytest.args(["-p", "no:cacheprovider", "--color", "no"]).current_dir(root().join(CLIENT));
    pytest.envs(suites::environment());
    tally::run_counting(pytest, summary::add_line)
}
