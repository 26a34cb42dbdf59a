//! [`EntryNames`]: finds the log's files among the entries of a tar, and their names in the log.
//!
//! ```text
//! extended header   its path is that of the next entry
//! directory, ._*    skipped
//! regular file      ./orders/0/watermark ─▶ 0/watermark
//! ```
//!
//! Programs that pack a directory add such entries, and put the log's files into a directory.
//! Nothing is written here, so the names in the archive never become paths. Invariant: the memory
//! use is bounded, and all files that are returned come from one directory of the archive.

use std::io::Read;

use tar::EntryType;

use super::{bad_archive, misplaced, unreadable};
use crate::Error;
use crate::backup::FOLDER;
use crate::segment::name::{self, FileName};

/// The maximum size of an entry that is not a file of the log. It bounds the memory for an
/// extended header, and the time that a skipped entry takes.
const METADATA_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct EntryNames {
    /// The extended header of the next entry.
    extended: Option<ExtendedHeader>,
    /// The directory of the log in the archive, empty or with a slash at the end. `None` before
    /// the first file.
    log_directory: Option<String>,
}

#[derive(Debug)]
struct ExtendedHeader {
    path: Option<Vec<u8>>,
}

impl EntryNames {
    /// Returns the name of this entry in the log's directory. `None` if the entry is not a file of
    /// the log and is skipped.
    ///
    /// # Errors
    /// [`Error::BadArchive`] if the entry cannot be a file of the log, or an I/O error.
    pub(super) fn next<R: Read>(
        &mut self,
        entry: &mut tar::Entry<'_, R>,
    ) -> Result<Option<String>, Error> {
        let kind = entry.header().entry_type();
        let size = entry.header().entry_size().map_err(unreadable)?;
        let path = entry.path_bytes().into_owned();
        match kind {
            EntryType::GNULongName => {
                let mut path = read_metadata(entry, size)?;
                let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
                path.truncate(end);
                self.extend(ExtendedHeader { path: Some(path) })?;
                return Ok(None);
            }
            EntryType::XHeader => {
                let path = pax_path(&read_metadata(entry, size)?)?;
                self.extend(ExtendedHeader { path })?;
                return Ok(None);
            }
            EntryType::XGlobalHeader => {
                return match pax_path(&read_metadata(entry, size)?)? {
                    Some(_) => Err(bad_archive("a global pax header has a path")),
                    None => Ok(None),
                };
            }
            _ => {}
        }
        let path = self.extended.take().and_then(|header| header.path).unwrap_or(path);
        let path = String::from_utf8_lossy(&path).into_owned();
        if !kind.is_file() && !kind.is_dir() {
            return Err(bad_archive(format!("{path:?} is not a regular file")));
        }
        let plain = plain(&path).ok_or_else(|| misplaced(&path))?;
        // Old tar formats have no type for directories.
        let is_directory = kind.is_dir() || (path.ends_with('/') && size == 0);
        if is_directory || is_apple_metadata(&plain) {
            return match size {
                0..=METADATA_BYTES_MAX => Ok(None),
                _ => Err(bad_archive(format!("{path:?} is too large"))),
            };
        }
        self.name_in_log(&plain).map(Some).ok_or_else(|| misplaced(&path))
    }

    /// Checks the end of the archive.
    ///
    /// # Errors
    /// [`Error::BadArchive`] if the entry of an extended header is missing.
    pub(super) fn finish(self) -> Result<(), Error> {
        match self.extended {
            Some(_) => Err(bad_archive("it is cut off after an extended header")),
            None => Ok(()),
        }
    }

    fn extend(&mut self, header: ExtendedHeader) -> Result<(), Error> {
        match self.extended.replace(header) {
            Some(_) => Err(bad_archive("an entry has two extended headers")),
            None => Ok(()),
        }
    }

    fn name_in_log(&mut self, plain: &str) -> Option<String> {
        let directory = match &self.log_directory {
            Some(known) => known.clone(),
            None => log_directory(plain)?.to_owned(),
        };
        let name = plain.strip_prefix(directory.as_str())?.to_owned();
        self.log_directory = Some(directory);
        Some(name)
    }
}

/// The path without `.` and empty components. `None` if the path is absolute or has `..`.
fn plain(path: &str) -> Option<String> {
    let parts: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let is_inside = !path.starts_with('/') && !parts.contains(&"..");
    is_inside.then(|| parts.join("/"))
}

/// The directory of the log, from the path of one of its files.
fn log_directory(path: &str) -> Option<&str> {
    let file = path.rsplit('/').next()?;
    let mut directory = path.strip_suffix(file)?;
    if !matches!(name::parse(file), FileName::Temporary | FileName::Other) {
        directory = directory.strip_suffix('/')?.strip_suffix(FOLDER)?;
    }
    (directory.is_empty() || directory.ends_with('/')).then_some(directory)
}

/// Whether macOS adds this file to directories and archives.
fn is_apple_metadata(path: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.starts_with("._") || file == ".DS_Store"
}

fn read_metadata(entry: &mut dyn Read, size: u64) -> Result<Vec<u8>, Error> {
    if size > METADATA_BYTES_MAX {
        return Err(bad_archive("an extended header is too large"));
    }
    let mut bytes = Vec::new();
    entry.take(size).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 != size {
        return Err(bad_archive("it is cut off in an extended header"));
    }
    Ok(bytes)
}

