//! The directory of one log: recognises it among other directories, locks it if it is behind a
//! symbolic link, and removes its files.
//!
//! Users link logs to other disks, and leave their own files in the data directory. Invariant:
//! nothing is removed that does not have the name and place of a log's file, and nothing that has
//! the name of a new log is replaced.

use std::io;
use std::path::{Path, PathBuf};

use crate::data_directory::LOCK;
use crate::manifest::{self, Manifest};
use crate::segment::name::{self, CURSORS, FileName, MANIFEST, TORN_TAIL};
use crate::storage::{DirectoryEntry, Lock, Storage, if_there, read_file};
use crate::{Error, data_directory};

/// Whether this is the name of a folder with segments.
pub(crate) fn is_generation(name: &str) -> bool {
    name.parse::<u64>().is_ok_and(|number| number.to_string() == name)
}

/// Whether a directory with these entries is the directory of a log, intact or damaged.
pub(crate) fn is_log(storage: &dyn Storage, directory: &Path, entries: &[DirectoryEntry]) -> bool {
    has_manifest(storage, directory, entries) || has_segments(storage, directory, entries)
}

/// Whether a folder of segments contains one, or a watermark.
fn has_segments(storage: &dyn Storage, directory: &Path, entries: &[DirectoryEntry]) -> bool {
    let is_ours =
        |name: &str| matches!(name::parse(name), FileName::Segment(_) | FileName::Watermark);
    entries.iter().filter(|entry| is_generation(&entry.name)).any(|folder| {
        let files = storage.list(&directory.join(&folder.name));
        files.is_ok_and(|files| files.iter().any(|file| is_ours(&file.name)))
    })
}

/// Whether the manifest was written by Styx. It may be damaged. One that cannot be read counts too,
/// so that the status of the log tells why.
fn has_manifest(storage: &dyn Storage, directory: &Path, entries: &[DirectoryEntry]) -> bool {
    if entries.iter().all(|entry| entry.is_dir || entry.name != MANIFEST) {
        return false;
    }
    match read_file(storage, &directory.join(MANIFEST), manifest::BYTES_MAX) {
        Ok(bytes) => bytes.starts_with(manifest::START) || Manifest::decode(&bytes).is_ok(),
        Err(error) => {
            !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::FileTooLarge)
        }
    }
}

/// A description of the file or directory that has a name, and whether it is a log.
#[derive(Debug)]
pub(crate) struct Found {
    /// Such as "an empty directory".
    pub(crate) what: String,
    pub(crate) is_log: bool,
}

/// Examines what exists at a path.
pub(crate) fn examine(storage: &dyn Storage, path: &Path) -> Found {
    let not_a_log = |what: String| Found { what, is_log: false };
    let target = match storage.link_target(path) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return not_a_log("a symbolic link to nothing".into());
        }
        Err(error) => {
            return not_a_log(format!("a symbolic link that cannot be followed ({error})"));
        }
    };
    let (what, is_log) = match storage.list(path) {
        Ok(entries) if entries.is_empty() => ("an empty directory".to_owned(), false),
        Ok(entries) if is_log(storage, path, &entries) => ("the directory of a log".into(), true),
        Ok(_) => ("a directory with other files".into(), false),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::NotFound) =>
        {
            ("a file".into(), false)
        }
        Err(error) => (format!("a directory that cannot be read ({error})"), false),
    };
    match target {
        Some(target) => {
            Found { what: format!("a symbolic link to {}, {what}", target.display()), is_log }
        }
        None => Found { what, is_log },
    }
}

/// The error for a new log whose name is taken by something that the server does not serve.
pub(crate) fn name_taken(storage: &dyn Storage, directory: &Path) -> Error {
    let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let entries = directory.parent().and_then(|data| storage.list(data).ok()).unwrap_or_default();
    let other = entries.iter().find(|entry| entry.name.eq_ignore_ascii_case(&name));
    let (what, advice) = match other {
        Some(other) if entries.iter().all(|entry| entry.name != name) => (
            format!("the same name as {}, because this file system ignores case", other.name),
            "choose another name".to_owned(),
        ),
        _ => match examine(storage, directory) {
            Found { what, is_log: true } => (
                format!("{what}, which this server does not serve"),
                format!("{}, or choose another name", how_to_adopt(&name)),
            ),
            Found { what, .. } => (what, "move it away, or choose another name".to_owned()),
        },
    };
    Error::NameTaken { path: directory.to_owned(), what, advice }
}

/// The error for something that has the name of a log but is not served.
pub(crate) fn not_served(storage: &dyn Storage, directory: &Path) -> Error {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let Found { what, is_log } = examine(storage, directory);
    let advice = match is_log {
        true => how_to_adopt(&name),
        false => "choose another name, or put the directory of a log there".to_owned(),
    };
    Error::NotServed { path: directory.to_owned(), what, advice }
}

