//! The mutable end of a log: where the next block goes.
//!
//! [`LogEnd`] has one owner at a time, the thread that holds the log's `end` lock. Recovery and
//! a roll are the only places that create one. A plan advances a copy of the [`Cursor`], so a
//! plan that cannot be written has no effect.

use std::io;
use std::sync::{Arc, Mutex};

use styx_protocol::Position;
use styx_protocol::block::{Flags, Header};

use super::failure::Failure;
use super::space::Space;
use crate::producers::ProducerTable;
use crate::segment::index::IndexSpacing;
use crate::segment::name::Offset;
use crate::segment::{Sealed, Segment};
use crate::storage::{File, Identity};
use crate::tail::DurableEnd;

/// Where the next block goes, and what it must follow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) offset: Offset,
    pub(crate) position: Position,
    pub(crate) prev_crc: u32,
    /// Timestamp of the last block; the next one is not earlier.
    pub(crate) timestamp_us: u64,
    /// This and the fields below describe the newest segment only.
    pub(crate) records: u64,
    pub(crate) record_bytes: u64,
    pub(crate) first_timestamp_us: u64,
    pub(crate) last_timestamp_us: u64,
}

impl Cursor {
    /// The durable end to publish after everything before the cursor is synced.
    pub(crate) fn durable(&self) -> DurableEnd {
        DurableEnd {
            position: self.position,
            offset: self.offset,
            record_bytes: self.record_bytes,
            first_timestamp_us: self.first_timestamp_us,
            last_timestamp_us: self.last_timestamp_us,
        }
    }

    /// Moves over a block that begins at the cursor.
    pub(crate) fn pass(&mut self, header: &Header, header_crc: u32) {
        self.offset += header.block_bytes();
        self.position = Position(header.end_position());
        self.prev_crc = header_crc;
        self.timestamp_us = header.timestamp_us;
        if header.is_marker() {
            return;
        }
        if self.records == 0 {
            self.first_timestamp_us = header.timestamp_us;
        }
        self.last_timestamp_us = header.timestamp_us;
        self.records += u64::from(header.count);
        self.record_bytes += u64::from(header.raw_size);
    }
}

/// Where a group will go, whether or not the group before it is durable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteHead {
    pub(crate) cursor: Cursor,
    pub(crate) salt: u64,
    pub(crate) epoch: u32,
    pub(crate) spacing: IndexSpacing,
    /// The segment is sealed, so a roll must come first.
    pub(crate) is_sealed: bool,
}

impl WriteHead {
    /// The header of a block without records at this place.
    pub(crate) fn marker(&self, flags: Flags, timestamp_us: u64) -> Header {
        Header {
            flags,
            base_position: self.cursor.position.0,
            timestamp_us,
            segment_salt: self.salt,
            open_epoch: self.epoch,
            prev_crc: self.cursor.prev_crc,
            durable_position: self.cursor.position.0,
            ..Header::default()
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct LogEnd {
    pub(crate) segment: Arc<Segment>,
    /// The newest segment's file. `None` if [`OpenEnds`](crate::log::open_ends) closed it, because
    /// the log was idle.
    pub(crate) file: Option<Arc<dyn File>>,
    /// Everything that was written to the file is synced. A file is closed only in this state,
    /// because another descriptor may not report a failed write of the rest.
    pub(crate) is_synced: bool,
    pub(crate) cursor: Cursor,
    pub(crate) salt: u64,
    pub(crate) epoch: u32,
    pub(crate) spacing: IndexSpacing,
    /// The durable state of the producers; other threads read it.
    pub(crate) producers: Arc<Mutex<ProducerTable>>,
    /// The base of the segment before this one.
    pub(crate) previous_base: Option<Position>,
    /// Set after the segment is sealed and before its successor exists.
    pub(crate) sealed: Option<Sealed>,
    pub(crate) space: Space,
    /// The identity of `file`; `None` if the storage has no identities.
    pub(crate) identity: Option<Identity>,
}

impl LogEnd {
    /// Where the next group goes when everything before it is durable.
    pub(crate) fn head(&self) -> WriteHead {
        let LogEnd { cursor, salt, epoch, spacing, .. } = *self;
        WriteHead { cursor, salt, epoch, spacing, is_sealed: self.sealed.is_some() }
    }

    /// The newest segment's file, for writing. Opens it if it is closed. The caller sets
    /// `is_synced` again after it synced its writes.
    pub(crate) fn file_for_writing(&mut self) -> Result<Arc<dyn File>, Failure> {
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => {
                let opened = self.reopened();
                opened.map_err(|error| Failure::before_writing("opening a segment", &error))?
            }
        };
        self.is_synced = false;
        self.file.get_or_insert_with(|| Arc::clone(&file));
        Ok(file)
    }

    /// Opens the file that [`LogEnd::close_file`] closed.
    pub(crate) fn reopened(&self) -> io::Result<Arc<dyn File>> {
        self.segment.reopen_for_appends(self.identity, self.cursor.offset)
    }

    /// Syncs what is not synced yet, such as zeros that were written before the disk was full.
    pub(crate) fn sync_rest(&mut self) -> io::Result<()> {
        if let Some(file) = self.file.as_ref().filter(|_| !self.is_synced) {
            file.sync()?;
            self.is_synced = true;
        }
        Ok(())
    }

    /// Whether the file has space behind the last record, for the next commits.
    pub(crate) fn has_prepared_space(&self) -> bool {
        self.space.is_ahead_of(self.cursor.offset)
    }

    /// Removes that space from the file. The new length is not synced: a start after a power cut
    /// also accepts a file that was not cut.
    pub(crate) fn cut_prepared_space(&mut self) -> io::Result<()> {
        if !self.has_prepared_space() {
            return Ok(());
        }
        let file = self.file.clone().map_or_else(|| self.reopened(), Ok)?;
        let cut = file.set_len(self.cursor.offset);
        if self.file.is_none() {
            // Readers share the file that was opened.
            self.segment.release();
        }
        self.space = Space::default();
        cut
    }

    /// Closes the file. Returns it, so that the caller can drop it without a lock.
    pub(crate) fn close_file(&mut self) -> Option<Arc<dyn File>> {
        self.segment.release();
        self.file.take()
    }
}
