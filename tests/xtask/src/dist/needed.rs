//! The programs that the parts call.

use std::process::{Command, Stdio};

/// A program, its package in Debian, and the parts that call it; none if all do.
const NEEDED: [(&str, &str, &[&str]); 21] = [
    ("cmake", "cmake", &["libstyx"]),
    ("crun", "crun", &["image"]),
    ("debootstrap", "debootstrap", &["installation"]),
    ("dpkg-deb", "dpkg", &["binaries", "deb", "libstyx", "installation"]),
    ("find", "findutils", &["deb", "libstyx", "image", "installation"]),
    ("gcc", "gcc", &["binaries", "libstyx", "sbom"]),
    ("git", "git", &["tarballs", "deb", "libstyx", "image", "sbom"]),
    ("gzip", "gzip", &["tarballs", "deb", "libstyx", "image"]),
    ("lintian", "lintian", &["deb", "libstyx"]),
    ("make", "make", &["binaries", "libstyx"]),
    ("nsenter", "util-linux", &["installation"]),
    ("pgrep", "procps", &["installation"]),
    ("podman", "podman", &["image"]),
    ("python3", "python3", &["binaries"]),
    ("readelf", "binutils", &["binaries"]),
    ("sha256sum", "coreutils", &[]),
    ("shellcheck", "shellcheck", &["units"]),
    ("systemd-analyze", "systemd", &["units"]),
    ("ss", "iproute2", &["installation"]),
    ("tar", "tar", &["tarballs", "sbom"]),
    ("unshare", "util-linux", &["image", "installation"]),
];

/// The parts that mount file systems and change the user.
const NEED_ROOT: [&str; 2] = ["image", "installation"];

/// Checks that the programs of these parts are installed, and that this is root if one of them
/// needs it. Reports everything that is missing.
pub(super) fn are_installed(parts: &[&str]) -> bool {
    let mut missing = Vec::new();
    for (program, package, callers) in NEEDED {
        let is_called = callers.is_empty() || callers.iter().any(|part| parts.contains(part));
        if is_called && !is_installed(program) {
            eprintln!("missing: the program {program}, from Debian's package {package}");
            missing.push(package);
        }
    }
    missing.sort_unstable();
    missing.dedup();
    if !missing.is_empty() {
        eprintln!("run: apt-get install --no-install-recommends {}", missing.join(" "));
    }
    let lacks_root = parts.iter().find(|part| NEED_ROOT.contains(part)).filter(|_| !is_root());
    if let Some(part) = lacks_root {
        eprintln!("the part {part} needs root, because it mounts file systems: run it with sudo");
    }
    missing.is_empty() && lacks_root.is_none()
}

fn is_installed(program: &str) -> bool {
    let mut call = Command::new(program);
    call.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    call.status().is_ok_and(|status| status.success())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("--user").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
