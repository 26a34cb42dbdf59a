//! The list of crates in the binary, in the format CycloneDX.

use std::fs;
use std::process::{Command, Stdio};

use super::platform::HERE;
use super::script::succeeds;
use super::{empty, folder, place};
use crate::{root, tools};

/// Crates that every build contains.
const CONTAINED: [&str; 4] = ["hyper", "rustls", "tokio", "zstd-sys"];

/// Writes it.
pub(super) fn write() -> Option<()> {
    let program = tools::cargo_cyclonedx()?;
    let sources = sources()?;
    let mut list = Command::new(program);
    list.args(["cyclonedx", "--format", "json", "--spec-version", "1.5", "--quiet"]);
    list.args(["--target", HERE.rust, "--manifest-path", "server/cli/Cargo.toml"]);
    // With the time of the commit, so the same commit makes the same file.
    list.env("SOURCE_DATE_EPOCH", super::tarballs::commit_time()?.to_string());
    succeeds("cargo cyclonedx", list.current_dir(&sources))?;
    let to = folder().join(format!("styx-{}.cdx.json", tools::version()?));
    place(&sources.join("server/cli/styx.cdx.json"), &to, 0o644)?;
    let text = fs::read_to_string(&to).ok()?;
    let name = |name: &str| text.contains(&format!("\"name\": \"{name}\""));
    let missing = CONTAINED.into_iter().find(|crate_name| !name(crate_name));
    if let Some(missing) = missing {
        eprintln!("{} does not contain the crate {missing}", to.display());
    }
    missing.is_none().then_some(())
}

/// A copy of the committed sources, because cargo-cyclonedx writes a file beside each `Cargo.toml`.
fn sources() -> Option<std::path::PathBuf> {
    let folder = empty("sources")?;
    let mut archive = Command::new("git");
    archive.args(["archive", "HEAD"]).current_dir(root()).stdout(Stdio::piped());
    let mut archive = archive.spawn().ok()?;
    let mut unpack = Command::new("tar");
    unpack.arg("--extract").arg("--directory").arg(&folder).stdin(archive.stdout.take()?);
    succeeds("tar", &mut unpack)?;
    archive.wait().ok()?.success().then_some(folder)
}
