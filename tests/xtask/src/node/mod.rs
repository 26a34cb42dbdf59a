//! The steps of the npm packages, `bindings/node` and `bindings/node-server`.
//!
//! | module | what it checks |
//! |---|---|
//! | [`style`] | the code is formatted, and biome has no warnings |
//! | [`build`] | the package is compiled, and has the native module that cargo has built |
//! | [`types`] | tsc and tsd agree with the types |
//! | [`tests`] | Node's test runner, whose results [`summary`] counts |
//! | [`package`] | the packed files work in fresh projects, with Node.js, Bun and Deno |
//! | [`npm`](mod@npm) | a command of its own: the files of a release |
//!
//! The programs that they call are in `bindings/node/node_modules`, in the versions of
//! `package-lock.json`. Nothing is installed twice.

pub(crate) mod build;
mod files;
#[cfg(test)]
mod manifests;
pub(crate) mod npm;
pub(crate) mod package;
mod runtimes;
pub(crate) mod style;
mod summary;
pub(crate) mod tests;
pub(crate) mod types;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{root, run_download, tools};

/// The folder of the client's package.
const CLIENT: &str = "bindings/node";
/// The folder of the server's package.
const SERVER: &str = "bindings/node-server";
/// The example programs.
const EXAMPLES: [&str; 2] = ["examples/node", "examples/polyglot"];

/// The folder of the client's package, in the tree.
fn client() -> PathBuf {
    root().join(CLIENT)
}

/// A call of a program from `bindings/node/node_modules`, in `bindings/node`. Installs the
/// programs first if they are not there. `None` if that fails.
fn program(name: &str) -> Option<Command> {
    if !are_programs_installed() {
        return None;
    }
    let mut command = Command::new(client().join("node_modules/.bin").join(name));
    command.current_dir(client());
    Some(command)
}

/// Installs the packages of `package-lock.json`, unless they are installed.
fn are_programs_installed() -> bool {
    let lock = client().join("package-lock.json");
    let stamp = client().join("node_modules/.installed.json");
    let wanted = std::fs::read(&lock).ok();
    if wanted.is_some() && std::fs::read(&stamp).ok() == wanted {
        return true;
    }
    if !tools::is_node_installed() {
        return false;
    }
    println!("installing the packages of {}", lock.display());
    let mut install = npm(&client());
    install.args(["ci", "--loglevel", "error"]);
    if !run_download("npm ci", &mut install) {
        eprintln!("{} could not be installed: check the network, and try again", lock.display());
        return false;
    }
    wanted.is_some_and(|wanted| std::fs::write(stamp, wanted).is_ok())
}

/// npm, in a folder. It asks nobody about updates, and prints no advertisements.
fn npm(folder: &Path) -> Command {
    let mut npm = Command::new("npm");
    npm.current_dir(folder);
    npm.env("npm_config_update_notifier", "false");
    npm.env("npm_config_fund", "false").env("npm_config_audit", "false");
    npm
}

/// This machine, as the names of packages spell it.
fn platform() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "linux-arm64-gnu",
        _ => "linux-x64-gnu",
    }
}
