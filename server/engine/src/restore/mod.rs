//! Creates a log from the archive of a backup. The archive is untrusted input.
//!
//! ```text
//! gzip ─▶ tar ─▶ check names, types, sizes ─▶ check blocks while copying ─▶
//! temporary directory ─▶ new log id ─▶ verify the log, sync it ─▶ rename
//! ```
//!
//! A restore accepts only the files that a backup writes, each once and in any order. It skips what
//! programs add when they pack a directory. [`legacy`] converts an archive of Styx 0.x while it is
//! read, so its segments must be in order. The memory use does not depend on the sizes in the
//! archive. The restore fails at the first bytes that are not a block, so a small archive of
//! compressed zeros cannot fill the disk.

mod backup_archive;
mod entry_names;
mod gzip_members;

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use styx_protocol::{LogId, Position};

use self::backup_archive::BackupArchive;
use self::entry_names::EntryNames;
use self::gzip_members::GzipMembers;
use crate::backup::FOLDER;
use crate::cursors::CursorTable;
use crate::format::NewerFormat;
use crate::manifest::Manifest;
use crate::segment::name;
use crate::storage::{Storage, replace_file};
use crate::{Error, cursors, legacy, log_directory, verify};

/// At most this many zeros may follow the last entry: 1 MiB, which is more than tar's padding.
const PADDING_BYTES_MAX: usize = 1 << 20;

/// Builds a log in `temporary`, renames it to `directory`, and syncs the data directory. If
/// building or renaming fails, `temporary` is removed. Nothing that has the name `directory` is
/// changed.
pub(crate) fn place<E: From<Error>>(
    storage: &dyn Storage,
    temporary: &Path,
    directory: &Path,
    build: impl FnOnce() -> Result<(), E>,
) -> Result<(), E> {
    let built = build().and_then(|()| {
        storage.rename_new(temporary, directory).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty => {
                E::from(log_directory::name_taken(storage, directory))
            }
            _ => E::from(Error::io("cannot rename the new log to", directory)(error)),
        })
    });
    if built.is_err() {
        let _ = storage.remove_dir_all(temporary);
    }
    built?;
    let data = directory.parent().unwrap_or(directory);
    storage.sync_dir(data).map_err(Error::io("cannot sync", data)).map_err(E::from)
}

/// Unpacks an archive into `directory`, which must not exist. Then verifies the log, gives it
/// the new id `id`, and makes it durable. Asks `room` before it writes a file of that many bytes.
///
/// # Errors
/// [`Error::BadArchive`] if the archive is invalid, an error of `room`, or an I/O error.
pub(crate) fn unpack(
    storage: &Arc<dyn Storage>,
    directory: &Path,
    id: LogId,
    now_us: u64,
    archive: &mut dyn Read,
    room: &dyn Fn(u64) -> Result<(), Error>,
) -> Result<(), Error> {
    create(&**storage, directory)?;
    let mut unpacking = Unpacking::Backup(BackupArchive::begin(&**storage, directory));
    let mut archive = tar::Archive::new(GzipMembers::new(archive));
    let mut names = EntryNames::default();
    // `raw` returns tar extensions as entries. Otherwise the tar library would read them into
    // memory, whatever their size is.
    let entries = archive.entries().map_err(unreadable)?.raw(true);
    for entry in entries {
        let mut entry = entry.map_err(unreadable)?;
        let Some(path) = names.next(&mut entry)? else { continue };
        let size = entry.header().size().map_err(unreadable)?;
        room(size)?;
        match &mut unpacking {
            Unpacking::Backup(backup) if path == legacy::CONFIG && backup.is_empty() => {
                let old = legacy::Archive::begin(storage, directory, now_us, size, &mut entry)?;
                unpacking = Unpacking::Legacy(Box::new(old));
            }
            Unpacking::Backup(backup) if backup.is_empty() && legacy::is_segment(&path) => {
                return Err(bad_archive(format!(
                    "{path:?} is before {:?} in the archive ({})",
                    legacy::CONFIG,
                    legacy::REPACK
                )));
            }
            Unpacking::Backup(backup) => backup.entry(&path, size, &mut entry)?,
            Unpacking::Legacy(archive) => archive.entry(&path, size, &mut entry)?,
        }
    }
    names.finish()?;
    check_padding(&mut archive.into_inner())?;
    let (config, cursors) = match unpacking {
        Unpacking::Backup(backup) => backup.finish()?,
        Unpacking::Legacy(archive) => (archive.finish()?, None),
    };
    let end = complete(&**storage, directory, Manifest::new(id, 0, config))?;
    match cursors {
        Some(cursors) => place_cursors(&**storage, directory, cursors, id, end),
        None => Ok(()),
    }
}

