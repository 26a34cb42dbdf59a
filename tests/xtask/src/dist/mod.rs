//! `cargo xtask dist`: the files of a release for operators, in `target/dist`.
//!
//! | module | part |
//! |---|---|
//! | [`binaries`] | a static binary for each platform |
//! | [`manual`] | man pages and shell completions, which the binary writes |
//! | [`tarballs`] | an archive for each platform |
//! | [`deb`] | Debian packages of the server and of libstyx |
//! | [`units`] | systemd's opinion of the units |
//! | [`image`] | container images, and containers of one |
//! | [`sbom`] | the list of crates |
//! | [`sums`] | checksums of all files |
//! | [`installation`] | the packages in a new Debian system |
//! | [`start`] | how long a start takes |
//!
//! The parts use what the parts before them have built. Sources of packages are in `packaging/`,
//! and so are the tests, which are shell scripts. Other files are in `target/dist/work`.

mod binaries;
mod deb;
mod image;
mod installation;
mod manual;
mod needed;
mod platform;
mod sbom;
mod script;
mod start;
mod sums;
mod tarballs;
mod units;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::{root, tools};

/// The name for `--only`, the description, and the function that builds and tests the part.
type Part = (&'static str, &'static str, fn() -> Option<()>);

const PARTS: &[Part] = &[
    ("binaries", "static binaries for x86_64 and aarch64, which run", binaries::build),
    ("manual", "man pages and shell completions", manual::write_all),
    ("tarballs", "a tar.gz for each platform, which works when it is unpacked", tarballs::build),
    ("deb", "the Debian packages of the server, without errors of lintian", deb::server::build),
    ("libstyx", "the Debian packages libstyx1 and libstyx-dev, likewise", deb::library::build),
    ("units", "systemd accepts the units, and finds them hardened", units::check),
    ("image", "container images, and containers of one of them", image::build),
    ("sbom", "the list of crates, in the format CycloneDX", sbom::write),
    ("sums", "SHA256SUMS of all these files", sums::write),
    ("installation", "the Debian packages in a new Debian system", installation::works),
    ("start", "the time of a start, which is only reported", start::measure),
];

/// Runs all parts, or the one that the arguments name.
pub(crate) fn run(arguments: &[&str]) -> bool {
    match arguments {
        [] => begin().is_some() && build(PARTS),
        ["--only", only] => match PARTS.iter().find(|(name, ..)| name == only) {
            Some(part) => build(std::slice::from_ref(part)),
            None => {
                eprintln!("there is no part {only}\n{}", usage());
                false
            }
        },
        ["--help" | "-h"] => {
            print!("{}", usage());
            true
        }
        _ => {
            eprint!("{}", usage());
            false
        }
    }
}

fn usage() -> String {
    let parts = PARTS.iter().map(|(name, what, _)| format!("  {name:14} {what}\n"));
    let parts: String = parts.collect();
    format!(
        "cargo xtask dist                build and test the files of a release, in target/dist\n\
         cargo xtask dist --only PART    one part of it, with what the other parts have built:\n\n{parts}"
    )
}

/// Removes the files of an older run, so that a whole run packs and sums nothing but its own.
fn begin() -> Option<()> {
    if !folder().exists() {
        return Some(());
    }
    for path in entries(&folder())? {
        if path.is_file() {
            report(fs::remove_file(&path), "remove", &path)?;
        }
    }
    Some(())
}

/// A part that fails does not stop the others.
fn build(parts: &[Part]) -> bool {
    let names: Vec<&str> = parts.iter().map(|(name, ..)| *name).collect();
    if !needed::are_installed(&names) {
        return false;
    }
    let start = Instant::now();
    let mut lines = Vec::new();
    let mut passed = true;
    for (name, what, build) in parts {
        println!("\n==> {name}: {what}");
        let start = Instant::now();
        let built = build().is_some();
        passed &= built;
        let verdict = if built { "ok" } else { "FAILED" };
        lines.push(format!("{verdict:6} {:7.1} s  {name}: {what}", start.elapsed().as_secs_f64()));
    }
    println!("\n{}", lines.join("\n"));
    println!("{:6} {:7.1} s", "all", start.elapsed().as_secs_f64());
    println!("\nthe files are in {}", folder().display());
    if has_changes() {
        println!("do not release them: the sources have changes that are not committed");
    }
    passed
}

/// Whether the sources differ from the commit whose time and whose list of crates the files have.
fn has_changes() -> bool {
    let mut status = Command::new("git");
    status.args(["status", "--porcelain"]).current_dir(root());
    script::output(&mut status).is_none_or(|changes| !changes.is_empty())
}

/// The folder of the finished files.
fn folder() -> PathBuf {
    tools::target().join("dist")
}

/// A folder for other files.
fn work(name: &str) -> PathBuf {
    folder().join("work").join(name)
}

/// The same, empty.
fn empty(name: &str) -> Option<PathBuf> {
    let folder = work(name);
    let _ = fs::remove_dir_all(&folder);
    report(fs::create_dir_all(&folder), "create", &folder)?;
    Some(folder)
}

/// A source file of the packages.
fn source(name: &str) -> PathBuf {
    root().join("packaging").join(name)
}

/// Copies a file to a place whose folders may not exist, and sets its mode.
fn place(from: &Path, to: &Path, mode: u32) -> Option<()> {
    use std::os::unix::fs::PermissionsExt;
    let folder = to.parent()?;
    report(fs::create_dir_all(folder), "create", folder)?;
    report(fs::copy(from, to), "copy", from)?;
    report(fs::set_permissions(to, fs::Permissions::from_mode(mode)), "set the mode of", to)
}

/// The files that an operator loads into Prometheus and Grafana, below the root of the repository.
const CONTRIB: [&str; 2] = ["contrib/grafana/styx.json", "contrib/prometheus/styx.rules.yml"];

/// Writes a file that anybody may read.
fn write(path: &Path, text: &str) -> Option<()> {
    let folder = path.parent()?;
    report(fs::create_dir_all(folder), "create", folder)?;
    report(fs::write(path, text), "write", path)
}

/// The entries of a folder, by name.
fn entries(folder: &Path) -> Option<Vec<PathBuf>> {
    let read = fs::read_dir(folder);
    if let Err(e) = &read {
        eprintln!("cannot read {}: {e}", folder.display());
    }
    let mut entries: Vec<_> = read.ok()?.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    Some(entries)
}

fn report<T>(result: std::io::Result<T>, what: &str, path: &Path) -> Option<()> {
    match result {
        Ok(_) => Some(()),
        Err(e) => {
            eprintln!("cannot {what} {}: {e}", path.display());
            None
        }
    }
}
