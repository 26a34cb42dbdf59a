//! Wheels for 64-bit ARM, tested under qemu with Debian's Python.

use std::path::{Path, PathBuf};

use super::Target;
use crate::cross::aarch64::{emulated, variables};
use crate::cross::debian::Packages;
use crate::python::CLIENT;
use crate::venv::Environment;
use crate::{root, run, run_download, tools};

pub(super) const TARGET: Target = Target { name: "aarch64-unknown-linux-gnu", prepare, works };

/// Python and the libraries that it needs.
fn python() -> Option<PathBuf> {
    let folder = tools::target().join("python/aarch64/python");
    let packages = Packages::complete(folder, &["arm64"]);
    packages.unpacked(&["python3.11-minimal", "libpython3.11-stdlib"], &[])
}

fn prepare() -> Option<Vec<(&'static str, PathBuf)>> {
    python()?;
    variables()
}

/// The client writes and reads with a server of this machine. The server prints its version.
fn works(environment: &Environment, client: &Path, server: &Path) -> bool {
    uses(environment, client, server).unwrap_or(false)
}

fn uses(environment: &Environment, client: &Path, server: &Path) -> Option<bool> {
    let python = python()?;
    let installed = tools::target().join("python/aarch64/installed");
    let _ = std::fs::remove_dir_all(&installed);
    let mut pip = environment.pip();
    pip.args(["install", "--quiet", "--no-index", "--target"]).arg(&installed);
    pip.args(["--platform", "manylinux2014_aarch64", "--python-version", "3.11"]);
    pip.args(["--only-binary", ":all:"]).args([client, server]);
    let mut smoke = emulated(&python, &python.join("usr/bin/python3.11"))?;
    smoke.arg(root().join(CLIENT).join("tests/smoke.py")).arg(tools::styx());
    smoke.env("PYTHONPATH", &installed).env("PYTHONDONTWRITEBYTECODE", "1");
    let mut version = emulated(&python, &installed.join("bin/styx"))?;
    version.arg("version");
    let installs = run_download("pip install", &mut pip);
    Some(installs && run("smoke.py under qemu", &mut smoke) && run("styx under qemu", &mut version))
}
