//! Builds for other machines than this one: an older glibc, another processor, another C library.
//!
//! zig compiles the C code and links. It and cargo-zigbuild come from PyPI, in the versions of
//! `bindings/python/release-requirements.txt`. Everything is in `target/`.

pub(crate) mod aarch64;
pub(crate) mod debian;
pub(crate) mod musl;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::venv::Environment;
use crate::{run, tools};

/// Variables for a build.
pub(crate) type Variables = Vec<(&'static str, PathBuf)>;

/// The environment with the programs of a release.
pub(crate) fn environment() -> Option<Environment> {
    Environment::with("python/release", "bindings/python/release-requirements.txt")
}

/// Calls `cargo zigbuild` for a target, and returns the folder of the files that it has written.
/// `target` may end with the version of a glibc. `None` if it fails.
pub(crate) fn build(
    environment: &Environment,
    target: &str,
    variables: &Variables,
    arguments: &[&str],
) -> Option<PathBuf> {
    call(environment, "zigbuild", target, variables, arguments)
}

/// The same with a subcommand of cargo-zigbuild: `zigbuild`, or `rustc` for arguments of the
/// compiler.
pub(crate) fn call(
    environment: &Environment,
    subcommand: &str,
    target: &str,
    variables: &Variables,
    arguments: &[&str],
) -> Option<PathBuf> {
    let zigbuild = Command::new(environment.program("cargo-zigbuild"));
    let mut zigbuild = tools::in_workspace(zigbuild);
    zigbuild.args([subcommand, "--locked", "--release", "--target", target]).args(arguments);
    // cargo-zigbuild finds zig through Python.
    zigbuild.env("PATH", environment.path()).env("CARGO_TARGET_DIR", tools::target());
    zigbuild.envs(variables.iter().cloned());
    let folder = variables.iter().find(|(name, _)| *name == "CARGO_TARGET_DIR");
    let folder = folder.map_or_else(tools::target, |(_, folder)| folder.clone());
    let target = target.split('.').next().unwrap_or(target);
    run("cargo zigbuild", &mut zigbuild).then(|| folder.join(target).join("release"))
}

/// Whether a library or a program works with this version of glibc 2, or any if it needs none.
pub(crate) fn needs_at_most(file: &Path, glibc: u32) -> bool {
    let Ok(content) = std::fs::read(file) else { return false };
    let newest = newest_glibc(&content).unwrap_or(0);
    if newest > glibc {
        eprintln!("{} needs glibc 2.{newest}, which is newer than 2.{glibc}", file.display());
    }
    newest <= glibc
}

/// The newest version of glibc 2 whose symbols a file needs, such as `GLIBC_2.17`.
pub(crate) fn newest_glibc(content: &[u8]) -> Option<u32> {
    const NAME: &[u8] = b"GLIBC_2.";
    let found = content.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME);
    let versions = found.filter_map(|(at, _)| {
        let rest = content.get(at + NAME.len()..)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        std::str::from_utf8(rest.get(..digits)?).ok()?.parse().ok()
    });
    versions.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_glibc_is_found() {
        let symbols = b"\0GLIBC_2.2.5\0GLIBC_2.17\0GLIBC_2.4\0GLIBC_PRIVATE\0";
        assert_eq!(newest_glibc(symbols), Some(17));
        assert_eq!(newest_glibc(b"\x7fELF libc.so"), None);
    }
}
