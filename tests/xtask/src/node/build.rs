//! The step `node-build`: compiles the TypeScript of the client's package, and gives it the native
//! module that the step `build` has built.
//!
//! Later steps and the conformance suite use the package where it is, in `bindings/node`.

use std::path::PathBuf;
use std::sync::OnceLock;

use super::{client, platform, program};
use crate::tally::Tally;
use crate::{run, tools};

/// See the module.
pub(crate) fn step() -> Tally {
    Tally::step(is_built())
}

/// The folder of the client's package, if it is built.
pub(crate) fn built() -> Option<PathBuf> {
    let is_complete = client().join("dist/index.js").is_file() && addon().is_file();
    is_complete.then(client)
}

/// Builds it once in a run.
pub(crate) fn is_built() -> bool {
    static BUILT: OnceLock<bool> = OnceLock::new();
    *BUILT.get_or_init(|| is_compiled() && tools::build_styx() && has_addon())
}

/// Compiles it. Modules that have been removed must not stay behind.
pub(super) fn is_compiled() -> bool {
    let Some(mut tsc) = program("tsc") else { return false };
    let _ = std::fs::remove_dir_all(client().join("dist"));
    run("tsc", tsc.args(["--project", "."]))
}

fn has_addon() -> bool {
    let library = tools::target().join("debug/libstyx_node.so");
    let addon = addon();
    // A process may use the old one, so it is not overwritten.
    let _ = std::fs::remove_file(&addon);
    let copied = std::fs::copy(&library, &addon);
    if let Err(e) = &copied {
        eprintln!("cannot copy {} to {}: {e}", library.display(), addon.display());
    }
    copied.is_ok()
}

/// Where the package finds its native module in a checkout.
fn addon() -> PathBuf {
    client().join(format!("npm/{0}/styx-client.{0}.node", platform()))
}
