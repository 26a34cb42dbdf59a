//! [`Environment`]: a virtual environment of Python in a folder of `target/`.
//!
//! Its packages have fixed versions, from a file of requirements in the tree. The
//! environment is made again when that file changes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{root, run, run_download, tools};

/// See the module.
pub(crate) struct Environment {
    folder: PathBuf,
}

impl Environment {
    /// The environment in `folder` of `target/` with the packages of the file
    /// `requirements`. Installs them first if they are not there. `None` if that fails.
    pub(crate) fn with(folder: &str, requirements: &str) -> Option<Environment> {
        let environment = Environment::at(folder);
        let requirements = root().join(requirements);
        let stamp = environment.folder.join("installed.txt");
        let required = std::fs::read(&requirements).ok()?;
        let is_complete = std::fs::read(&stamp).ok().as_ref() == Some(&required);
        if is_complete && environment.program("python").exists() {
            return Some(environment);
        }
        let (from, to) = (requirements.display(), environment.folder.display());
        println!("installing the packages of {from} into {to}");
        if !environment.create(&[]) {
            return None;
        }
        let mut install = environment.pip();
        install.args(["install", "--quiet", "--requirement"]).arg(&requirements);
        if !run_download("pip install", &mut install) {
            eprintln!("{from} could not be installed from PyPI: check the network, and try again");
            return None;
        }
        std::fs::write(stamp, required).ok()?;
        Some(environment)
    }

    /// A new, empty environment in `folder` of `target/`, without pip. `None` if it cannot
    /// be created.
    pub(crate) fn empty(folder: &str) -> Option<Environment> {
        let environment = Environment::at(folder);
        environment.create(&["--without-pip"]).then_some(environment)
    }

    /// The environment in `folder` of `target/`, which may not exist.
    pub(crate) fn at(folder: &str) -> Environment {
        Environment { folder: tools::target().join(folder) }
    }

    fn create(&self, options: &[&str]) -> bool {
        let mut create = Command::new("python3");
        create.args(["-m", "venv", "--clear"]).args(options).arg(&self.folder);
        let created = run("python3 -m venv", &mut create);
        if !created {
            eprintln!("python3 needs the module venv: apt-get install python3-venv");
        }
        created
    }

    /// The path of a program of the environment.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }

    /// A call of a program of the environment. Python writes no `__pycache__` beside the
    /// sources.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.program(name));
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// The search path of programs, with those of the environment first.
    pub(crate) fn path(&self) -> OsString {
        let mut path = self.program("").into_os_string();
        if let Some(others) = std::env::var_os("PATH") {
            path.push(":");
            path.push(others);
        }
        path
    }

    /// pip of this environment.
    pub(crate) fn pip(&self) -> Command {
        let mut command = Command::new(self.program("python"));
        command.args(["-m", "pip", "--disable-pip-version-check"]);
        command
    }

    /// Installs a wheel into `into`, in place of an older build of the same version.
    /// Nothing is downloaded, so a wheel that depends on other packages fails.
    pub(crate) fn install(&self, wheel: &Path, into: &Environment) -> bool {
        let mut command = self.pip();
        command.arg("--python").arg(into.program("python"));
        command.args(["install", "--quiet", "--no-index", "--force-reinstall"]).arg(wheel);
        run_download("pip install", &mut command)
    }
}
