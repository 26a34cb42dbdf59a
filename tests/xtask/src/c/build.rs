//! The step `c-build`: compiles the tests in C, and the driver of the conformance suite.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use super::{are_programs_installed, library, sources};
use crate::tally::Tally;
use crate::{run, tools};

/// How the tests are compiled.
pub(super) struct Build {
    pub(super) name: &'static str,
    compilers: [&'static str; 2],
    options: &'static [&'static str],
}

/// Each test is compiled by both compilers. The library itself is not instrumented.
pub(super) const BUILDS: [Build; 3] = [
    Build { name: "gcc", compilers: ["gcc", "g++"], options: &["-DSTYX_VALGRIND=ON"] },
    Build {
        name: "address-sanitizer",
        compilers: ["clang", "clang++"],
        options: &["-DSTYX_SANITIZE=address"],
    },
    Build {
        name: "thread-sanitizer",
        compilers: ["clang", "clang++"],
        options: &["-DSTYX_SANITIZE=thread"],
    },
];

/// See the module.
pub(crate) fn step() -> Tally {
    Tally::step(is_built())
}

/// The driver of the conformance suite, if it is built.
pub(crate) fn driver() -> Option<PathBuf> {
    let driver = BUILDS[0].folder().join("styx-c-driver");
    driver.is_file().then_some(driver)
}

/// Builds all of them once in a run.
pub(super) fn is_built() -> bool {
    static BUILT: OnceLock<bool> = OnceLock::new();
    let build = || are_programs_installed() && tools::build_styx() && BUILDS.iter().all(Build::run);
    *BUILT.get_or_init(build)
}

impl Build {
    pub(super) fn folder(&self) -> PathBuf {
        tools::target().join("c").join(self.name)
    }

    fn run(&self) -> bool {
        let [c, cpp] = self.compilers;
        let mut configure = Command::new("cmake");
        configure.arg("-S").arg(sources().join("tests/c")).arg("-B").arg(self.folder());
        configure.arg(format!("-DCMAKE_C_COMPILER={c}"));
        configure.arg(format!("-DCMAKE_CXX_COMPILER={cpp}"));
        configure.arg(format!("-DSTYX_LIBRARY={}", library().display()));
        configure.args(self.options).args(["--log-level", "WARNING"]);
        let mut build = Command::new("cmake");
        build.arg("--build").arg(self.folder()).args(["--parallel", "--", "--quiet"]);
        run("cmake", &mut configure) && run("cmake --build", &mut build)
    }
}
