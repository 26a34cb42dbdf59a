//! The Debian packages in a new Debian system.
//!
//! debootstrap makes the system once, from the mirror that this machine's apt uses. Each test
//! works on a copy of it that is thrown away.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::platform::HERE;
use super::script::{script, succeeds};
use super::{deb, report, source, work};
use crate::root;

/// What the system contains in addition to the essential packages: what `styx` depends on, a
/// compiler for programs with libstyx, and systemd.
const PACKAGES: &str =
    "adduser,cmake,dbus,g++,init-system-helpers,libc6-dev,make,pkgconf,systemd,systemd-sysv";

/// Installs, upgrades, removes and purges the packages, and uses them in between.
pub(super) fn works() -> Option<()> {
    let mut packages = Vec::new();
    for (name, part) in [("styx", "deb"), ("libstyx1", "libstyx"), ("libstyx-dev", "libstyx")] {
        let file = deb::file(name, HERE.debian)?;
        if !file.exists() {
            eprintln!("there is no {}: run `cargo xtask dist --only {part}`", file.display());
            return None;
        }
        packages.push(file);
    }
    let system = system()?;
    let mut results = Vec::new();
    for test in ["debian.sh", "systemd.sh"] {
        println!("\n--> {test}");
        let mut command = script(test);
        command.arg(&system).arg(root()).args(&packages);
        results.push(succeeds(test, &mut command));
    }
    results.into_iter().collect()
}

/// A Debian system in a folder.
fn system() -> Option<PathBuf> {
    let folder = work("debian");
    let stamp = work("debian.txt");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == PACKAGES) {
        return Some(folder);
    }
    let (mirror, suite) = mirror()?;
    println!("making a Debian system of {suite} with debootstrap, which takes about two minutes");
    let _ = fs::remove_dir_all(&folder);
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", &format!("--include={PACKAGES}"), &suite]);
    debootstrap.arg(&folder).arg(mirror);
    succeeds("debootstrap", &mut debootstrap)?;
    report(fs::write(&stamp, PACKAGES), "write", &stamp)?;
    Some(folder)
}

/// The address of apt's mirror of Debian, and the name of the release.
fn mirror() -> Option<(String, String)> {
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI) $(CODENAME)"]);
    let output = targets.arg("Created-By: Packages").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let [origin, label, mirror, suite] =
            [words.next()?, words.next()?, words.next()?, words.next()?];
        // Not the updates of the release, which have the same label.
        let is_release = origin == "Debian" && label == "Debian" && !suite.contains('-');
        is_release.then(|| (mirror.to_owned(), suite.to_owned()))
    });
    if found.is_none() {
        eprintln!("apt has no mirror of Debian in {}: {text}", source("").display());
    }
    found
}
