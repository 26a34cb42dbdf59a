//! Converts one 0.x log from its directory.
//!
//! Its files are opened only for reading. The indexes are not read, because the log is built from
//! the records. This version cannot lock out a 0.x server, so it lists the directory again at the
//! end. Invariant: a log that changed while it was read is not imported.

use std::io;
use std::path::Path;
use std::sync::Arc;

use styx_protocol::{LogId, Position};

use super::config;
use super::conversion::Conversion;
use super::error::{ConversionError, Damage};
use super::name::{self, LegacyFileName, SegmentName};
use crate::backup::FileSection;
use crate::manifest::Manifest;
use crate::storage::{Access, DirectoryEntry, File, Storage};
use crate::{Error, restore};

/// Whether a directory with these files is a log of 0.x.
pub(crate) fn is_log(files: &[DirectoryEntry]) -> bool {
    let mut files = files.iter().filter(|file| !file.is_dir);
    let is_segment = |file: &DirectoryEntry| file.name.starts_with("segment-");
    let Some(config) = files.clone().find(|file| file.name == name::CONFIG) else { return false };
    // A log without records may have no segment.
    config.len == config::BYTES as u64 || files.any(is_segment)
}

/// The result of a successful conversion.
#[derive(Debug)]
pub(super) struct Converted {
    pub(super) start: Position,
    pub(super) end: Position,
    pub(super) notes: Vec<String>,
}

/// Converts the log in `source` to a new log in `target`, which must not exist, and makes the new
/// log durable. Calls `on_read` with the number of bytes read so far.
pub(super) fn convert(
    storage: &Arc<dyn Storage>,
    source: &Path,
    target: &Path,
    id: LogId,
    now_us: u64,
    on_read: &mut dyn FnMut(u64),
) -> Result<Converted, ConversionError> {
    let files = LegacyFiles::list(&**storage, source)?;
    restore::create(&**storage, target)?;
    let config = Source::open(&**storage, source, name::CONFIG)?;
    let mut conversion =
        Conversion::begin(storage, target, now_us, config.len, &mut config.section())?;
    conversion.notes.extend(files.notes.iter().cloned());
    let mut before = 0;
    for segment in &files.segments {
        let file = Source::open(&**storage, source, &segment.records())?;
        let mut on_read = |bytes: u64| on_read(before + bytes);
        conversion.segment(*segment, file.len, &mut file.section(), &mut on_read)?;
        before += file.len;
    }
    let (config, notes) = (conversion.config, std::mem::take(&mut conversion.notes));
    let (start, end) = conversion.finish()?;
    restore::complete(&**storage, target, Manifest::new(id, 0, config))?;
    if LegacyFiles::list(&**storage, source)? != files {
        let message =
            "the log changed while it was read: stop the 0.x server and import the log again";
        return Err(ConversionError::Refused(message.into()));
    }
    Ok(Converted { start, end, notes })
}

/// The files in a log's directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LegacyFiles {
    segments: Vec<SegmentName>,
    /// The size of all records files.
    pub(super) bytes: u64,
    notes: Vec<String>,
}

impl LegacyFiles {
    pub(super) fn list(
        storage: &dyn Storage,
        directory: &Path,
    ) -> Result<LegacyFiles, ConversionError> {
        let mut files = LegacyFiles::default();
        let mut indexes = Vec::new();
        let mut entries = storage.list(directory).map_err(Error::io("cannot list", directory))?;
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for entry in entries {
            match name::parse(&entry.name) {
                LegacyFileName::Records(segment) if !entry.is_dir => {
                    files.segments.push(segment);
                    files.bytes += entry.len;
                }
                LegacyFileName::Index(segment) => indexes.push(segment),
                LegacyFileName::Config | LegacyFileName::Lock => {}
                _ => files
                    .notes
                    .push(format!("{:?} is not part of a log and was skipped", entry.name)),
            }
        }
        files.segments.sort_unstable();
        // An index without its records file shows that records were lost.
        if let Some(orphan) =
            indexes.iter().find(|index| files.segments.binary_search(index).is_err())
        {
            return Err(ConversionError::Damaged(Damage {
                file: orphan.records(),
                offset: 0,
                position: orphan.position,
                message: "the records file is missing, but its index exists".into(),
            }));
        }
        if files.segments.is_empty() {
            files.notes.push("the log has no segments and was imported as an empty log".into());
        }
        Ok(files)
    }
}

/// One file of the log.
struct Source {
    file: Arc<dyn File>,
    len: u64,
}

impl Source {
    fn open(
        storage: &dyn Storage,
        directory: &Path,
        name: &str,
    ) -> Result<Source, ConversionError> {
        let opened = || {
            let file = storage.open(&directory.join(name), Access::Read)?;
            let len = file.len()?;
            Ok(Source { file, len })
        };
        opened().map_err(|error: io::Error| {
            let position = match name::parse(name) {
                LegacyFileName::Records(segment) => segment.position,
                _ => Position::ORIGIN,
            };
            let message = error.to_string();
            let damage = Damage { file: name.into(), offset: 0, position, message };
            ConversionError::Unreadable(damage, error)
        })
    }

    fn section(&self) -> FileSection<'_> {
        FileSection { file: &*self.file, at: 0, end: self.len }
    }
}
