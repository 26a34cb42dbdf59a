//! Unpacks the archive of a backup, entry by entry.
//!
//! ```text
//! log.toml | cursors | 0/watermark | 0/<base>.producers | 0/<base>.seg …
//! ```
//!
//! Only these names are accepted, each once and in any order; the cursors and the producers file
//! are optional.
//! Blocks are checked while they are copied, so the restore fails at the first bytes that are not a
//! block. Everything else is verified after the last entry, for example that no segment is missing.

use std::io::{self, Read};
use std::path::Path;

use styx_protocol::block::Header;
use styx_protocol::limits::BLOCK_HEADER_BYTES;
use styx_protocol::{LogConfig, Position};

use super::{bad_archive, misplaced, unreadable};
use crate::backup::FOLDER;
use crate::cursors::CursorTable;
use crate::format::{Newer, Unusable};
use crate::manifest::{self, Manifest};
use crate::segment::name::{self, FileName};
use crate::storage::{File, Storage, write_all_at};
use crate::{Error, cursors, producers, watermark};

const COPY_BYTES: usize = 256 << 10;

pub(super) struct BackupArchive<'a> {
    storage: &'a dyn Storage,
    directory: &'a Path,
    manifest: Option<Manifest>,
    cursors: Option<CursorTable>,
    has_watermark: bool,
    has_producers: bool,
    has_segment: bool,
}

impl<'a> BackupArchive<'a> {
    pub(super) fn begin(storage: &'a dyn Storage, directory: &'a Path) -> BackupArchive<'a> {
        BackupArchive {
            storage,
            directory,
            manifest: None,
            cursors: None,
            has_watermark: false,
            has_producers: false,
            has_segment: false,
        }
    }

    /// Whether no entry has been read.
    pub(super) fn is_empty(&self) -> bool {
        let has_file = self.has_watermark || self.has_producers || self.has_segment;
        self.manifest.is_none() && self.cursors.is_none() && !has_file
    }

    /// Unpacks the next entry, of `size` bytes.
    ///
    /// # Errors
    /// [`Error::BadArchive`] if the entry is invalid or not a file of a backup, or an I/O error.
    pub(super) fn entry(
        &mut self,
        path: &str,
        size: u64,
        entry: &mut dyn Read,
    ) -> Result<(), Error> {
        if path == name::MANIFEST {
            return self.read_manifest(entry, size);
        }
        if path == name::CURSORS {
            return self.read_cursors(entry, size);
        }
        let within = path.strip_prefix(FOLDER).and_then(|rest| rest.strip_prefix('/'));
        let kind = within.map_or(FileName::Other, name::parse);
        let (mut no_check, mut block_check) = (NoCheck, BlockCheck::default());
        let (limit, check): (u64, &mut dyn ContentCheck) = match kind {
            FileName::Watermark => {
                self.has_watermark = true;
                (watermark::FILE_BYTES, &mut no_check)
            }
            FileName::Producers(_) if self.has_producers => {
                return Err(bad_archive("it has more than one producers file"));
            }
            FileName::Producers(_) => {
                self.has_producers = true;
                (producers::BYTES_MAX, &mut no_check)
            }
            FileName::Segment(_) if size == 0 => {
                return Err(bad_archive(format!("{path:?} is empty")));
            }
            FileName::Segment(base) => {
                self.has_segment = true;
                block_check.position = base;
                (u64::MAX, &mut block_check)
            }
            _ => return Err(misplaced(path)),
        };
        if size > limit {
            return Err(bad_archive(format!("{path:?} is too large")));
        }
        let target = self.directory.join(path);
        let file = self.storage.create(&target).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => repeated(path),
            _ => Error::io("cannot create", &target)(error),
        })?;
        copy(entry, &*file, size, check, &target)?;
        file.sync().map_err(Error::io("cannot sync", &target))
    }

    /// Returns the configuration and the cursors of the log, after the last entry was unpacked.
    ///
    /// # Errors
    /// [`Error::BadArchive`] if the archive has no manifest, no watermark or no segment.
    pub(super) fn finish(self) -> Result<(LogConfig, Option<CursorTable>), Error> {
        if self.is_empty() {
            return Err(bad_archive("it is empty"));
        }
        let manifest = self.manifest.ok_or_else(|| bad_archive("log.toml is missing"))?;
        match (self.has_watermark, self.has_segment) {
            (true, true) => {
                Ok((manifest.config, self.cursors.map(|cursors| cursors.only_of(manifest.id))))
            }
            (false, _) => Err(bad_archive(format!("{FOLDER}/{} is missing", name::WATERMARK))),
            (true, false) => Err(bad_archive("it has no segments")),
        }
    }

    fn read_cursors(&mut self, entry: &mut dyn Read, size: u64) -> Result<(), Error> {
        if self.cursors.is_some() {
            return Err(repeated(name::CURSORS));
        }
        if size > cursors::BYTES_MAX {
            return Err(bad_archive("\"cursors\" is too large"));
        }
        let mut bytes = Vec::new();
        entry.take(size).read_to_end(&mut bytes).map_err(unreadable)?;
        let table = CursorTable::decode(&bytes).map_err(|cause| match cause {
            Unusable::Damaged(problem) => bad_archive(format!("\"cursors\" {problem}")),
            newer => unusable(name::CURSORS, newer),
        })?;
        self.cursors = Some(table);
        Ok(())
    }

    fn read_manifest(&mut self, entry: &mut dyn Read, size: u64) -> Result<(), Error> {
        if self.manifest.is_some() {
            return Err(repeated(name::MANIFEST));
        }
        if size > manifest::BYTES_MAX {
            return Err(bad_archive("log.toml is too large"));
        }
        let mut bytes = Vec::new();
        entry.take(size).read_to_end(&mut bytes).map_err(unreadable)?;
        let manifest = Manifest::decode(&bytes).map_err(|cause| unusable(name::MANIFEST, cause))?;
        if manifest.generation != 0 {
            return Err(bad_archive("log.toml has a generation other than 0"));
        }
        self.manifest = Some(manifest);
        Ok(())
    }
}

