//! Creates a log from an archive, without trusting any byte of it.
//!
//! ```text
//! gzip ─▶ tar ─▶ names, types, sizes, order ─▶ blocks, as they stream by ─▶
//! temporary directory ─▶ new id ─▶ verified as a log, synced ─▶ renamed
//! ```
//!
//! Only the files that a backup writes are accepted, in the order in which it writes them. An
//! archive that begins like one of 0.x is converted by [`legacy`] while it is read. Memory is
//! bounded, whatever the archive claims. The first bytes that are not a block end the restore,
//! so an archive of zeros unpacks to nothing.

mod backup_archive;

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use flate2::read::GzDecoder;
use styx_protocol::LogId;

use self::backup_archive::BackupArchive;
use crate::backup::FOLDER;
use crate::manifest::Manifest;
use crate::segment::name;
use crate::storage::{Storage, replace_file};
use crate::{Error, legacy, verify};

/// The most zeros after the last entry: tar's own padding, with a wide margin.
const PADDING_BYTES_MAX: usize = 1 << 20;

/// Builds a log in `temporary` and renames it to `directory` once it is complete. A failure
/// leaves nothing behind.
pub(crate) fn place<E: From<Error>>(
    storage: &dyn Storage,
    temporary: &Path,
    directory: &Path,
    build: impl FnOnce() -> Result<(), E>,
) -> Result<(), E> {
    let built = build().and_then(|()| {
        storage
            .rename(temporary, directory)
            .map_err(Error::io("cannot rename the restored log to", directory))
            .map_err(E::from)
    });
    if built.is_err() {
        let _ = storage.remove_dir_all(temporary);
    }
    built?;
    let data = directory.parent().unwrap_or(directory);
    storage.sync_dir(data).map_err(Error::io("cannot sync", data)).map_err(E::from)
}

/// Unpacks and verifies an archive into `directory`, which must not exist, and makes it durable
/// under a new id.
pub(crate) fn unpack(
    storage: &Arc<dyn Storage>,
    directory: &Path,
    id: LogId,
    now_us: u64,
    archive: &mut dyn Read,
) -> Result<(), Error> {
    create(&**storage, directory)?;
    let mut unpacking = Unpacking::Backup(BackupArchive::begin(&**storage, directory));
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    // Raw: tar extensions are entries of a type that is refused, not allocations.
    let entries = archive.entries().map_err(unreadable)?.raw(true);
    for entry in entries {
        let mut entry = entry.map_err(unreadable)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if !entry.header().entry_type().is_file() {
            return Err(bad_archive(format!("{path:?} is not a regular file")));
        }
        let size = entry.header().size().map_err(unreadable)?;
        match &mut unpacking {
            Unpacking::Backup(backup) if path == legacy::CONFIG && backup.is_empty() => {
                let old = legacy::Archive::begin(storage, directory, now_us, size, &mut entry)?;
                unpacking = Unpacking::Legacy(Box::new(old));
            }
            Unpacking::Backup(backup) => backup.entry(&path, size, &mut entry)?,
            Unpacking::Legacy(archive) => archive.entry(&path, size, &mut entry)?,
        }
    }
    padding(&mut archive.into_inner())?;
    let config = match unpacking {
        Unpacking::Backup(backup) => backup.finish()?,
        Unpacking::Legacy(archive) => archive.finish()?,
    };
    complete(&**storage, directory, Manifest { id, generation: 0, config })
}

/// Creates the directories of a log.
pub(crate) fn create(storage: &dyn Storage, directory: &Path) -> Result<(), Error> {
    let failed = |doing| Error::io(doing, directory);
    storage.create_dir(directory).map_err(failed("cannot create"))?;
    storage.create_dir(&directory.join(FOLDER)).map_err(failed("cannot create"))
}

/// Writes the manifest of an otherwise complete log, verifies the log from its first byte to
/// its last, and makes it durable.
pub(crate) fn complete(
    storage: &dyn Storage,
    directory: &Path,
    manifest: Manifest,
) -> Result<(), Error> {
    let path = directory.join(name::MANIFEST);
    replace_file(storage, &path, manifest.encode().as_bytes())
        .map_err(Error::io("cannot write", &path))?;
    let report = verify::verify_log(storage, directory, &mut |_| {});
    if let Some(problem) = report.problems.first() {
        let file = problem.file.file_name().unwrap_or_default().to_string_lossy();
        return Err(bad_archive(format!("{file}, byte {}: {}", problem.offset, problem.message)));
    }
    if let Some(note) = report.notes.first() {
        return Err(bad_archive(note.as_str()));
    }
    let folder = directory.join(FOLDER);
    storage.sync_dir(&folder).map_err(Error::io("cannot sync", folder))
}

/// The format of the archive.
enum Unpacking<'a> {
    Backup(BackupArchive<'a>),
    Legacy(Box<legacy::Archive>),
}

/// Checks what follows the last entry: zeros, and the end of the gzip stream. The gzip checksum
/// is compared only if it is read.
fn padding(rest: &mut dyn Read) -> Result<(), Error> {
    let mut buffer = [0; 4096];
    let mut left = PADDING_BYTES_MAX;
    loop {
        let count = rest.read(&mut buffer).map_err(unreadable)?;
        let zeros = buffer.iter().take(count).all(|byte| *byte == 0);
        match left.checked_sub(count) {
            _ if count == 0 => return Ok(()),
            Some(less) if zeros => left = less,
            _ => return Err(bad_archive("there are bytes after its end")),
        }
    }
}

pub(crate) fn bad_archive(message: impl Into<String>) -> Error {
    Error::BadArchive { message: message.into() }
}

/// The archive is faulty, unless the stream that delivers it failed.
pub(crate) fn unreadable(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::ConnectionAborted => {
            Error::Io { doing: "cannot read", path: "the archive".into(), source: Arc::new(error) }
        }
        _ => bad_archive(error.to_string()),
    }
}
