//! The step `c-build`: compiles the tests in C, and the driver of the conformance suite. A soak
//! compiles them with sanitizers too.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{are_programs_installed, library, sources};
use crate::cross::debian::{Packages, THIS_MACHINE};
use crate::tally::Tally;
use crate::{run, tools};

/// How the tests are compiled.
pub(super) struct Build {
    pub(super) name: &'static str,
    compilers: [&'static str; 2],
    options: &'static [&'static str],
}

/// The build of every run.
pub(super) const GCC: Build =
    Build { name: "gcc", compilers: ["gcc", "g++"], options: &["-DSTYX_VALGRIND=ON"] };

/// The builds of a soak. The library itself is not instrumented.
pub(super) const SANITIZERS: [Build; 2] = [
    Build {
        name: "address-sanitizer",
        compilers: ["clang", "clang++"],
        options: &["-DSTYX_SANITIZE=address,undefined"],
    },
    Build {
        name: "thread-sanitizer",
        compilers: ["clang", "clang++"],
        options: &["-DSTYX_SANITIZE=thread"],
    },
];

/// See the module.
pub(crate) fn step() -> Tally {
    Tally::step(is_built(&[&GCC]))
}

/// The driver of the conformance suite, if it is built.
pub(crate) fn driver() -> Option<PathBuf> {
    let driver = GCC.folder().join("styx-c-driver");
    driver.is_file().then_some(driver)
}

/// Whether these builds succeed.
pub(super) fn is_built(builds: &[&Build]) -> bool {
    are_programs_installed() && tools::build_styx() && builds.iter().all(|build| build.run())
}

/// The folder of cJSON, from Debian's package if it is not installed.
fn cjson() -> Option<PathBuf> {
    if Path::new("/usr/include/cjson/cJSON.h").is_file() {
        return Some("/".into());
    }
    let folder = tools::target().join("tools/cjson");
    Packages::besides_installed(folder, THIS_MACHINE).unpacked(&["libcjson-dev"], &[])
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
        let Some(cjson) = cjson() else { return false };
        configure.arg(format!("-DCJSON_ROOT={}", cjson.display()));
        configure.args(self.options).args(["--log-level", "WARNING"]);
        let mut build = Command::new("cmake");
        build.arg("--build").arg(self.folder()).args(["--parallel", "--", "--quiet"]);
        run("cmake", &mut configure) && run("cmake --build", &mut build)
    }
}
