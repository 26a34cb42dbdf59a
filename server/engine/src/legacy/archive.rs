//! [`Archive`]: restores a log from an archive of Styx 0.x, a flat tar of the log's files. The
//! caller passes one entry at a time.
//!
//! ```text
//! config | segment-…-records, ascending | segment-…-index, ascending
//! ```
//!
//! `config` comes first, because it limits the records, and the segments are in order, because they
//! are converted while they are read. Their indexes may be anywhere after `config`. The indexes are
//! only checked, because the log is built from the records. A missing index shows that the archive
//! was cut off between two entries, which no checksum reveals. Invariant: every segment of a
//! restored log had its index.
//!
//! ```text
//! index entry   position: int64 | offset: int64 | CRC-32C of the 16 bytes before it
//! ```

use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use styx_protocol::{LogConfig, Position};

use super::conversion::Conversion;
use super::error::{ConversionError, Damage};
use super::name::{self, LegacyFileName, SegmentName};
use crate::Error;
use crate::storage::Storage;

/// The maximum number of segments in an archive. It bounds the memory for their names.
const SEGMENTS_MAX: usize = 1 << 18;
const ENTRY_BYTES: usize = 20;

/// What to do with an archive whose files are in another order.
pub(crate) const REPACK: &str =
    "unpack it, and pack its files in order: `tar -czf ARCHIVE config segment-*`";

/// Whether this is the name of a segment's file.
pub(crate) fn is_segment(path: &str) -> bool {
    matches!(name::parse(path), LegacyFileName::Records(_) | LegacyFileName::Index(_))
}

/// An archive that is being unpacked.
#[derive(Debug)]
pub(crate) struct Archive {
    conversion: Conversion,
    segments: Vec<SegmentName>,
    indexes: Vec<Index>,
}

/// The part of an index that [`Archive::finish`] checks.
#[derive(Debug)]
struct Index {
    name: SegmentName,
    /// The position of its last entry; `None` if the index is empty.
    last: Option<Position>,
}

impl Archive {
    /// Starts a restore with the first entry, [`CONFIG`](super::CONFIG), which has `size` bytes.
    ///
    /// # Errors
    /// The configuration is damaged, or the archive cannot be read.
    pub(crate) fn begin(
        storage: &Arc<dyn Storage>,
        directory: &Path,
        now_us: u64,
        size: u64,
        from: &mut dyn Read,
    ) -> Result<Archive, Error> {
        let conversion =
            Conversion::begin(storage, directory, now_us, size, from).map_err(restore_error)?;
        Ok(Archive { conversion, segments: Vec::new(), indexes: Vec::new() })
    }

    /// Reads the next entry, which has `size` bytes.
    ///
    /// # Errors
    /// The entry is damaged or does not belong at this place in the archive, or the engine failed.
    pub(crate) fn entry(
        &mut self,
        path: &str,
        size: u64,
        from: &mut dyn Read,
    ) -> Result<(), Error> {
        match name::parse(path) {
            LegacyFileName::Records(name) if self.segments.len() < SEGMENTS_MAX => {
                self.check_follows(name)?;
                self.conversion.segment(name, size, from, &mut |_| {}).map_err(restore_error)?;
                self.segments.push(name);
                Ok(())
            }
            LegacyFileName::Index(name) if self.indexes.len() < SEGMENTS_MAX => {
                let last = check_index(name, size, from).map_err(restore_error)?;
                self.indexes.push(Index { name, last });
                Ok(())
            }
            LegacyFileName::Records(_) | LegacyFileName::Index(_) => {
                Err(bad_archive(format!("it has more than {SEGMENTS_MAX} segments")))
            }
            _ => Err(crate::restore::misplaced(path)),
        }
    }

    /// Checks that this segment follows the one before it.
    fn check_follows(&self, name: SegmentName) -> Result<(), Error> {
        let Some(last) = self.segments.last() else { return Ok(()) };
        let (file, end) = (name.records(), self.conversion.position());
        if name <= *last {
            return Err(bad_archive(format!("{file} is out of order ({REPACK})")));
        }
        if name.position != end {
            return Err(bad_archive(format!(
                "{file}: the segment before it ends at position {end}, so one is missing or out of order ({REPACK})"
            )));
        }
        Ok(())
    }

