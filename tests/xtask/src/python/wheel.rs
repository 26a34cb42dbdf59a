//! The step `python-wheel`: the client's source distribution builds alone, and the wheel
//! works where nothing else is installed.
//!
//! Other steps use this wheel too, so the package is compiled once.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::{CLIENT, ENVIRONMENT, environment, maturin, sources};
use crate::tally::Tally;
use crate::venv::Environment;
use crate::{root, run, tools};

/// The files that are built.
struct Built {
    /// The source distribution.
    archive: PathBuf,
    /// The wheel that was built from it.
    wheel: PathBuf,
}

/// Builds the wheel, installs it into an empty environment and uses it there. Then installs it
/// for the tests.
pub(crate) fn step() -> Tally {
    let works = checked_archive().is_some();
    Tally::step(installed().is_some() && works)
}

/// The Python in which the package is installed, if it is.
pub(crate) fn interpreter() -> Option<PathBuf> {
    let python = Environment::at(ENVIRONMENT).program("python");
    let mut import = Command::new(&python);
    import.args(["-c", "import styx_client"]).stderr(Stdio::null());
    import.status().is_ok_and(|status| status.success()).then_some(python)
}

/// The source distribution; `None` if it cannot be built or used.
pub(super) fn checked_archive() -> Option<PathBuf> {
    let environment = environment()?;
    let built = built(&environment)?;
    (tools::build_styx() && works(&environment, &built.wheel)).then(|| built.archive.clone())
}

/// The environment of the steps, with the wheel of this state of the tree installed.
pub(super) fn installed() -> Option<Environment> {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    let environment = environment()?;
    let install = || {
        let built = built(&environment);
        built.is_some_and(|built| environment.install(&built.wheel, &environment))
    };
    INSTALLED.get_or_init(install).then_some(environment)
}

/// Installs a wheel into an environment of its own and runs `tests/smoke.py` there.
pub(super) fn works(environment: &Environment, wheel: &Path) -> bool {
    let Some(empty) = Environment::empty("python/empty") else { return false };
    let mut smoke = empty.command("python");
    // Isolated: neither the folder of the script nor variables add modules.
    smoke.arg("-I").arg(root().join(CLIENT).join("tests/smoke.py")).arg(tools::styx());
    environment.install(wheel, &empty) && run("smoke.py", &mut smoke)
}

/// Builds it once in a run.
fn built(environment: &Environment) -> Option<&'static Built> {
    static BUILT: OnceLock<Option<Built>> = OnceLock::new();
    let build = || {
        let archive = sources::packed(environment)?;
        let manifest = sources::unpacked(&archive)?.join(CLIENT).join("Cargo.toml");
        let mut build = maturin(environment, CLIENT, "python/wheel");
        build.command.args(["build", "--release", "--manifest-path"]).arg(manifest);
        build.command.arg("--interpreter").arg(environment.program("python"));
        // Outside of the workspace, so that cargo does not find its `.cargo/config.toml`.
        build.command.current_dir(std::env::temp_dir());
        // But as there, because other steps would compile C code again.
        build.command.env("CFLAGS", "-g0");
        Some(Built { archive, wheel: build.file()? })
    };
    BUILT.get_or_init(build).as_ref()
}
