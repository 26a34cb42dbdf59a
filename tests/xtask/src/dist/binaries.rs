//! A static binary for each platform: it needs neither a C library nor an interpreter.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::platform::{PLATFORMS, Platform};
use super::script::{script, succeeds};
use super::{empty, place};
use crate::cross::{self, musl};
use crate::{root, tools};

/// The largest binary, in bytes.
const BYTES_MAX: u64 = 20_000_000;

/// Builds both. Each one serves, writes and reads a log.
pub(super) fn build() -> Option<()> {
    // If a build fails, the other parts must not pack what an older one has built.
    empty("binaries")?;
    let environment = cross::environment()?;
    // One that fails does not stop the other.
    let built = PLATFORMS.map(|platform| {
        place(&musl::static_styx(&environment, platform.rust)?, &platform.path(), 0o755)?;
        is_static(&platform.path())?;
        is_without_paths(&platform.path())?;
        is_small(&platform.path())?;
        works(&platform, &platform.path())
    });
    built.into_iter().collect()
}

/// Whether a binary serves, writes and reads a log.
pub(super) fn works(platform: &Platform, binary: &Path) -> Option<()> {
    let mut round_trip = script("round-trip.sh");
    platform.add_call(binary, &mut round_trip)?;
    succeeds("round-trip.sh", &mut round_trip)
}

/// Whether the kernel runs it without a loader of libraries.
fn is_static(binary: &Path) -> Option<()> {
    let output = Command::new("readelf").args(["--program-headers", "--wide"]).arg(binary).output();
    let headers = output.ok()?.stdout;
    let headers = String::from_utf8_lossy(&headers);
    let is_static = headers.contains("LOAD") && !headers.contains("INTERP");
    if !is_static {
        eprintln!("{} is not static:\n{headers}", binary.display());
    }
    is_static.then_some(())
}

/// Whether the binary says nothing about the machine that has built it.
fn is_without_paths(binary: &Path) -> Option<()> {
    let content = fs::read(binary).ok()?;
    let contains = |path: &Path| {
        let path = path.as_os_str().as_encoded_bytes();
        content.windows(path.len()).any(|window| window == path)
    };
    let folders = [root().to_path_buf(), tools::target(), musl::cargo_home()?];
    let found = folders.iter().find(|folder| contains(folder));
    if let Some(found) = found {
        eprintln!("{} contains the path {}", binary.display(), found.display());
    }
    found.is_none().then_some(())
}

fn is_small(binary: &Path) -> Option<()> {
    let size = fs::metadata(binary).ok()?.len();
    println!("{}: {size} bytes", binary.display());
    if size > BYTES_MAX {
        eprintln!("{} is larger than {BYTES_MAX} bytes", binary.display());
    }
    (size <= BYTES_MAX).then_some(())
}
