//! The directory of one 0.x log.
//!
//! Its files are opened for reading alone. Indexes are not looked into: what a
//! log holds is in its records. Invariant: what was converted is what stood
//! there all the while, which is looked at again at the end, because no lock of
//! ours keeps a 0.x server away.

use std::io;
use std::path::Path;
use std::sync::Arc;

use styx_protocol::{LogId, Position};

use super::config;
use super::conversion::{Conversion, Damage, Failed};
use super::name::{self, FileName, SegmentName};
use crate::backup::Part;
use crate::manifest::Manifest;
use crate::storage::{Access, Entry, File, Storage};
use crate::{Error, restore};

/// Whether a directory with these files is a log of 0.x.
pub(crate) fn is_log(files: &[Entry]) -> bool {
    let mut files = files.iter().filter(|file| !file.is_dir);
    let is_segment = |file: &Entry| file.name.starts_with("segment-");
    let Some(config) = files.clone().find(|file| file.name == name::CONFIG) else { return false };
    // One that was never written to may have no segment yet.
    config.len == config::BYTES as u64 || files.any(is_segment)
}

/// What a log has become.
#[derive(Debug)]
pub(super) struct Converted {
    pub(super) start: Position,
    pub(super) end: Position,
    pub(super) notes: Vec<String>,
}

/// Converts the log in `source` into `target`, which must not exist, and makes
/// it durable. `tell` hears how many bytes of it were read.
pub(super) fn convert(
    storage: &Arc<dyn Storage>,
    source: &Path,
    target: &Path,
    id: LogId,
    now_us: u64,
    tell: &mut dyn FnMut(u64),
) -> Result<Converted, Failed> {
    let files = Files::list(&**storage, source)?;
    restore::create(&**storage, target)?;
    let config = Source::open(&**storage, source, name::CONFIG)?;
    let mut conversion =
        Conversion::begin(storage, target, now_us, config.len, &mut config.part())?;
    conversion.notes.extend(files.notes.iter().cloned());
    let mut before = 0;
    for segment in &files.segments {
        let file = Source::open(&**storage, source, &segment.records())?;
        let mut tell = |bytes: u64| tell(before + bytes);
        conversion.segment(*segment, file.len, &mut file.part(), &mut tell)?;
        before += file.len;
    }
    let (config, notes) = (conversion.config, std::mem::take(&mut conversion.notes));
    let (start, end) = conversion.finish()?;
    restore::settle(&**storage, target, Manifest { id, generation: 0, config })?;
    if Files::list(&**storage, source)? != files {
        let message = "it was changed while it was read: stop the 0.x server first";
        return Err(Failed::Refused(message.into()));
    }
    Ok(Converted { start, end, notes })
}

/// What stands in a log's directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Files {
    segments: Vec<SegmentName>,
    /// Of all records files.
    pub(super) bytes: u64,
    notes: Vec<String>,
}

impl Files {
    pub(super) fn list(storage: &dyn Storage, directory: &Path) -> Result<Files, Failed> {
        let mut files = Files::default();
        let mut indexes = Vec::new();
        let mut entries = storage.list(directory).map_err(Error::io("cannot list", directory))?;
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for entry in entries {
            match name::parse(&entry.name) {
                FileName::Records(segment) if !entry.is_dir => {
                    files.segments.push(segment);
                    files.bytes += entry.len;
                }
                FileName::Index(segment) => indexes.push(segment),
                FileName::Config | FileName::Lock => {}
                _ => files.notes.push(format!("{:?} is not part of a log: left out", entry.name)),
            }
        }
        files.segments.sort_unstable();
        // An index alone tells of records that are gone.
        if let Some(alone) =
            indexes.iter().find(|index| files.segments.binary_search(index).is_err())
        {
            return Err(Failed::Damaged(Damage {
                file: alone.records(),
                offset: 0,
                position: alone.position,
                message: "it is missing, but its index is there".into(),
            }));
        }
        if files.segments.is_empty() {
            files.notes.push("it has no segments: it becomes an empty log".into());
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
    fn open(storage: &dyn Storage, directory: &Path, name: &str) -> Result<Source, Failed> {
        let opened = || {
            let file = storage.open(&directory.join(name), Access::Read)?;
            let len = file.len()?;
            Ok(Source { file, len })
        };
        opened().map_err(|error: io::Error| {
            let position = match name::parse(name) {
                FileName::Records(segment) => segment.position,
                _ => Position::ORIGIN,
            };
            let message = error.to_string();
            let damage = Damage { file: name.into(), offset: 0, position, message };
            Failed::Unreadable(damage, error)
        })
    }

    fn part(&self) -> Part<'_> {
        Part { file: &*self.file, at: 0, end: self.len }
    }
}
