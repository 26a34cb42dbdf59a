//! Finds the `styx` binary that all tests run, and the examples, and builds them if
//! necessary.
//!
//! `STYX_BIN` is the path of the binary, `STYX_RELEASE_BIN` of the release binary, and
//! `STYX_EXAMPLES` of the folder of the examples. `cargo xtask test` sets all three.
//! Without them the workspace's own are built first, so that a test never runs an
//! outdated server.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The binary to test.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn styx() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| named("STYX_BIN").unwrap_or_else(|| build(!cfg!(debug_assertions))))
}

/// The release binary, for tests that need optimised code.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn released() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| named("STYX_RELEASE_BIN").unwrap_or_else(|| build(true)))
}

/// One of the programs in `examples/rust`.
///
/// # Panics
/// When they cannot be built.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let built = || {
        cargo_build(&["--package", "styx-examples", "--bins"]);
        target().join("debug")
    };
    FOLDER.get_or_init(|| named("STYX_EXAMPLES").unwrap_or_else(built)).join(name)
}

fn named(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable)?;
    Some(std::path::absolute(path).unwrap_or_else(|e| panic!("{variable} is not a path: {e}")))
}

fn build(release: bool) -> PathBuf {
    let profile = if release { "release" } else { "dev" };
    cargo_build(&["--package", "styx", "--bin", "styx", "--profile", profile]);
    target().join(if release { "release" } else { "debug" }).join("styx")
}

fn cargo_build(arguments: &[&str]) {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet"]).args(arguments);
    let status = cargo.current_dir(workspace()).status().expect("cargo can be run");
    assert!(status.success(), "`{cargo:?}` failed: the tests have no binary to test");
}

/// The workspace's root.
///
/// # Panics
/// Never: this crate is one folder below it.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate has a parent folder")
}

/// Cargo's target directory: the one this test was built into.
///
/// # Panics
/// When the test does not know its own path.
#[must_use]
pub fn target() -> PathBuf {
    let test = std::env::current_exe().expect("the path of the test binary");
    let marked = |dir: &&Path| dir.join("CACHEDIR.TAG").is_file();
    test.ancestors().find(marked).map_or_else(|| workspace().join("target"), Path::to_path_buf)
}
