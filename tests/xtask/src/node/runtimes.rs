//! Bun and Deno, whose programs are in npm packages.

use std::path::PathBuf;

use super::{npm, platform};
use crate::{run, tools};

/// A JavaScript runtime besides Node.js. The version is fixed, so that a new release does not
/// fail old commits.
pub(super) struct Runtime {
    pub(super) name: &'static str,
    version: &'static str,
    /// For each platform the package, and the path of the program in it.
    packages: [(&'static str, &'static str, &'static str); 2],
    /// The arguments before the name of a program.
    pub(super) run: &'static [&'static str],
}

pub(super) const BUN: Runtime = Runtime {
    name: "Bun",
    version: "1.4.5",
    packages: [
        ("linux-x64-gnu", "@oven/bun-linux-x64", "bin/bun"),
        ("linux-arm64-gnu", "@oven/bun-linux-aarch64", "bin/bun"),
    ],
    run: &["run"],
};

pub(super) const DENO: Runtime = Runtime {
    name: "Deno",
    version: "2.9.6",
    packages: [
        ("linux-x64-gnu", "@deno/linux-x64-glibc", "deno"),
        ("linux-arm64-gnu", "@deno/linux-arm64-glibc", "deno"),
    ],
    run: &["run", "--allow-all", "--no-lock"],
};

impl Runtime {
    /// The program. Installs it into `target/tools` first if it is not there. `None` if that
    /// fails.
    pub(super) fn program(&self) -> Option<PathBuf> {
        let Runtime { name, version, packages, .. } = self;
        let (_, package, path) = packages.iter().find(|(other, _, _)| *other == platform())?;
        let folder = tools::target().join(format!("tools/{}-{version}", name.to_lowercase()));
        let program = folder.join("node_modules").join(package).join(path);
        if program.is_file() {
            return Some(program);
        }
        println!("installing {name} {version} into target/tools");
        std::fs::create_dir_all(&folder).ok()?;
        let mut install = npm(&folder);
        install.args(["install", "--loglevel", "error", "--no-save", "--prefix"]).arg(&folder);
        install.arg(format!("{package}@{version}"));
        if !run("npm install", &mut install) {
            eprintln!("{name} could not be installed from npm: check the network, and try again");
            return None;
        }
        Some(program)
    }
}
