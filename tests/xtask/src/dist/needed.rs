//! The programs that the parts call.

use std::process::{Command, Stdio};

/// A program and its package in Debian.
const NEEDED: [(&str, &str); 18] = [
    ("cmake", "cmake"),
    ("crun", "crun"),
    ("debootstrap", "debootstrap"),
    ("dpkg-deb", "dpkg"),
    ("gcc", "gcc"),
    ("git", "git"),
    ("gzip", "gzip"),
    ("lintian", "lintian"),
    ("pgrep", "procps"),
    ("podman", "podman"),
    ("python3", "python3"),
    ("readelf", "binutils"),
    ("sha256sum", "coreutils"),
    ("shellcheck", "shellcheck"),
    ("ss", "iproute2"),
    ("systemd-analyze", "systemd"),
    ("tar", "tar"),
    ("unshare", "util-linux"),
];

/// Checks that all of them are installed, and that this is root. Reports everything that is missing.
pub(super) fn are_installed() -> bool {
    let mut missing = Vec::new();
    for (program, package) in NEEDED {
        let mut call = Command::new(program);
        call.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if !call.status().is_ok_and(|status| status.success()) {
            missing.push(package);
        }
    }
    if !missing.is_empty() {
        eprintln!("missing: apt-get install --no-install-recommends {}", missing.join(" "));
    }
    let id = Command::new("id").arg("--user").output();
    let is_root = id.is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    if !is_root {
        eprintln!(
            "cargo xtask dist needs root, for the installation of packages in a Debian system"
        );
    }
    missing.is_empty() && is_root
}