    /// Completes the log after the last entry. The log is then durable except for its manifest,
    /// which the caller writes with the returned configuration.
    ///
    /// # Errors
    /// The archive is incomplete, an index does not match its segment, or the engine failed.
    pub(crate) fn finish(self) -> Result<LogConfig, Error> {
        let Archive { conversion, segments, mut indexes } = self;
        if segments.is_empty() {
            return Err(bad_archive("it has no segments"));
        }
        let ends = segments.iter().skip(1).map(|next| next.position);
        let ends = ends.chain([conversion.position()]);
        indexes.sort_unstable_by_key(|index| index.name);
        let mut indexes = indexes.into_iter().peekable();
        for (name, end) in segments.iter().zip(ends) {
            let Some(index) = indexes.next_if(|index| index.name <= *name) else {
                let file = name.index();
                return Err(bad_archive(format!("{file} is missing: the archive is cut off")));
            };
            let file = index.name.index();
            if index.name != *name {
                return Err(bad_archive(format!("{file} has no segment, or is there twice")));
            }
            if index.last.is_some_and(|last| last >= end) {
                return Err(bad_archive(format!(
                    "{file}: an entry is beyond the end of its segment"
                )));
            }
        }
        if let Some(index) = indexes.next() {
            let file = index.name.index();
            return Err(bad_archive(format!("{file} has no segment, or is there twice")));
        }
        for note in &conversion.notes {
            tracing::warn!(note, "a log of Styx 0.x was restored with a change");
        }
        let config = conversion.config;
        conversion.finish()?;
        Ok(config)
    }
}

/// Checks the checksum and the order of all entries; returns the position of the last one.
fn check_index(
    name: SegmentName,
    size: u64,
    from: &mut dyn Read,
) -> Result<Option<Position>, ConversionError> {
    let mut last: Option<(Position, u64)> = None;
    let damage = |offset: u64, last: Option<(Position, u64)>, message: String| Damage {
        file: name.index(),
        offset,
        position: last.map_or(name.position, |(position, _)| position),
        message,
    };
    let mut from = BufReader::new(from.take(size));
    let mut at = 0;
    while at < size {
        let mut entry = [0; ENTRY_BYTES];
        from.read_exact(&mut entry).map_err(|error| {
            ConversionError::Unreadable(damage(at, last, error.to_string()), error)
        })?;
        let (fields, stored) = entry.split_at(16);
        let (position, offset) = fields.split_at(8);
        let number = |bytes: &[u8]| u64::from_be_bytes(std::array::from_fn(|i| bytes[i]));
        let this = (Position(number(position)), number(offset));
        let follows = match last {
            Some(last) => this.0 > last.0 && this.1 > last.1,
            None => this.0 >= name.position,
        };
        if crc32c::crc32c(fields).to_be_bytes() != *stored || !follows {
            let message = "the entry fails its checksum or does not follow the one before it";
            return Err(ConversionError::Damaged(damage(at, last, message.into())));
        }
        last = Some(this);
        at += ENTRY_BYTES as u64;
    }
    Ok(last.map(|(position, _)| position))
}

/// Converts an error of the conversion to one of a restore.
fn restore_error(failed: ConversionError) -> Error {
    match failed {
        ConversionError::Damaged(Damage { file, offset, position, message }) => {
            bad_archive(format!("{file}, byte {offset}, position {position}: {message}"))
        }
        ConversionError::Unreadable(Damage { file, .. }, error)
            if error.kind() == io::ErrorKind::UnexpectedEof =>
        {
            bad_archive(format!("{file} is cut off"))
        }
        ConversionError::Unreadable(_, error) => crate::restore::unreadable(error),
        ConversionError::Refused(message) => bad_archive(message),
        ConversionError::Error(error) => error,
    }
}

fn bad_archive(message: impl Into<String>) -> Error {
    crate::restore::bad_archive(message)
}
