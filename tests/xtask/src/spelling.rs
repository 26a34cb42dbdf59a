//! The spelling check: codespell over all files of the workspace.
//!
//! codespell and not typos, because of the time on a clean machine: pip installs the one
//! Python package in 2 s, but building typos without optimisation takes 3 minutes of CPU
//! time. Exceptions are in `.codespellrc`.

use std::path::PathBuf;
use std::process::Command;

use crate::{root, run, run_download, tools};

/// The version is fixed, so that a new dictionary does not fail old commits.
const VERSION: &str = "2.4.3";

/// Whether no word is misspelled. Installs codespell into `target/tools` if necessary.
pub(crate) fn check() -> bool {
    let folder = tools::target().join("tools").join(format!("codespell-{VERSION}"));
    if !is_installed(&folder) {
        println!("installing codespell {VERSION} into target/tools");
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        pip.args(["--root-user-action", "ignore", "--no-deps", "--upgrade", "--target"]);
        pip.arg(&folder).arg(format!("codespell=={VERSION}"));
        if !run_download("pip install", &mut pip) {
            return false;
        }
    }
    run("codespell", &mut codespell(&folder))
}

fn is_installed(folder: &PathBuf) -> bool {
    let output = codespell(folder).arg("--version").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == VERSION.as_bytes())
}

fn codespell(folder: &PathBuf) -> Command {
    let mut command = Command::new("python3");
    command.args(["-m", "codespell_lib"]).env("PYTHONPATH", folder).current_dir(root());
    command
}
