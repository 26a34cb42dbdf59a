//! Wheels for aarch64, built on an x86_64 machine with Debian and tested under qemu.
//!
//! rustup has the standard library for this target, but so has Debian, with a compiler that
//! is new enough: `rustc-web`. Debian's is used, because it needs only a mirror of Debian,
//! which also has the Python and the qemu of the test. zig compiles the C code and links.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Target;
use super::debian::Packages;
use crate::python::CLIENT;
use crate::venv::Environment;
use crate::{root, run, tools};

pub(super) const TARGET: Target = Target { name: "aarch64-unknown-linux-gnu", prepare, works };

/// The compiler and qemu.
fn programs() -> Option<PathBuf> {
    let folder = tools::target().join("python/aarch64/programs");
    let packages = Packages::besides_installed(folder, &["amd64", "arm64"]);
    packages.unpacked(&["rustc-web", "qemu-user-static"], &["libstd-rust-web-dev:arm64"])
}

/// Python and the libraries that it needs.
fn python() -> Option<PathBuf> {
    let folder = tools::target().join("python/aarch64/python");
    let packages = Packages::complete(folder, &["arm64"]);
    packages.unpacked(&["python3.11-minimal", "libpython3.11-stdlib"], &[])
}

fn prepare() -> Option<Vec<(&'static str, PathBuf)>> {
    python()?;
    let programs = programs()?;
    Some(vec![
        ("RUSTC", programs.join("usr/bin/rustc")),
        ("LD_LIBRARY_PATH", programs.join("usr/lib/x86_64-linux-gnu")),
        // Another compiler, so nothing can be shared.
        ("CARGO_TARGET_DIR", tools::target().join("python/aarch64/target")),
        // Kernels for this processor have pages of 4 to 64 KiB. jemalloc built for the largest
        // works with all of them.
        ("JEMALLOC_SYS_WITH_LG_PAGE", "16".into()),
    ])
}

/// The client writes and reads with a server of this machine. The server prints its version.
fn works(environment: &Environment, client: &Path, server: &Path) -> bool {
    uses(environment, client, server).unwrap_or(false)
}

fn uses(environment: &Environment, client: &Path, server: &Path) -> Option<bool> {
    let (programs, python) = (programs()?, python()?);
    let installed = tools::target().join("python/aarch64/installed");
    let _ = std::fs::remove_dir_all(&installed);
    let mut pip = environment.pip();
    pip.args(["install", "--quiet", "--no-index", "--target"]).arg(&installed);
    pip.args(["--platform", "manylinux2014_aarch64", "--python-version", "3.11"]);
    pip.args(["--only-binary", ":all:"]).args([client, server]);
    let emulated = |program: PathBuf| {
        let mut qemu = Command::new(programs.join("usr/bin/qemu-aarch64-static"));
        qemu.arg("-L").arg(&python).arg(program).env("PYTHONDONTWRITEBYTECODE", "1");
        qemu
    };
    let mut smoke = emulated(python.join("usr/bin/python3.11"));
    smoke.arg(root().join(CLIENT).join("tests/smoke.py")).arg(tools::styx());
    smoke.env("PYTHONPATH", &installed);
    let mut version = emulated(installed.join("bin/styx"));
    version.arg("version");
    let installs = run("pip install", &mut pip);
    Some(installs && run("smoke.py under qemu", &mut smoke) && run("styx under qemu", &mut version))
}
