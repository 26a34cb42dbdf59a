//! `cargo xtask c-install`: libstyx as its users build and install it, and everything that stands
//! on it: `styx.hpp`, programs that find it by pkg-config and CMake, the examples, and the programs
//! in the documents. Then ctest runs the tests in C with the release build of the library. It needs
//! compilers and libraries that the steps of `cargo xtask test` do not; each script names what is
//! missing.

use std::path::Path;
use std::process::Command;

use super::sources;
use crate::{run, tools};

/// The scripts below `bindings/c/tests`, and whether they need cargo's target directory.
const SCRIPTS: [(&str, bool); 4] =
    [("cpp/run.sh", false), ("install/run.sh", true), ("examples.sh", false), ("docs.py", false)];

/// Installs libstyx into `target/c/prefix`, and runs every script with it.
pub(crate) fn works() -> bool {
    let prefix = tools::target().join("c/prefix");
    let build = tools::target().join("c/package");
    if !tools::build_styx() || !is_installed(&build, &prefix) {
        return false;
    }
    let mut results = Vec::from(SCRIPTS.map(|(script, needs_target)| {
        println!("\n==> {script}");
        let program = if script.ends_with(".py") { "python3" } else { "bash" };
        let mut command = Command::new(program);
        command.arg(sources().join("tests").join(script)).arg(&prefix);
        command.args(needs_target.then(tools::target)).env("STYX_BIN", tools::styx());
        (script, run(script, &mut command))
    }));
    println!("\n==> ctest");
    let mut ctest = Command::new("ctest");
    ctest.arg("--test-dir").arg(&build).args(["--output-on-failure", "--parallel", "3"]);
    results.push(("ctest", run("ctest", ctest.env("STYX_BIN", tools::styx()))));
    println!();
    for (script, passed) in &results {
        println!("{:6} {script}", if *passed { "ok" } else { "FAILED" });
    }
    results.into_iter().all(|(_, passed)| passed)
}

fn is_installed(build: &Path, prefix: &Path) -> bool {
    let _ = std::fs::remove_dir_all(prefix);
    let mut configure = Command::new("cmake");
    configure.arg("-S").arg(sources()).arg("-B").arg(build);
    configure.arg("-DSTYX_TESTS=ON");
    configure.arg(format!("-DCMAKE_INSTALL_PREFIX={}", prefix.display()));
    configure.arg(format!("-DSTYX_CARGO_TARGET_DIR={}", tools::target().display()));
    let cmake = |action: &str| {
        let mut cmake = Command::new("cmake");
        cmake.arg(action).arg(build);
        run("cmake", &mut cmake)
    };
    run("cmake", &mut configure) && cmake("--build") && cmake("--install")
}
