//! Debian packages, also of another processor, unpacked into a folder of `target/`.
//!
//! This needs no root and changes nothing on the machine: apt gets a state of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run;

/// The processor of this machine, as Debian calls it.
pub(crate) const THIS_MACHINE: &[&str] =
    if cfg!(target_arch = "aarch64") { &["arm64"] } else { &["amd64"] };

/// A folder for packages.
pub(crate) struct Packages {
    folder: PathBuf,
    /// Debian's names of processors. Packages are for the first one unless they name another.
    architectures: &'static [&'static str],
    /// The packages that need not be downloaded, in a file of dpkg.
    installed: PathBuf,
}

impl Packages {
    /// In addition to what this machine has.
    pub(crate) fn besides_installed(
        folder: PathBuf,
        architectures: &'static [&'static str],
    ) -> Packages {
        Packages { folder, architectures, installed: "/var/lib/dpkg/status".into() }
    }

    /// With everything that they depend on.
    pub(crate) fn complete(folder: PathBuf, architectures: &'static [&'static str]) -> Packages {
        let installed = folder.join("none");
        Packages { folder, architectures, installed }
    }

    /// The folder in which the packages are unpacked: `install` with their dependencies,
    /// `download` alone. They are downloaded once. `None` if that fails.
    pub(crate) fn unpacked(&self, install: &[&str], download: &[&str]) -> Option<PathBuf> {
        let root = self.folder.join("root");
        let stamp = self.folder.join("unpacked.txt");
        let wanted = format!("{install:?} {download:?}\n");
        if fs::read_to_string(&stamp).is_ok_and(|unpacked| unpacked == wanted) {
            return Some(root);
        }
        println!("downloading Debian packages into {}", self.folder.display());
        let archives = self.folder.join("cache/archives");
        let _ = fs::remove_dir_all(&self.folder);
        fs::create_dir_all(archives.join("partial")).ok()?;
        fs::create_dir_all(self.folder.join("state/lists/partial")).ok()?;
        fs::create_dir_all(&root).ok()?;
        fs::write(self.folder.join("none"), "").ok()?;
        let fetched = self.apt_get(&["update"], &[])
            && self.apt_get(&["install", "--reinstall", "--download-only"], install)
            && (download.is_empty() || self.apt_get(&["download"], download));
        if !(fetched && unpack_all(&archives, &root)) {
            let names = [install, download].concat().join(", ");
            eprintln!(
                "missing: the Debian packages {names}. Use Debian 12 or newer with its security updates"
            );
            return None;
        }
        fs::write(stamp, wanted).ok()?;
        Some(root)
    }

    fn apt_get(&self, call: &[&str], packages: &[&str]) -> bool {
        let mut apt = Command::new("apt-get");
        // `download` writes into the current directory.
        apt.args(call).args(["-qq", "--yes", "--no-install-recommends"]);
        apt.args(packages).current_dir(self.folder.join("cache/archives"));
        let mut set = |name: &str, value: &Path| {
            apt.arg("-o").arg(format!("{name}={}", value.display()));
        };
        set("Dir::State", &self.folder.join("state"));
        set("Dir::State::status", &self.installed);
        set("Dir::Cache", &self.folder.join("cache"));
        set("Debug::NoLocking", Path::new("1"));
        set("APT::Architecture", Path::new(self.architectures.first().copied().unwrap_or("")));
        for architecture in self.architectures {
            set("APT::Architectures::", Path::new(architecture));
        }
        run("apt-get", &mut apt)
    }
}

fn unpack_all(archives: &Path, root: &Path) -> bool {
    let files = fs::read_dir(archives).into_iter().flatten().flatten().map(|file| file.path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .all(|archive| run("dpkg", Command::new("dpkg").arg("-x").arg(archive).arg(root)))
}
