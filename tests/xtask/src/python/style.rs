//! The step `python-style`: ruff checks the format and the code of all Python files.
//!
//! Its rules are in `ruff.toml`.

use super::environment;
use crate::tally::Tally;
use crate::{root, run};

/// Both checks run even if the first one fails.
pub(crate) fn step() -> Tally {
    let Some(environment) = environment() else { return Tally::step(false) };
    let ruff = |call: &[&str]| {
        let mut ruff = environment.command("ruff");
        run("ruff", ruff.args(call).args(["--no-cache", "."]).current_dir(root()))
    };
    let formatted = ruff(&["format", "--check"]);
    if !formatted {
        eprintln!("format with: target/python/environment/bin/ruff format");
    }
    Tally::step(ruff(&["check"]) && formatted)
}
