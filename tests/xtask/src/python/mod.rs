//! The steps of the Python packages, `bindings/python` and `bindings/python-server`.
//!
//! | module | what it checks |
//! |---|---|
//! | [`style`] | the code is formatted, and ruff has no warnings |
//! | [`wheel`] | the wheel is built from the source distribution ([`sources`]), and works where nothing else is installed |
//! | [`types`] | mypy, pyright and stubtest agree with the types |
//! | [`tests`] | pytest, whose results [`summary`] counts |
//! | [`server`] | the wheel of the server |
//! | [`wheels`] | a command of its own: the files of a release |
//!
//! The programs that they call are in `target/python/environment`, in the versions of
//! `bindings/python/tests/requirements.txt`.

pub(crate) mod server;
mod sources;
pub(crate) mod style;
mod summary;
pub(crate) mod tests;
pub(crate) mod types;
pub(crate) mod wheel;
pub(crate) mod wheels;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::venv::Environment;
use crate::{root, run, tools};

/// The folder of the client's package.
const CLIENT: &str = "bindings/python";
/// The folder of the server's package.
const SERVER: &str = "bindings/python-server";

/// The folder in `target/` of the environment with the programs of the steps.
const ENVIRONMENT: &str = "python/environment";

/// The environment with the programs of the steps.
fn environment() -> Option<Environment> {
    Environment::with(ENVIRONMENT, "bindings/python/tests/requirements.txt")
}

/// A call of maturin in the folder of a package. It builds into the target directory of the
/// workspace, and writes one file into `folder` of `target/`, which is emptied before.
struct Maturin {
    command: Command,
    folder: PathBuf,
}

fn maturin(environment: &Environment, package: &str, folder: &str) -> Maturin {
    let folder = tools::target().join(folder);
    let mut command = tools::in_workspace(Command::new(environment.program("maturin")));
    command.current_dir(root().join(package)).env("CARGO_TARGET_DIR", tools::target());
    // maturin finds zig through Python.
    command.env("PATH", environment.path());
    Maturin { command, folder }
}

impl Maturin {
    fn call(mut self, call: &[&str]) -> Option<PathBuf> {
        self.command.args(call);
        self.file()
    }

    /// Runs it. The path of the file; `None` if it fails.
    fn file(mut self) -> Option<PathBuf> {
        let _ = std::fs::remove_dir_all(&self.folder);
        self.command.arg("--out").arg(&self.folder);
        if run("maturin", &mut self.command) { only_file(&self.folder) } else { None }
    }
}

/// The only file in a folder.
fn only_file(folder: &Path) -> Option<PathBuf> {
    let files: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().flatten().collect();
    match files.as_slice() {
        [file] => Some(file.path()),
        files => {
            eprintln!("{} has {} files instead of one", folder.display(), files.len());
            None
        }
    }
}