/// Gives the new log the cursors of the old one. Its positions are those of the old log, so the
/// cursors get its id.
fn place_cursors(
    storage: &dyn Storage,
    directory: &Path,
    mut cursors: CursorTable,
    id: LogId,
    end: Position,
) -> Result<(), Error> {
    for (name, entry) in &mut cursors.cursors {
        if entry.position > end {
            return Err(bad_archive(format!(
                "the cursor {name} has position {}, but the log ends at {end}",
                entry.position
            )));
        }
        entry.log_id = id;
    }
    let path = cursors::path(directory);
    replace_file(storage, &path, &cursors.encode()).map_err(Error::io("cannot write", path))
}

/// Creates a log's directory, with an empty generation folder.
pub(crate) fn create(storage: &dyn Storage, directory: &Path) -> Result<(), Error> {
    let failed = |doing| Error::io(doing, directory);
    storage.create_dir(directory).map_err(failed("cannot create"))?;
    storage.create_dir(&directory.join(FOLDER)).map_err(failed("cannot create"))
}

/// Writes the manifest of an otherwise complete log, verifies every block of the log, and syncs
/// its generation folder. Returns the position after its last record.
///
/// # Errors
/// [`Error::BadArchive`] if the log is damaged or has a torn tail, or an I/O error.
pub(crate) fn complete(
    storage: &dyn Storage,
    directory: &Path,
    manifest: Manifest,
) -> Result<Position, Error> {
    let path = directory.join(name::MANIFEST);
    replace_file(storage, &path, manifest.encode().as_bytes())
        .map_err(Error::io("cannot write", &path))?;
    let report = verify::verify_log(storage, directory, &mut |_| {});
    if let Some(NewerFormat { file, format }) = report.newer {
        let file = file.file_name().unwrap_or_default().into();
        return Err(bad_archive(NewerFormat { file, format }.to_string()));
    }
    if let Some(problem) = report.problems.first() {
        let file = problem.file.file_name().unwrap_or_default().to_string_lossy();
        return Err(bad_archive(format!("{file}, byte {}: {}", problem.offset, problem.message)));
    }
    if let Some(note) = report.notes.first() {
        return Err(bad_archive(note.as_str()));
    }
    let folder = directory.join(FOLDER);
    storage.sync_dir(&folder).map_err(Error::io("cannot sync", folder))?;
    Ok(report.end)
}

/// A restore in progress, by the format of the archive.
enum Unpacking<'a> {
    Backup(BackupArchive<'a>),
    Legacy(Box<legacy::Archive>),
}

/// Reads to the end of the gzip stream, and checks that only zeros follow the last entry. The
/// decoder compares the gzip checksum only when the end is read. A tar ends with two blocks of
/// zeros, and the tar library has read only the first. So an archive without zeros was cut off
/// after an entry or a gzip member, which no checksum reveals.
fn check_padding(rest: &mut dyn Read) -> Result<(), Error> {
    let mut buffer = [0; 4096];
    let mut left = PADDING_BYTES_MAX;
    loop {
        let count = rest.read(&mut buffer).map_err(unreadable)?;
        let zeros = buffer.iter().take(count).all(|byte| *byte == 0);
        match left.checked_sub(count) {
            _ if count == 0 && left == PADDING_BYTES_MAX => {
                return Err(bad_archive("it is cut off: the end of the tar is missing"));
            }
            _ if count == 0 => return Ok(()),
            Some(less) if zeros => left = less,
            _ => {
                return Err(bad_archive(
                    "there are bytes after its end (an archive contains one log, in one tar)",
                ));
            }
        }
    }
}

pub(crate) fn bad_archive(message: impl Into<String>) -> Error {
    Error::BadArchive { message: message.into() }
}

/// The error for an entry that is not a file of the log.
pub(crate) fn misplaced(path: &str) -> Error {
    bad_archive(format!(
        "{path:?} does not belong in the archive (pack only the files of one log, in its directory: \
         `tar -czf ARCHIVE log.toml 0`, and `cursors` if it exists, or for a log of 0.x `tar -czf ARCHIVE config segment-*`; a newer \
         version of Styx may have written other files)"
    ))
}

/// Converts a failed read of an archive: an I/O error if the connection that delivers it timed
/// out or was aborted, otherwise [`Error::BadArchive`].
pub(crate) fn unreadable(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::ConnectionAborted => {
            Error::Io { doing: "cannot read", path: "the archive".into(), source: Arc::new(error) }
        }
        _ => bad_archive(error.to_string()),
    }
}