/// The error for a file of the archive that cannot be used.
fn unusable(file: &str, cause: Unusable) -> Error {
    bad_archive(match cause {
        Unusable::Newer(newer) => newer.in_file(file).to_string(),
        Unusable::Damaged(cause) => cause,
    })
}

fn repeated(path: &str) -> Error {
    bad_archive(format!("{path:?} is in the archive twice"))
}

/// Checks the bytes of a file while they are copied.
trait ContentCheck {
    fn check_next(&mut self, bytes: &[u8]) -> Result<(), String>;
    fn check_end(&self) -> Result<(), String> {
        Ok(())
    }
}

/// For files that are verified after the last entry.
struct NoCheck;

impl ContentCheck for NoCheck {
    fn check_next(&mut self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

/// Checks that a file contains only complete blocks, with consecutive positions and valid
/// checksums.
#[derive(Default)]
struct BlockCheck {
    position: Position,
    header: Vec<u8>,
    body: Option<(Header, u64, crc32fast::Hasher)>,
}

impl ContentCheck for BlockCheck {
    fn check_next(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            let Some((header, left, crc)) = &mut self.body else {
                let take = (BLOCK_HEADER_BYTES - self.header.len()).min(bytes.len());
                let (now, rest) = bytes.split_at(take);
                self.header.extend_from_slice(now);
                bytes = rest;
                if self.header.len() == BLOCK_HEADER_BYTES {
                    self.begin_block()?;
                }
                continue;
            };
            let take = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
            let (now, rest) = bytes.split_at(take);
            crc.update(now);
            *left -= now.len() as u64;
            bytes = rest;
            if *left == 0 {
                let (header, crc) = (*header, crc.clone().finalize());
                self.finish_block(&header, crc)?;
            }
        }
        Ok(())
    }

    fn check_end(&self) -> Result<(), String> {
        if self.body.is_some() || !self.header.is_empty() {
            return Err(format!("the block at position {} is incomplete", self.position));
        }
        Ok(())
    }
}

impl BlockCheck {
    fn begin_block(&mut self) -> Result<(), String> {
        let (header, _) = Header::decode(&self.header).map_err(|error| {
            let damaged = || format!("{error} at position {}", self.position);
            Newer::block(error).map_or_else(damaged, |newer| newer.message())
        })?;
        self.header.clear();
        if header.base_position != self.position.0 {
            return Err(format!(
                "a block has position {}, but the next position is {}",
                header.base_position, self.position
            ));
        }
        match u64::from(header.body_size) {
            0 => self.finish_block(&header, crc32fast::hash(&[])),
            left => {
                self.body = Some((header, left, crc32fast::Hasher::new()));
                Ok(())
            }
        }
    }

    fn finish_block(&mut self, header: &Header, crc: u32) -> Result<(), String> {
        self.body = None;
        if crc != header.body_crc {
            return Err(format!(
                "the checksum of the block at position {} does not match",
                self.position
            ));
        }
        self.position = Position(header.end_position());
        Ok(())
    }
}

fn copy(
    from: &mut dyn Read,
    to: &dyn File,
    size: u64,
    check: &mut dyn ContentCheck,
    path: &Path,
) -> Result<(), Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let invalid = |message: String| bad_archive(format!("{name}: {message}"));
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = 0;
    while at < size {
        let want = usize::try_from(size - at).unwrap_or(usize::MAX).min(buffer.len());
        let read = match from.read(&mut buffer[..want]) {
            Ok(0) => return Err(invalid("the archive ends in the middle of this file".into())),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(error)),
        };
        let bytes = &buffer[..read];
        check.check_next(bytes).map_err(invalid)?;
        write_all_at(to, bytes, at).map_err(|(e, _)| Error::io("cannot write", path)(e))?;
        at += read as u64;
    }
    check.check_end().map_err(invalid)
}