/// The path in a pax header. Times, owners and attributes are ignored.
///
/// # Errors
/// The header is invalid, or changes how the content of the entry is read.
fn pax_path(mut bytes: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let mut path = None;
    while !bytes.is_empty() {
        let (key, value, rest) =
            pax_record(bytes).ok_or_else(|| bad_archive("a pax header is invalid"))?;
        if key == b"size" || key.starts_with(b"GNU.sparse.") {
            return Err(bad_archive(
                "a pax header changes the size of a file (pack it again with \
                 `tar --format=gnu`, without --sparse)",
            ));
        }
        if key == b"path" {
            path = Some(value.to_vec());
        }
        bytes = rest;
    }
    Ok(path)
}

/// The key and value of the first record, and the bytes after it. A record is
/// `<length of the record> <key>=<value>\n`.
fn pax_record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let length = std::str::from_utf8(bytes.get(..space)?).ok()?.parse().ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let record = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((record.get(..equals)?, record.get(equals + 1..)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The results for entries of these kinds, paths and contents.
    fn names(entries: &[(EntryType, &str, &[u8])]) -> Vec<Result<Option<String>, String>> {
        let mut tar = tar::Builder::new(Vec::new());
        for (kind, path, bytes) in entries {
            let mut header = tar::Header::new_ustar();
            // Written by hand, because the tar library rejects some of the paths.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(bytes.len() as u64);
            header.set_cksum();
            tar.append(&header, *bytes).expect("memory");
        }
        let tar = tar.into_inner().expect("memory");
        let mut archive = tar::Archive::new(tar.as_slice());
        let mut names = EntryNames::default();
        let entries = archive.entries().expect("a tar").raw(true);
        entries
            .map(|entry| {
                let mut entry = entry.expect("an entry");
                names.next(&mut entry).map_err(|error| error.to_string())
            })
            .collect()
    }

    fn name(name: &str) -> Result<Option<String>, String> {
        Ok(Some(name.to_owned()))
    }

    const FILE: EntryType = EntryType::Regular;

    #[test]
    fn files_of_one_directory_are_found_among_other_entries() {
        for directory in ["", "./", "orders/", "./orders//", "0/", "var/lib/styx/orders/"] {
            let path = |file: &str| format!("{directory}{file}");
            let (folder, mark) = (path("0/"), path("0/watermark"));
            let (manifest, apple) = (path("log.toml"), path("._log.toml"));
            let found = names(&[
                (EntryType::XGlobalHeader, "pax_global_header", b"13 comment=x\n"),
                (EntryType::Directory, &folder, b""),
                (FILE, &apple, b"AppleDouble"),
                (FILE, &mark, b""),
                (EntryType::XHeader, "PaxHeader", b"23 SCHILY.xattr.a=\n\n\n\n\n"),
                (FILE, &manifest, b""),
            ]);
            let skipped = Ok(None);
            let expected = [
                skipped.clone(),
                skipped.clone(),
                skipped.clone(),
                name("0/watermark"),
                skipped,
                name("log.toml"),
            ];
            assert_eq!(found, expected, "{directory:?}");
        }
    }

    #[test]
    fn a_long_path_comes_from_an_extended_header() {
        let found = names(&[
            (EntryType::GNULongName, "././@LongLink", b"orders/0/watermark\0"),
            (FILE, "cut", b""),
            (EntryType::XHeader, "PaxHeader", b"24 path=orders/log.toml\n"),
            (FILE, "cut", b""),
        ]);
        assert_eq!(found, [Ok(None), name("0/watermark"), Ok(None), name("log.toml")]);
    }

    #[test]
    fn ambiguous_and_malicious_entries_are_refused() {
        let refused = |why: &str, entries: &[(EntryType, &str, &[u8])]| {
            let last = names(entries).pop().expect("an entry");
            assert!(last.as_ref().is_err_and(|error| error.contains(why)), "{why}: {last:?}");
        };
        refused("does not belong", &[(FILE, "../log.toml", b"")]);
        refused("does not belong", &[(FILE, "/log.toml", b"")]);
        refused("does not belong", &[(FILE, "1/watermark", b"")]);
        refused("does not belong", &[(FILE, "10/watermark", b"")]);
        refused("does not belong", &[(FILE, "a/log.toml", b""), (FILE, "b/0/watermark", b"")]);
        refused("does not belong", &[(EntryType::Directory, "../a/", b"")]);
        refused("not a regular file", &[(EntryType::Symlink, "log.toml", b"")]);
        refused("not a regular file", &[(EntryType::GNUSparse, "log.toml", b"")]);
        let header = EntryType::XHeader;
        refused("--format=gnu", &[(header, "x", b"9 size=1\n")]);
        refused("--format=gnu", &[(header, "x", b"22 GNU.sparse.major=1\n")]);
        refused("global", &[(EntryType::XGlobalHeader, "x", b"9 path=a\n")]);
        refused("two extended", &[(header, "x", b""), (header, "x", b"")]);
        for invalid in [&b"x"[..], b"9 size=1", b"99 path=a\n", b"0 path=a\n", b"2 path=a\n"] {
            refused("pax header is invalid", &[(header, "x", invalid)]);
        }
        let large = vec![0; (1 << 20) + 1];
        refused("too large", &[(header, "x", &large)]);
        refused("too large", &[(FILE, "._log.toml", &large)]);
    }

    #[test]
    fn an_archive_that_ends_after_an_extended_header_is_refused() {
        let mut names = EntryNames::default();
        names.extend(ExtendedHeader { path: None }).expect("the first header");
        assert!(names.finish().is_err());
        assert!(EntryNames::default().finish().is_ok());
    }
}
