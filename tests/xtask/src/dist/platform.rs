//! [`PLATFORMS`]: the processors for which there are packages.

use std::path::PathBuf;
use std::process::Command;

use super::work;
use crate::cross::musl;

/// A processor, with Linux.
pub(super) struct Platform {
    /// As the kernel calls it.
    pub(super) name: &'static str,
    /// As Debian and containers call it.
    pub(super) debian: &'static str,
    /// As Rust calls it, with the C library of static binaries.
    pub(super) rust: &'static str,
    /// Whether qemu runs its programs here.
    emulated: bool,
}

/// The first one is that of this machine.
pub(super) const PLATFORMS: [Platform; 2] = [
    Platform {
        name: "x86_64",
        debian: "amd64",
        rust: "x86_64-unknown-linux-musl",
        emulated: false,
    },
    Platform {
        name: "aarch64",
        debian: "arm64",
        rust: "aarch64-unknown-linux-musl",
        emulated: true,
    },
];

/// That of this machine.
pub(super) const HERE: &Platform = &PLATFORMS[0];

impl Platform {
    /// Where the part `binaries` puts the static binary.
    pub(super) fn path(&self) -> PathBuf {
        work("binaries").join(self.name).join("styx")
    }

    /// The static binary. Reports it if the part `binaries` has not built it.
    pub(super) fn binary(&self) -> Option<PathBuf> {
        let path = self.path();
        if !path.exists() {
            eprintln!("there is no {}: run `cargo xtask dist --only binaries`", path.display());
        }
        path.exists().then_some(path)
    }

    /// Adds a call of a program of this platform to the arguments of a command.
    pub(super) fn add_call(&self, program: &std::path::Path, to: &mut Command) -> Option<()> {
        if self.emulated {
            to.arg(musl::qemu_aarch64()?);
        }
        to.arg(program);
        Some(())
    }
}