fn how_to_adopt(name: &str) -> String {
    format!("serve it with POST /logs/{name}/adopt or `styx logs adopt {name}`")
}

/// Locks a log that is behind a symbolic link, because the lock of the data directory does not
/// protect it. Returns no locks if `directory` is not a link.
///
/// The first lock is in the log's own directory, for servers that link to it too. The second lock is
/// that of the data directory that contains it, if there is one.
pub(crate) fn lock_linked(
    storage: &dyn Storage,
    directory: &Path,
) -> Result<Vec<Box<dyn Lock>>, Error> {
    let target = storage.link_target(directory).map_err(Error::io("cannot follow", directory))?;
    let Some(target) = target else { return Ok(Vec::new()) };
    let above = target.parent().unwrap_or(&target);
    let in_use = |error: Error| match error {
        Error::DataDirectory { message } => Error::DataDirectory {
            message: format!(
                "{} is a symbolic link to {}, which another log or server uses: {message}",
                directory.display(),
                target.display()
            ),
        },
        error => error,
    };
    let mut locks = Vec::new();
    // Without a lock file, it is not the data directory of a server.
    if let Ok(lock) = data_directory::lock_for_reading(storage, above).map_err(in_use)? {
        locks.push(lock);
    }
    locks.push(data_directory::lock_directory(storage, &target).map_err(in_use)?);
    Ok(locks)
}

/// Finds something in a log's directory that is not one of the log's files.
pub(crate) fn foreign_file(storage: &dyn Storage, directory: &Path) -> io::Result<Option<PathBuf>> {
    for entry in storage.list(directory)? {
        let path = directory.join(&entry.name);
        match kind(storage, &path, &entry) {
            Kind::File => {}
            Kind::Other => return Ok(Some(path)),
            Kind::Generation => {
                let files = list_if_there(storage, &path)?;
                if let Some(foreign) = files.iter().find(|file| !is_segment_file(file)) {
                    return Ok(Some(path.join(&foreign.name)));
                }
            }
        }
    }
    Ok(None)
}

/// Removes the files of a log, but not its directory. Returns something that was kept because it is
/// not one of the log's files.
pub(crate) fn remove_files(storage: &dyn Storage, directory: &Path) -> io::Result<Option<PathBuf>> {
    let mut entries = list_if_there(storage, directory)?;
    // Without a manifest, a log that is removed only partly cannot be opened.
    entries.sort_by_key(|entry| entry.name != MANIFEST);
    let mut kept = None;
    for entry in entries {
        let path = directory.join(&entry.name);
        match kind(storage, &path, &entry) {
            Kind::File => if_there(storage.remove_file(&path))?,
            Kind::Other => kept = Some(path),
            Kind::Generation => kept = remove_generation(storage, &path)?.or(kept),
        }
    }
    Ok(kept)
}

/// Removes a folder with segments. Returns something that was kept because it is not ours; the
/// folder is kept then too.
pub(crate) fn remove_generation(
    storage: &dyn Storage,
    folder: &Path,
) -> io::Result<Option<PathBuf>> {
    let mut kept = None;
    for entry in list_if_there(storage, folder)? {
        let path = folder.join(&entry.name);
        match is_segment_file(&entry) {
            true => if_there(storage.remove_file(&path))?,
            false => kept = Some(path),
        }
    }
    match kept {
        Some(kept) => Ok(Some(kept)),
        None => if_there(remove_link_or_dir(storage, folder)).map(|()| None),
    }
}

/// Removes the directory of a log, or the link to it, with the files of the log. Returns something
/// that was kept because it is not one of the log's files. A directory that contains it is kept; the
/// directory behind a link is always kept.
pub(crate) fn remove(storage: &dyn Storage, directory: &Path) -> io::Result<Option<PathBuf>> {
    let kept = remove_files(storage, directory)?;
    if kept.is_none() || is_link(storage, directory) {
        remove_link_or_dir(storage, directory)?;
    }
    Ok(kept)
}

/// Whether the path is a symbolic link, perhaps to nothing.
pub(crate) fn is_link(storage: &dyn Storage, path: &Path) -> bool {
    match storage.link_target(path) {
        Ok(target) => target.is_some(),
        // If the path itself exists, it is a link that leads to nothing.
        Err(_) => storage.exists(path).unwrap_or(false),
    }
}

fn remove_link_or_dir(storage: &dyn Storage, path: &Path) -> io::Result<()> {
    match is_link(storage, path) {
        true => storage.remove_file(path),
        false => storage.remove_dir(path),
    }
}

/// As [`Storage::list`], but without an error if the directory, or what a link leads to, is missing.
fn list_if_there(storage: &dyn Storage, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
    match storage.list(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed,
    }
}

/// What an entry of a log's directory is.
enum Kind {
    File,
    /// A folder with segments, or a link to one.
    Generation,
    Other,
}

