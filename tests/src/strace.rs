//! A server whose system calls fail or are slow.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::{Scratch, binary};

/// A program that runs the server under `strace`, which injects this fault, as in
/// `fdatasync:error=EIO:when=30`.
///
/// # Panics
/// When it cannot be written.
#[must_use]
pub fn injecting(scratch: &Scratch, fault: &str) -> PathBuf {
    injecting_into(binary::styx(), scratch, fault)
}

/// The same with another binary.
///
/// # Panics
/// When it cannot be written.
#[must_use]
pub fn injecting_into(styx: &Path, scratch: &Scratch, fault: &str) -> PathBuf {
    let trace = scratch.join("strace").display().to_string();
    let styx = styx.display();
    let calls = fault.split(':').next().expect("the calls");
    let text = format!(
        "#!/bin/sh\nexec strace -D -f --seccomp-bpf -qq -o '{trace}' -e trace={calls} \
         -e 'inject={fault}' '{styx}' \"$@\"\n"
    );
    executable(scratch, "under-strace", &text)
}

/// Writes a script that can be run.
///
/// # Panics
/// When it cannot be written.
#[must_use]
pub fn executable(scratch: &Scratch, name: &str, text: &str) -> PathBuf {
    let path = scratch.write(name, text);
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, executable).expect("its mode can be set");
    path
}
