//! The step `python-types`: mypy, pyright and stubtest.
//!
//! The package is checked as source. Tests and examples are checked against the installed
//! wheel, as a user's code is, so a wheel without `py.typed` fails.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{CLIENT, wheel};
use crate::tally::Tally;
use crate::venv::Environment;
use crate::{root, run, tools};

/// The version is fixed, so that a new release does not fail old commits.
const PYRIGHT_VERSION: &str = "1.1.414";

/// Code of users, beside the tests of the package.
const USERS: [&str; 3] = ["examples/python", "examples/polyglot", "tests/polyglot"];

/// All checks run even if one fails.
pub(crate) fn step() -> Tally {
    let Some(environment) = wheel::installed() else { return Tally::step(false) };
    let checks = [mypy(&environment), stubtest(&environment), pyright(&environment)];
    Tally::step(checks.into_iter().all(|passed| passed))
}

fn mypy(environment: &Environment) -> bool {
    let package = root().join(CLIENT);
    let mypy = |folder: &Path, checked: &[PathBuf]| {
        let mut mypy = environment.command("mypy");
        mypy.args(["--strict", "--config-file"]).arg(package.join("pyproject.toml"));
        mypy.arg("--cache-dir").arg(tools::target().join("python/mypy"));
        run("mypy", mypy.args(checked).current_dir(folder))
    };
    let mut users = vec![package.join("tests")];
    users.extend(USERS.map(|folder| root().join(folder)));
    let source = mypy(&package.join("python"), &["styx_client".into()]);
    mypy(&package, &users) && source
}

/// Compares the stubs of the native module, and the types of the others, with what a running
/// Python finds.
fn stubtest(environment: &Environment) -> bool {
    let mut stubtest = environment.command("stubtest");
    stubtest.args(["--mypy-config-file", "pyproject.toml"]);
    stubtest.args(["--allowlist", "tests/stubtest-allowlist.txt", "styx_client"]);
    run("stubtest", stubtest.current_dir(root().join(CLIENT)))
}

fn pyright(environment: &Environment) -> bool {
    let Some(program) = pyright_program() else { return false };
    let pyright = |call: &[&str]| {
        let mut pyright = Command::new(&program);
        pyright.args(call).current_dir(root().join(CLIENT));
        // pyright asks the first `python` of the path where packages are.
        run("pyright", pyright.env("PATH", environment.path()))
    };
    let strict = pyright(&["--project", "."]);
    // Every public name of the package has a known type.
    pyright(&["--verifytypes", "styx_client", "--ignoreexternal"]) && strict
}

/// pyright, from the npm registry. Installs it into `target/tools` first if it is not there.
fn pyright_program() -> Option<PathBuf> {
    let folder = tools::target().join("tools").join(format!("pyright-{PYRIGHT_VERSION}"));
    let program = folder.join("node_modules/.bin/pyright");
    let is_right = || {
        let output = Command::new(&program).arg("--version").output();
        let expected = format!("pyright {PYRIGHT_VERSION}");
        output.is_ok_and(|output| output.stdout.trim_ascii() == expected.as_bytes())
    };
    if is_right() {
        return Some(program);
    }
    println!("installing pyright {PYRIGHT_VERSION} into target/tools");
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]);
    npm.arg(&folder).arg(format!("pyright@{PYRIGHT_VERSION}"));
    let installed = std::fs::create_dir_all(&folder).is_ok() && run("npm install", &mut npm);
    if !(installed && is_right()) {
        eprintln!(
            "missing: pyright {PYRIGHT_VERSION}, which could not be installed with npm: \
             apt-get install nodejs npm, check the network, and try again"
        );
        return None;
    }
    Some(program)
}