fn kind(storage: &dyn Storage, path: &Path, entry: &DirectoryEntry) -> Kind {
    match entry.name.as_str() {
        name if is_generation(name) && (entry.is_dir || is_link(storage, path)) => Kind::Generation,
        _ if entry.is_dir => Kind::Other,
        MANIFEST | CURSORS | LOCK => Kind::File,
        name if name::parse(name) == FileName::Temporary => Kind::File,
        _ => Kind::Other,
    }
}

fn is_segment_file(entry: &DirectoryEntry) -> bool {
    let is_ours = entry.name == TORN_TAIL || name::parse(&entry.name) != FileName::Other;
    is_ours && !entry.is_dir
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the tests prepare files")]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::storage::RealStorage;

    /// A directory with the files of a log.
    fn log_in(directory: &Path) {
        let segments = directory.join("0");
        fs::create_dir_all(&segments).expect("created");
        fs::write(directory.join(MANIFEST), manifest::START).expect("written");
        fs::write(directory.join(CURSORS), b"x").expect("written");
        for name in ["watermark", "00000000000000000000.seg", "torn-tail"] {
            fs::write(segments.join(name), b"x").expect("written");
        }
    }

    fn found(path: &Path) -> (String, bool) {
        let Found { what, is_log } = examine(&RealStorage, path);
        (what, is_log)
    }

    #[test]
    fn only_the_files_of_a_log_are_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("log");
        log_in(&log);
        assert_eq!(foreign_file(&RealStorage, &log).expect("listed"), None);
        fs::write(log.join("0/notes.tmp"), b"x").expect("written");
        fs::create_dir(log.join("007")).expect("created");
        fs::write(log.join("8"), b"x").expect("written");
        assert!(foreign_file(&RealStorage, &log).expect("listed").is_some());
        assert!(remove(&RealStorage, &log).expect("removed").is_some());
        let rest = |path: &Path| {
            let mut names: Vec<_> =
                RealStorage.list(path).expect("kept").into_iter().map(|entry| entry.name).collect();
            names.sort();
            names
        };
        assert_eq!(rest(&log), ["0", "007", "8"]);
        assert_eq!(rest(&log.join("0")), ["notes.tmp"]);

        let log = directory.path().join("other");
        log_in(&log);
        assert_eq!(remove(&RealStorage, &log).expect("removed"), None);
        assert!(!log.exists());
    }

    #[test]
    fn removing_a_linked_log_keeps_the_directory_behind_the_link() {
        let directory = tempfile::tempdir().expect("a directory");
        let (link, target) = (directory.path().join("log"), directory.path().join("disk"));
        log_in(&target);
        fs::write(target.join("notes"), b"x").expect("written");
        symlink(&target, &link).expect("linked");
        assert_eq!(remove(&RealStorage, &link).expect("removed"), Some(link.join("notes")));
        assert!(!link.is_symlink());
        assert_eq!(RealStorage.list(&target).expect("kept").len(), 1);
    }

    #[test]
    fn logs_are_told_from_other_directories_files_and_links() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        log_in(&path("log"));
        assert_eq!(found(&path("log")), ("the directory of a log".into(), true));
        fs::remove_file(path("log").join(MANIFEST)).expect("removed");
        assert!(found(&path("log")).1, "its manifest is lost");
        fs::create_dir(path("empty")).expect("created");
        assert_eq!(found(&path("empty")), ("an empty directory".into(), false));
        fs::create_dir_all(path("foreign/2026")).expect("created");
        fs::write(path("foreign/log.toml"), "level = 3").expect("written");
        assert_eq!(found(&path("foreign")), ("a directory with other files".into(), false));
        assert_eq!(found(&path("foreign/log.toml")), ("a file".into(), false));
        symlink(path("nothing"), path("dangling")).expect("linked");
        assert_eq!(found(&path("dangling")), ("a symbolic link to nothing".into(), false));
        symlink(path("loop"), path("loop")).expect("linked");
        assert!(found(&path("loop")).0.starts_with("a symbolic link that cannot be followed"));
        symlink(path("log"), path("linked")).expect("linked");
        let (what, is_log) = found(&path("linked"));
        assert!(is_log && what.starts_with("a symbolic link to /"), "{what}");
    }

    #[test]
    fn a_taken_name_says_what_has_it_and_what_to_do() {
        let directory = tempfile::tempdir().expect("a directory");
        log_in(&directory.path().join("log"));
        let taken = |name: &str| name_taken(&RealStorage, &directory.path().join(name)).to_string();
        assert!(taken("log").contains("`styx logs adopt log`"), "{}", taken("log"));
        // On a file system that ignores case, the creation of LOG fails because of log.
        assert!(taken("LOG").contains("ignores case"), "{}", taken("LOG"));
        fs::write(directory.path().join("file"), b"x").expect("written");
        assert!(taken("file").contains("it is a file; move it away"), "{}", taken("file"));
    }
}
