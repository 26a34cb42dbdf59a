//! The roll: one segment ends, the next begins.
//!
//! ```text
//! seal, sync ─▶ producer snapshot ─▶ next segment under a temporary name, with
//! its first filler ─▶ sync, rename, sync directory ─▶ publish ─▶ watermark
//! ```
//!
//! The committer rolls between two groups, so nothing is in flight. Each step is durable before
//! the next. If the storage is full, the roll stops and the appends fail with
//! [`Error::StorageFull`](crate::Error::StorageFull). [`LogEnd::sealed`] remembers that the seal
//! is written, and the next append continues from there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use styx_protocol::Position;
use styx_protocol::block::Flags;

use super::failure::{Failure, is_no_descriptor};
use super::log_end::{Cursor, LogEnd};
use super::space::Space;
use super::write::write;
use crate::disk_reserve::FreeSpace;
use crate::segment::index::IndexSpacing;
use crate::segment::{Sealed, Segment, name};
use crate::storage::{Storage, if_there, replace_file, temporary_path};
use crate::sync::lock;
use crate::{random, sabotage};

/// The directory of a log's segments, and how segments are created in it.
#[derive(Debug, Clone)]
pub(crate) struct SegmentDirectory {
    pub(crate) storage: Arc<dyn Storage>,
    /// The folder of the log's generation.
    pub(crate) path: PathBuf,
    pub(crate) index_after_size: i64,
}

/// The content of a segment's first filler.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SegmentStart {
    pub(crate) base: Position,
    pub(crate) prev_crc: u32,
    pub(crate) timestamp_us: u64,
    pub(crate) epoch: u32,
}

impl SegmentDirectory {
    /// Ends the newest segment and begins the next; returns the finished one.
    pub(crate) fn roll(&self, end: &mut LogEnd) -> Result<Arc<Segment>, Failure> {
        let sealed = match end.sealed {
            Some(sealed) => sealed,
            None => seal(end)?,
        };
        end.sealed = Some(sealed);
        self.snapshot(end, &sealed)?;
        let start = SegmentStart {
            base: sealed.end,
            prev_crc: sealed.seal_crc,
            timestamp_us: end.cursor.timestamp_us,
            epoch: end.epoch,
        };
        let mut next = self.begin_segment(start)?;
        next.producers = Arc::clone(&end.producers);
        next.previous_base = Some(end.segment.base);
        let finished = std::mem::replace(end, next).segment;
        if let Err(error) = finished.seal(sealed) {
            tracing::warn!(%error, path = %finished.index_path().display(), "cannot write an index; reads of this segment are slower until the index is rebuilt");
        }
        Ok(finished)
    }

    /// Creates a segment that contains its first filler, durably.
    pub(crate) fn begin_segment(&self, start: SegmentStart) -> Result<LogEnd, Failure> {
        let path = self.path.join(name::segment(start.base));
        let temporary = temporary_path(&path);
        remove_if_there(&*self.storage, &temporary)?;
        let full = |doing: &'static str| {
            move |error: std::io::Error| Failure::before_writing(doing, &error)
        };
        let file = self.storage.create(&temporary).map_err(full("creating a segment"))?;
        let salt = random::u64().map_err(full("creating a random salt"))?;
        let identity = file.identity().map_err(full("examining a segment"))?;
        let mut end = LogEnd {
            segment: Arc::new(Segment::newest(
                Arc::clone(&self.storage),
                &self.path,
                start.base,
                Arc::clone(&file),
                Vec::new(),
            )),
            file: Some(file.clone()),
            is_synced: true,
            cursor: Cursor {
                position: start.base,
                prev_crc: start.prev_crc,
                timestamp_us: start.timestamp_us,
                ..Cursor::default()
            },
            salt,
            epoch: start.epoch,
            spacing: IndexSpacing::new(self.index_after_size),
            producers: Arc::default(),
            previous_base: None,
            sealed: None,
            space: Space::default(),
            identity,
        };
        let filler = end.head().marker(Flags::FILLER, start.timestamp_us);
        let (bytes, crc) = filler.encode();
        // Nothing depends on these bytes before the rename.
        crate::storage::write_all_at(&*file, &bytes, 0)
            .map_err(|(error, _)| Failure::before_writing("writing a filler", &error))?;
        file.sync().map_err(|error| Failure::broken("syncing a new segment", &error))?;
        self.storage
            .rename(&temporary, &path)
            .map_err(|error| Failure::broken("renaming a new segment", &error))?;
        sabotage::sync_new_name(&*self.storage, &self.path).map_err(|error| {
            match is_no_descriptor(&error) {
                // The next attempt replaces the new segment, which has no records.
                true => Failure::NoDescriptor(error),
                false => Failure::broken("syncing the directory", &error),
            }
        })?;
        end.cursor.pass(&filler, crc);
        Ok(end)
    }

    /// Writes the producer table as of the seal. The snapshot at the segment's own base is kept;
    /// the one before it is removed.
    fn snapshot(&self, end: &LogEnd, sealed: &Sealed) -> Result<(), Failure> {
        let path = self.path.join(name::producers(sealed.end));
        let bytes = lock(&end.producers).encode(sealed.seal_crc, sealed.end);
        replace_file(&*self.storage, &path, &bytes)
            .map_err(|error| Failure::before_writing("writing the producers", &error))?;
        match end.previous_base {
            Some(base) => remove_if_there(&*self.storage, &self.path.join(name::producers(base))),
            None => Ok(()),
        }
    }
}

/// Writes and syncs the last block of a segment, and cuts the file after it.
fn seal(end: &mut LogEnd) -> Result<Sealed, Failure> {
    // The timestamp of the last block, so that a seal tells the age of its segment.
    let header = end.head().marker(Flags::SEAL, end.cursor.timestamp_us);
    let (bytes, crc) = header.encode();
    let file = end.file_for_writing()?;
    end.space.prepare(&*file, end.cursor.offset, bytes.len(), 0, || FreeSpace::UNLIMITED)?;
    write(&*file, &bytes, end.cursor.offset)?;
    let mut cursor = end.cursor;
    cursor.pass(&header, crc);
    file.set_len(cursor.offset).map_err(|error| Failure::broken("truncating a segment", &error))?;
    file.sync().map_err(|error| Failure::broken("syncing a seal", &error))?;
    end.is_synced = true;
    end.cursor = cursor;
    Ok(Sealed {
        end: cursor.position,
        bytes: cursor.offset,
        record_bytes: cursor.record_bytes,
        first_timestamp_us: cursor.first_timestamp_us,
        last_timestamp_us: cursor.last_timestamp_us,
        seal_crc: crc,
    })
}

fn remove_if_there(storage: &dyn Storage, path: &Path) -> Result<(), Failure> {
    if_there(storage.remove_file(path))
        .map_err(|error| Failure::broken("removing an old file", &error))
}
