//! `cargo xtask wheels`: the files of a release for PyPI.
//!
//! These are the source distribution of the client, and for each target the wheels of the
//! client and the server. A file is only kept if it works when it is installed.
//! docs/releasing.md says which targets were tested, and which have no recipe here.

mod aarch64;
mod x86_64;

use std::path::{Path, PathBuf};

use super::{CLIENT, SERVER, maturin, wheel};
use crate::venv::Environment;
use crate::{cross, tools};

/// Wheels for every distribution with this version of glibc or a newer one.
const GLIBC: &str = "manylinux_2_17";

/// A processor for which wheels are built.
struct Target {
    /// As Rust calls it.
    name: &'static str,
    /// The variables for a build; `None` if something is missing on this machine, which it
    /// has reported.
    prepare: fn() -> Option<Vec<(&'static str, PathBuf)>>,
    /// Whether the wheels of the client and the server work when they are installed.
    works: fn(&Environment, &Path, &Path) -> bool,
}

const TARGETS: [Target; 2] = [x86_64::TARGET, aarch64::TARGET];

/// Writes the files into `dist`, or into `target/python/dist`. A target that fails does not
/// stop the others.
pub(crate) fn write(dist: Option<&str>) -> bool {
    let dist = dist.map_or_else(|| tools::target().join("python/dist"), PathBuf::from);
    let Some(environment) = cross::environment() else { return false };
    if !tools::build_styx() {
        return false;
    }
    let mut made = vec![("source of styx-client", wheel::checked_archive().map(|file| vec![file]))];
    for target in &TARGETS {
        println!("\n==> {}", target.name);
        made.push((target.name, build(&environment, target)));
    }
    println!();
    let mut passed = true;
    for (name, files) in made {
        let kept = files.is_some_and(|files| files.iter().all(|file| is_copied(file, &dist)));
        println!("{:6} {name}", if kept { "ok" } else { "FAILED" });
        passed &= kept;
    }
    println!("\nthe files are in {}", dist.display());
    passed
}

/// The wheels of the client and the server; `None` if one fails.
fn build(environment: &Environment, target: &Target) -> Option<Vec<PathBuf>> {
    let variables = (target.prepare)()?;
    let wheel = |package: &str| {
        let python = environment.program("python");
        let folder = format!("python/{}/{package}", target.name);
        let mut build = maturin(environment, package, &folder);
        build.command.args(["build", "--release", "--locked", "--zig", "--target", target.name]);
        build.command.args(["--compatibility", GLIBC, "--interpreter"]).arg(python);
        build.command.envs(variables.iter().cloned());
        build.file().filter(|wheel| is_portable(environment, wheel))
    };
    let (client, server) = (wheel(CLIENT)?, wheel(SERVER)?);
    (target.works)(environment, &client, &server).then(|| vec![client, server])
}

/// Whether auditwheel finds no symbol of a newer glibc.
fn is_portable(environment: &Environment, wheel: &Path) -> bool {
    let output = environment.command("auditwheel").arg("show").arg(wheel).output();
    let report = output.map_or_else(
        |e| e.to_string(),
        |output| String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
    );
    println!("{report}");
    let expected = format!("platform tag: \"{GLIBC}_");
    let report = report.split_whitespace().collect::<Vec<_>>().join(" ");
    let portable = report.contains(&expected);
    if !portable {
        eprintln!("{}: auditwheel does not find {expected}", wheel.display());
    }
    portable
}

fn is_copied(file: &Path, dist: &Path) -> bool {
    let Some(name) = file.file_name() else { return false };
    let copied = std::fs::create_dir_all(dist).and_then(|()| std::fs::copy(file, dist.join(name)));
    if let Err(e) = &copied {
        eprintln!("cannot copy {} into {}: {e}", file.display(), dist.display());
    }
    copied.is_ok()
}
