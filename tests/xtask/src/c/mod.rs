//! The steps of libstyx, `bindings/c`.
//!
//! | module | what it does |
//! |---|---|
//! | [`build`] | compiles the tests and the conformance driver; for a soak also with the sanitizers of clang |
//! | [`tests`] | runs them, some of them also with valgrind; [`summary`] counts the results |
//! | [`abi`] | compares the exported functions and the structs with the committed ones |
//! | [`install`] | a command of its own: installs the library, and builds programs with it |
//!
//! The library is the one that the step `build` builds, `target/debug/libstyx.so`.

pub(crate) mod abi;
pub(crate) mod build;
pub(crate) mod install;
mod summary;
pub(crate) mod tests;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::{root, tools};

/// The programs that the steps call: a call that shows that it works, and how to install it.
const NEEDED: &[(&str, &[&str], &str)] = &[
    ("gcc", &["--version"], "apt-get install gcc"),
    ("g++", &["--version"], "apt-get install g++"),
    ("cmake", &["--version"], "apt-get install cmake"),
    ("make", &["--version"], "apt-get install make"),
    ("valgrind", &["--version"], "apt-get install valgrind"),
    ("nm", &["--version"], "apt-get install binutils"),
];

/// Checks that all of them are installed. Reports every missing one.
fn are_programs_installed() -> bool {
    let mut missing = 0;
    for (program, call, how) in NEEDED {
        let mut command = Command::new(program);
        command.args(*call).stdout(Stdio::null()).stderr(Stdio::null());
        if !command.status().is_ok_and(|status| status.success()) {
            eprintln!("missing: `{program} {}`, for the tests in C: {how}", call.join(" "));
            missing += 1;
        }
    }
    missing == 0
}

/// The folder of the library's sources.
fn sources() -> PathBuf {
    root().join("bindings/c")
}

/// The library.
fn library() -> PathBuf {
    tools::target().join("debug/libstyx.so")
}
