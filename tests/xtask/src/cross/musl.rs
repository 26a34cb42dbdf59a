//! x86_64 with the C library musl, on an x86_64 machine with Debian.
//!
//! The standard library is compiled from the sources in Debian's `rust-web-src`, with the compiler
//! of the same version. It is linked to musl's shared library, as an addon must be. Nothing here
//! can run the result.

use std::path::PathBuf;

use super::Variables;
use super::debian::Packages;
use crate::tools;

/// The arguments for cargo in each build.
pub(crate) const ARGUMENTS: [&str; 1] = ["-Zbuild-std=std,panic_unwind"];

/// The compiler and the sources.
fn programs() -> Option<PathBuf> {
    let folder = tools::target().join("cross/musl/programs");
    let packages = Packages::besides_installed(folder, &["amd64"]);
    packages.unpacked(&["rustc-web", "rust-web-src"], &[])
}

/// The variables for a build; `None` if something is missing, which it has reported.
pub(crate) fn variables() -> Option<Variables> {
    let programs = programs()?;
    Some(vec![
        ("RUSTC", programs.join("usr/bin/rustc")),
        ("LD_LIBRARY_PATH", programs.join("usr/lib/x86_64-linux-gnu")),
        ("CARGO_TARGET_DIR", tools::target().join("cross/musl/target")),
        // Building the standard library is not stable yet.
        ("RUSTC_BOOTSTRAP", "1".into()),
        ("RUSTFLAGS", "-C target-feature=-crt-static".into()),
    ])
}
