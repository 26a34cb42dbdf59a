//! The C library musl, on an x86_64 machine with Debian.
//!
//! The standard library is compiled from the sources in Debian's `rust-web-src`, with the compiler
//! of the same version, because rustup's server may be out of reach. An addon for x86_64 is linked
//! to musl's shared library, which nothing here can run. A program contains musl.

use std::path::PathBuf;

use super::Variables;
use super::debian::Packages;
use crate::tools;
use crate::venv::Environment;

/// The arguments for cargo in each build.
pub(crate) const ARGUMENTS: [&str; 1] = ["-Zbuild-std=std,panic_unwind"];

/// The compiler and the sources, and qemu.
fn programs() -> Option<PathBuf> {
    let folder = tools::target().join("cross/musl/programs");
    let packages = Packages::besides_installed(folder, &["amd64"]);
    packages.unpacked(&["rustc-web", "rust-web-src", "qemu-user-static"], &[])
}

/// The variables for the build of an addon; `None` if something is missing, which it has reported.
pub(crate) fn variables() -> Option<Variables> {
    let mut variables = common("cross/musl/target")?;
    variables.push(("RUSTFLAGS", "-C target-feature=-crt-static".into()));
    Some(variables)
}

/// Builds the static binary `styx`. `None` if something is missing, or if the build fails.
pub(crate) fn static_styx(environment: &Environment, target: &str) -> Option<PathBuf> {
    let mut variables = common("cross/musl/static")?;
    variables.push(("RUSTFLAGS", without_paths()?.into()));
    // Smaller by a sixth than with the settings in Cargo.toml, which build in half the time.
    variables.push(("CARGO_PROFILE_RELEASE_LTO", "fat".into()));
    variables.push(("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1".into()));
    if target.starts_with("aarch64") {
        variables.push(super::aarch64::large_pages());
    }
    let program = ["--package", "styx", "--bin", "styx"];
    // zig has the C library, the first object files and the unwinder; Debian's compiler has none.
    let link = ["--", "-C", "link-self-contained=no"];
    let arguments = [&program[..], &ARGUMENTS, &link].concat();
    let folder = super::call(environment, "rustc", target, &variables, &arguments)?;
    Some(folder.join("styx"))
}

/// The arguments that replace the folders of this machine in the messages of panics.
fn without_paths() -> Option<String> {
    let names = [(cargo_home()?, "/cargo"), (programs()?, "/rust")];
    let renamed =
        names.map(|(path, name)| format!("--remap-path-prefix={}={name}", path.display()));
    Some(renamed.join(" "))
}

/// The folder with the sources of crates.
pub(crate) fn cargo_home() -> Option<PathBuf> {
    let home = || std::env::home_dir().map(|home| home.join(".cargo"));
    std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}

fn common(folder: &str) -> Option<Variables> {
    let programs = programs()?;
    Some(vec![
        ("RUSTC", programs.join("usr/bin/rustc")),
        ("LD_LIBRARY_PATH", programs.join("usr/lib/x86_64-linux-gnu")),
        ("CARGO_TARGET_DIR", tools::target().join(folder)),
        // Building the standard library is not stable yet.
        ("RUSTC_BOOTSTRAP", "1".into()),
    ])
}

/// qemu for 64-bit ARM, which runs static programs.
pub(crate) fn qemu_aarch64() -> Option<PathBuf> {
    programs().map(|programs| programs.join("usr/bin/qemu-aarch64-static"))
}
