//! `cargo xtask npm`: the files of a release for npm.
//!
//! These are the packages of the client and the server, and for each target those with the native
//! module and the binary. docs/releasing.md says which targets were tested.

mod works;

use std::path::{Path, PathBuf};
use std::{env, fs};

use super::package::{self, Packed};
use super::{build, client};
use crate::cross::{self, Variables, aarch64, musl};
use crate::tools;
use crate::venv::Environment;

/// The oldest version of glibc 2 with which the packages work.
const GLIBC: u32 = 17;

/// A platform for which packages are built.
struct Target {
    /// As the names of packages spell it.
    platform: &'static str,
    /// As Rust calls it, with the version of glibc.
    rust: &'static str,
    /// The other arguments for cargo.
    arguments: &'static [&'static str],
    /// The variables for a build; `None` if something is missing on this machine, which it
    /// has reported.
    prepare: fn() -> Option<Variables>,
    /// Whether the packages work when they are installed.
    works: fn(&Packed) -> bool,
}

const TARGETS: [Target; 3] = [
    Target {
        platform: "linux-x64-gnu",
        rust: "x86_64-unknown-linux-gnu.2.17",
        arguments: &[],
        prepare: || Some(Variables::new()),
        works: |packed| works::here(packed).unwrap_or(false),
    },
    Target {
        platform: "linux-arm64-gnu",
        rust: "aarch64-unknown-linux-gnu.2.17",
        arguments: &[],
        prepare: aarch64::variables,
        works: |packed| works::emulated(packed).unwrap_or(false),
    },
    Target {
        platform: "linux-x64-musl",
        rust: "x86_64-unknown-linux-musl",
        arguments: &musl::ARGUMENTS,
        prepare: musl::variables,
        works: |_| {
            println!("not tested: there is no Node.js for musl here");
            true
        },
    },
];

/// Writes the files into `dist`, or into `target/node/dist`. A target that fails does not stop
/// the others.
pub(crate) fn write(dist: Option<&str>) -> bool {
    let dist = dist.map_or_else(|| tools::target().join("node/dist"), PathBuf::from);
    let dist = env::current_dir().map(|folder| folder.join(&dist)).unwrap_or(dist);
    let Some(environment) = cross::environment() else { return false };
    if !build::is_compiled() {
        return false;
    }
    let made: Vec<_> = TARGETS
        .iter()
        .map(|target| {
            println!("\n==> {}", target.platform);
            (target.platform, made(&environment, target, &dist))
        })
        .collect();
    println!();
    for (platform, made) in &made {
        println!("{:6} {platform}", if made.is_some() { "ok" } else { "FAILED" });
    }
    println!("\nthe files are in {}", dist.display());
    made.iter().all(|(_, made)| made.is_some())
}

/// Builds, packs and tests the packages of a target, and copies them.
fn made(environment: &Environment, target: &Target, dist: &Path) -> Option<()> {
    let variables = (target.prepare)()?;
    let packages = ["--package", "styx", "--package", "styx-node"];
    let arguments = [&packages, target.arguments].concat();
    let built = cross::build(environment, target.rust, &variables, &arguments)?;
    let (library, server) = (built.join("libstyx_node.so"), built.join("styx"));
    if ![&library, &server].into_iter().all(|file| cross::needs_at_most(file, GLIBC)) {
        return None;
    }
    let platform = target.platform;
    let addon = client().join(format!("npm/{platform}/styx-client.{platform}.node"));
    let _ = fs::remove_file(&addon);
    fs::copy(&library, &addon).ok()?;
    package::place_server(&server, platform).ok()?;
    let folder = tools::target().join("node/release").join(platform);
    let packed = package::packed(platform, &folder)?;
    if !(target.works)(&packed) {
        return None;
    }
    fs::create_dir_all(dist).ok()?;
    for entry in fs::read_dir(folder).ok()?.flatten() {
        fs::copy(entry.path(), dist.join(entry.file_name())).ok()?;
    }
    Some(())
}
