//! Debian packages. `dpkg-deb` packs a tree of files that [`Package`] collects.
//!
//! The control files and scripts of a package are in `packaging/debian/NAME`; words such as
//! `@DEBIAN_VERSION@` are replaced.

pub(super) mod library;
pub(super) mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::platform::Platform;
use super::script::{output, succeeds};
use super::{empty, entries, folder, place, report, source, tarballs, work, write};
use crate::{root, tools};

/// Nobody reads mail at this address: it is as much a placeholder as the repository's.
const MAINTAINER: &str = "Styx <styx@example.com>";

/// The files of a package while they are collected.
pub(super) struct Package {
    name: &'static str,
    architecture: &'static str,
    tree: PathBuf,
    /// More words that are replaced in control files.
    words: Vec<(&'static str, String)>,
}

/// The version as Debian orders it: a pre-release is older than its release.
pub(super) fn version() -> Option<String> {
    Some(format!("{}-1", tools::version()?.replace('-', "~")))
}

/// The file of a package that was built.
pub(super) fn file(name: &str, architecture: &str) -> Option<PathBuf> {
    Some(folder().join(format!("{name}_{}_{architecture}.deb", version()?)))
}

impl Package {
    /// A package without files.
    fn new(name: &'static str, platform: &Platform) -> Option<Package> {
        let tree = empty("deb")?.join(name);
        Some(Package { name, architecture: platform.debian, tree, words: Vec::new() })
    }

    /// Replaces `@WORD@` in the control files.
    fn replace(&mut self, word: &'static str, text: String) {
        self.words.push((word, text));
    }

    /// Adds a file.
    fn add(&self, from: &Path, to: &str, mode: u32) -> Option<()> {
        place(from, &self.tree.join(to), mode)
    }

    /// Adds a symbolic link to a file beside it.
    fn link(&self, to: &str, name: &str) -> Option<()> {
        let link = self.tree.join(name);
        let folder = link.parent()?;
        report(fs::create_dir_all(folder), "create", folder)?;
        report(std::os::unix::fs::symlink(to, &link), "create the link", &link)
    }

    /// Adds a file compressed, as documents and man pages are.
    fn add_compressed(&self, from: &Path, to: &str) -> Option<()> {
        self.add(from, to, 0o644)?;
        let mut gzip = Command::new("gzip");
        succeeds("gzip", gzip.args(["-9", "--no-name", "--force"]).arg(self.tree.join(to)))
    }

    /// Writes the control files, packs everything, and asks lintian.
    fn build(mut self) -> Option<PathBuf> {
        let documents = format!("usr/share/doc/{}", self.name);
        let copyright = self.filled(&source("debian/copyright"))?;
        write(&self.tree.join(&documents).join("copyright"), &copyright)?;
        let changes = work("deb/changelog.Debian");
        write(&changes, &self.changes()?)?;
        self.add_compressed(&changes, &format!("{documents}/changelog.Debian"))?;
        let size = output(Command::new("du").args(["-k", "-s"]).arg(&self.tree))?;
        self.replace("INSTALLED_SIZE", size.split_whitespace().next()?.to_owned());
        self.add_control_files()?;
        let file = file(self.name, self.architecture)?;
        let mut pack = Command::new("dpkg-deb");
        pack.args(["--root-owner-group", "--build"]).arg(&self.tree).arg(&file);
        // All files have the time of the commit, so the same commit makes the same package.
        pack.env("SOURCE_DATE_EPOCH", tarballs::commit_time()?.to_string());
        succeeds("dpkg-deb", &mut pack)?;
        println!("{}: {} bytes", file.display(), fs::metadata(&file).ok()?.len());
        has_no_errors(&file)?;
        Some(file)
    }

    fn add_control_files(&self) -> Option<()> {
        let control = self.tree.join("DEBIAN");
        for from in entries(&source("debian").join(self.name))? {
            let name = from.file_name()?;
            let is_script = ["postinst", "prerm", "postrm"].iter().any(|script| name == *script);
            let to = control.join(name);
            place(&from, &to, if is_script { 0o755 } else { 0o644 })?;
            report(fs::write(&to, self.filled(&from)?), "write", &to)?;
        }
        // dpkg itself keeps the checksums of the configuration.
        let md5sum = "find -type f ! -path './DEBIAN/*' ! -path './etc/*' -printf '%P\\n' \
                      | LC_ALL=C sort | xargs md5sum > DEBIAN/md5sums";
        let mut sums = Command::new("sh");
        sums.args(["-c", md5sum]);
        succeeds("md5sum", sums.current_dir(&self.tree))
    }

    /// A control file with its words replaced.
    fn filled(&self, path: &Path) -> Option<String> {
        let text = fs::read_to_string(path);
        if let Err(e) = &text {
            eprintln!("cannot read {}: {e}", path.display());
        }
        let mut text = text.ok()?;
        let words = [
            ("VERSION", tools::version()?),
            ("DEBIAN_VERSION", version()?),
            ("ARCHITECTURE", self.architecture.to_owned()),
            ("MAINTAINER", MAINTAINER.to_owned()),
            ("REPOSITORY", repository()?),
        ];
        for (word, value) in self.words.iter().chain(&words) {
            text = text.replace(&format!("@{word}@"), value);
        }
        Some(text)
    }

    /// Debian's list of changes, which refers to ours.
    fn changes(&self) -> Option<String> {
        let date = format!("@{}", tarballs::commit_time()?);
        let date = output(Command::new("date").args(["--utc", "-R", "-d", &date]))?;
        Some(format!(
            "{} ({}) unstable; urgency=medium\n\n  * Release {}: see CHANGELOG.md of Styx.\n\n -- {MAINTAINER}  {date}",
            self.name,
            version()?,
            tools::version()?,
        ))
    }
}

/// The address of the repository in `Cargo.toml`.
fn repository() -> Option<String> {
    let text = fs::read_to_string(root().join("Cargo.toml")).ok()?;
    let repository = text.lines().find_map(|line| line.strip_prefix("repository = "))?;
    Some(repository.trim_matches('"').to_owned())
}

/// Asks lintian for errors. Its warnings are printed.
fn has_no_errors(file: &Path) -> Option<()> {
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error", "--tag-display-limit", "0"]).arg(file);
    succeeds("lintian", &mut lintian)
}
