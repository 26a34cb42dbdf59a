//! The step `python-server`: the wheel with the server's binary, and its two commands.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{SERVER, environment, maturin};
use crate::tally::Tally;
use crate::venv::Environment;

/// Builds the wheel, installs it into an empty environment and calls what it installed.
pub(crate) fn step() -> Tally {
    let works = || {
        let environment = environment()?;
        let wheel = built(&environment)?;
        Some(commands_work(&environment, &wheel))
    };
    Tally::step(works().unwrap_or(false))
}

/// The wheel. Its binary is that of the step `release`.
fn built(environment: &Environment) -> Option<PathBuf> {
    let build = maturin(environment, SERVER, "python/server-wheel");
    build.call(&["build", "--release", "--locked"])
}

/// Whether `styx` and `styx-server` are the same program.
pub(super) fn commands_work(environment: &Environment, wheel: &Path) -> bool {
    let Some(empty) = Environment::empty("python/empty") else { return false };
    if !environment.install(wheel, &empty) {
        return false;
    }
    let version = |program: &str| {
        let output = Command::new(empty.program(program)).arg("version").output();
        output.ok().filter(|output| output.status.success()).map(|output| output.stdout)
    };
    let (styx, styx_server) = (version("styx"), version("styx-server"));
    let same = styx.is_some() && styx == styx_server;
    if !same {
        eprintln!("`styx version` and `styx-server version` of {} differ", wheel.display());
    }
    same
}
