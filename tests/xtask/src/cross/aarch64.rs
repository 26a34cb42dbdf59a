//! 64-bit ARM with glibc, on an x86_64 machine with Debian. qemu runs what is built.
//!
//! rustup has the standard library for this target, but so has Debian, with a compiler that
//! is new enough: `rustc-web`. Debian's is used, because it needs only a mirror of Debian,
//! which also has qemu.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Variables;
use super::debian::Packages;
use crate::tools;

/// The compiler and qemu.
fn programs() -> Option<PathBuf> {
    let folder = tools::target().join("cross/aarch64/programs");
    let packages = Packages::besides_installed(folder, &["amd64", "arm64"]);
    packages.unpacked(&["rustc-web", "qemu-user-static"], &["libstd-rust-web-dev:arm64"])
}

/// The variables for a build; `None` if something is missing, which it has reported.
pub(crate) fn variables() -> Option<Variables> {
    let programs = programs()?;
    Some(vec![
        ("RUSTC", programs.join("usr/bin/rustc")),
        ("LD_LIBRARY_PATH", programs.join("usr/lib/x86_64-linux-gnu")),
        // Another compiler, so nothing can be shared.
        ("CARGO_TARGET_DIR", tools::target().join("cross/aarch64/target")),
        large_pages(),
    ])
}

/// A variable for jemalloc. Kernels for this processor have pages of 4 to 64 KiB, and jemalloc
/// built for the largest works with all of them.
pub(super) fn large_pages() -> (&'static str, PathBuf) {
    ("JEMALLOC_SYS_WITH_LG_PAGE", "16".into())
}

/// A call of a program for this processor. Its libraries are in `system`.
pub(crate) fn emulated(system: &Path, program: &Path) -> Option<Command> {
    let mut qemu = Command::new(programs()?.join("usr/bin/qemu-aarch64-static"));
    qemu.arg("-L").arg(system).arg(program);
    Some(qemu)
}
