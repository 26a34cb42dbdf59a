//! The mutable end of a log: where the next block goes.
//!
//! [`End`] has one owner at a time, the thread that holds the log's `end` lock.
//! It is made by recovery alone. A [`Cursor`] is the part of it that a plan
//! moves forward on a copy, so that a plan that cannot be written leaves no
//! trace.

use std::io;
use std::sync::{Arc, Mutex};

use styx_protocol::Position;
use styx_protocol::block::{Flags, Header};

use crate::producers::Table;
use crate::segment::index::Spacing;
use crate::segment::name::Offset;
use crate::segment::{Sealed, Segment};
use crate::storage::{DIRECT_ALIGNMENT, File, write_all_at, write_all_direct_at};
use crate::tail::Durable;

/// Where the next block goes and what it follows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) offset: Offset,
    pub(crate) position: Position,
    pub(crate) prev_crc: u32,
    /// Of the last block; the next one is not earlier.
    pub(crate) timestamp_us: u64,
    /// Of the newest segment alone.
    pub(crate) records: u64,
    pub(crate) record_bytes: u64,
    pub(crate) first_timestamp_us: u64,
    pub(crate) last_timestamp_us: u64,
}

impl Cursor {
    /// What is published once everything before the cursor is synced.
    pub(crate) fn durable(&self) -> Durable {
        Durable {
            position: self.position,
            offset: self.offset,
            record_bytes: self.record_bytes,
            first_timestamp_us: self.first_timestamp_us,
            last_timestamp_us: self.last_timestamp_us,
        }
    }

    /// Moves over a block that stands here.
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

/// Where a group will go, durable or not what comes before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteHead {
    pub(crate) cursor: Cursor,
    pub(crate) salt: u64,
    pub(crate) epoch: u32,
    pub(crate) spacing: Spacing,
    /// Only after a roll.
    pub(crate) is_sealed: bool,
}

impl WriteHead {
    /// The header of a block without records that would go here.
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
pub(crate) struct End {
    pub(crate) segment: Arc<Segment>,
    pub(crate) file: Arc<dyn File>,
    pub(crate) cursor: Cursor,
    pub(crate) salt: u64,
    pub(crate) epoch: u32,
    pub(crate) spacing: Spacing,
    /// What is durable; others look at it.
    pub(crate) producers: Arc<Mutex<Table>>,
    /// The base of the segment before this one.
    pub(crate) previous_base: Option<Position>,
    /// Set between the seal of a segment and the birth of its successor.
    pub(crate) sealed: Option<Sealed>,
    pub(crate) space: Space,
}

impl End {
    /// Where the next group goes when everything before it is durable.
    pub(crate) fn head(&self) -> WriteHead {
        let End { cursor, salt, epoch, spacing, .. } = *self;
        WriteHead { cursor, salt, epoch, spacing, is_sealed: self.sealed.is_some() }
    }
}

/// Why a write did not happen.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No space, and nothing was written: the log is as it was.
    Full,
    /// Anything else: nobody knows what is on the disk.
    Broken(String),
}

impl Failure {
    /// Judges an error before which nothing was written.
    pub(crate) fn before_writing(doing: &str, error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failure::Full,
            _ => Failure::broken(doing, error),
        }
    }

    /// An error after which the disk's state is unknown.
    pub(crate) fn broken(doing: &str, error: &io::Error) -> Failure {
        Failure::Broken(format!("{doing} failed: {error}"))
    }
}

/// Space made ready in front of the end.
///
/// Small commits go onto zeros that were written before, which spares each sync
/// what says that a file has grown (half its time on ext4). Large ones reserve
/// their space, so that a full disk is noticed before the first byte goes out.
#[derive(Debug, Default)]
pub(crate) struct Space {
    ready_until: Offset,
    zeros: usize,
}

const SMALL_BYTES: usize = 64 << 10;
const ZEROS_MIN: usize = 64 << 10;
const ZEROS_MAX: usize = 1 << 20;
const RESERVE_AHEAD: u64 = 8 << 20;
static ZEROS: [u8; ZEROS_MAX] = [0; ZEROS_MAX];

impl Space {
    /// Makes ready for a write of `len` bytes at `offset`, in a segment that
    /// grows to about `segment_bytes_max`.
    pub(crate) fn prepare(
        &mut self,
        file: &dyn File,
        offset: Offset,
        len: usize,
        segment_bytes_max: u64,
    ) -> Result<(), Failure> {
        let until = offset + len as u64;
        if until <= self.ready_until {
            return Ok(());
        }
        let left = segment_bytes_max.saturating_sub(until);
        if len > SMALL_BYTES {
            let ahead = until + RESERVE_AHEAD.min(left);
            if file.reserve(offset, ahead).is_ok() {
                self.ready_until = ahead;
                return Ok(());
            }
            return self.reserve_exactly(file, offset, until);
        }
        self.zeros = (self.zeros * 2).clamp(ZEROS_MIN, ZEROS_MAX);
        let zeros = self.zeros.min(usize::try_from(left).unwrap_or(ZEROS_MAX));
        if zeros == 0 {
            return self.reserve_exactly(file, offset, until);
        }
        match write_all_at(file, &ZEROS[..zeros], until) {
            Ok(()) => self.ready_until = until + zeros as u64,
            // The commit itself may still fit.
            Err((error, _)) if matches!(Failure::before_writing("", &error), Failure::Full) => {
                return self.reserve_exactly(file, offset, until);
            }
            Err((error, _)) => return Err(Failure::broken("writing zeros", &error)),
        }
        Ok(())
    }
}

impl Space {
    /// Space for one write alone, on a disk that is nearly full. Only what was
    /// really reserved counts as ready: a write that finds too little in its
    /// middle would end the log's appends.
    fn reserve_exactly(
        &mut self,
        file: &dyn File,
        offset: Offset,
        until: Offset,
    ) -> Result<(), Failure> {
        file.reserve(offset, until)
            .map_err(|error| Failure::before_writing("reserving space", &error))?;
        self.ready_until = until;
        Ok(())
    }
}

/// Writes all of `bytes` at `offset`.
pub(crate) fn write(file: &dyn File, bytes: &[u8], offset: Offset) -> Result<(), Failure> {
    write_all_at(file, bytes, offset).map_err(|(error, written)| match written {
        0 => Failure::before_writing("a write", &error),
        _ => Failure::broken("a write", &error),
    })
}

/// As [`write`], past the page cache from the first boundary on: the filler before it
/// shares its page with what is there already.
pub(crate) fn write_aligned(file: &dyn File, bytes: &[u8], offset: Offset) -> Result<(), Failure> {
    let boundary = offset.next_multiple_of(DIRECT_ALIGNMENT as u64);
    let ahead = usize::try_from(boundary - offset).unwrap_or_default().min(bytes.len());
    let (filler, rest) = bytes.split_at(ahead);
    let whole_pages = rest.len().is_multiple_of(DIRECT_ALIGNMENT);
    if !whole_pages || rest.as_ptr().align_offset(DIRECT_ALIGNMENT) != 0 {
        return write(file, bytes, offset);
    }
    write(file, filler, offset)?;
    write_all_direct_at(file, rest, boundary).map_err(|(error, written)| match ahead + written {
        0 => Failure::before_writing("a write", &error),
        _ => Failure::broken("a write", &error),
    })
}
