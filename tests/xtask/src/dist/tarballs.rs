//! An archive for each platform: the binary, the license, man pages, completions, and the units
//! and scripts for those who install without a package.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::platform::{PLATFORMS, Platform};
use super::script::succeeds;
use super::{CONTRIB, binaries, empty, entries, folder, manual, place, source};
use crate::{root, tools};

/// Builds them, and uses the binary of each after it is unpacked.
pub(super) fn build() -> Option<()> {
    PLATFORMS.iter().try_for_each(|platform| {
        let archive = pack(platform)?;
        let unpacked = empty("unpacked")?;
        let mut unpack = Command::new("tar");
        unpack.arg("--extract").arg("--file").arg(&archive).arg("--directory").arg(&unpacked);
        succeeds("tar", &mut unpack)?;
        binaries::works(platform, &unpacked.join(name(platform)?).join("styx"))
    })
}

/// The name of the archive, and of the folder in it.
fn name(platform: &Platform) -> Option<String> {
    Some(format!("styx-{}-{}-linux", tools::version()?, platform.name))
}

fn pack(platform: &Platform) -> Option<PathBuf> {
    let name = name(platform)?;
    let tree = empty("tarball")?;
    let content = tree.join(&name);
    place(&platform.binary()?, &content.join("styx"), 0o755)?;
    for document in ["LICENSE", "README.md", "CHANGELOG.md"] {
        place(&root().join(document), &content.join(document), 0o644)?;
    }
    manual::place_all(&content)?;
    place(&source("styx.toml"), &content.join("styx.toml"), 0o644)?;
    for unit in entries(&source("systemd"))? {
        place(&unit, &content.join("systemd").join(unit.file_name()?), 0o644)?;
    }
    for script in entries(&source("scripts"))? {
        place(&script, &content.join("scripts").join(script.file_name()?), 0o755)?;
    }
    for file in CONTRIB {
        place(&root().join(file), &content.join(file), 0o644)?;
    }
    let archive = folder().join(format!("{name}.tar.gz"));
    let mut pack = reproducible_tar()?;
    pack.arg("--use-compress-program=gzip -9 --no-name")
        .arg("--file")
        .arg(&archive)
        .arg("--directory")
        .arg(&tree)
        .arg(&name);
    succeeds("tar", &mut pack)?;
    println!("{}: {} bytes", archive.display(), fs::metadata(&archive).ok()?.len());
    Some(archive)
}

/// A call of tar that creates the same archive from the same files.
fn reproducible_tar() -> Option<Command> {
    let mut tar = Command::new("tar");
    tar.args(["--create", "--sort=name", "--owner=0", "--group=0", "--numeric-owner"]);
    tar.arg(format!("--mtime=@{}", commit_time()?));
    Some(tar)
}

/// When the current commit was made, in seconds since 1970: the time of all files.
pub(super) fn commit_time() -> Option<u64> {
    let mut log = Command::new("git");
    log.args(["log", "-1", "--format=%ct"]).current_dir(root());
    String::from_utf8(log.output().ok()?.stdout).ok()?.trim().parse().ok()
}
