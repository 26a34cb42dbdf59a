//! Finds the `styx` binary that all tests run, and builds it when nobody did.
//!
//! `STYX_BIN` names it; `cargo xtask test` sets that. Without it the workspace's
//! own binary is built first, so that a test never runs yesterday's server.

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
    PATH.get_or_init(|| match std::env::var_os("STYX_BIN") {
        Some(path) => std::path::absolute(path).expect("STYX_BIN is a path"),
        None => build(),
    })
}

fn build() -> PathBuf {
    let release = !cfg!(debug_assertions);
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--package", "styx", "--bin", "styx"]);
    if release {
        cargo.arg("--release");
    }
    let status = cargo.current_dir(workspace()).status().expect("cargo can be run");
    assert!(status.success(), "`{cargo:?}` failed: the tests have no binary to test");
    target().join(if release { "release" } else { "debug" }).join("styx")
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
    let test = std::env::current_exe().expect("a test knows its own path");
    let marked = |dir: &&Path| dir.join("CACHEDIR.TAG").is_file();
    test.ancestors().find(marked).map_or_else(|| workspace().join("target"), Path::to_path_buf)
}
