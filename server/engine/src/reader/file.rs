//! Reads blocks from a segment's file.
//!
//! ```text
//! position ─▶ index entry ─▶ chunk of the file ─▶ skip earlier blocks ─▶ check ─▶ extract
//! ```
//!
//! The reader uses this if its position is not in memory. Invariant: no block is returned before
//! its header and body checksums were compared, and no byte after the durable end is read.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use styx_protocol::Position;
use styx_protocol::block::{self, Block, Header, ParseError};
use styx_protocol::limits::{BLOCK_HEADER_BYTES, MAX_RECORD_SIZE_MAX};

use super::ahead::Ahead;
use super::extract::{Bound, Extract, Extracted};
use super::remote::Needs;
use super::{Fetch, FilePlace, READ_BYTES_MIN, Reader};
use crate::Error;
use crate::format::Newer;
use crate::segment::Segment;
use crate::segment::index::{IndexRange, SearchKey};
use crate::segment::name::Offset;
use crate::segment::resync::{self, ChainGoal};
use crate::storage::{DiskWait, File};
use crate::tail::{Group, View};

/// A read of one record reads at least this many bytes: 1 KiB. It reads at most
/// [`READ_BYTES_MIN`], unless the block is larger.
const RECORD_READ_BYTES_MIN: usize = 1 << 10;

/// The result of scanning a chunk of a segment.
struct Scanned {
    /// Bytes of the blocks before the position; may be more than the chunk has.
    skipped: u64,
    /// The complete blocks that begin with the one of the position; `None` if that is incomplete.
    group: Option<Group>,
}

impl Reader {
    /// Reads the next blocks from the file. The inner error is what that needs first.
    pub(super) fn read_file<T: Extract>(
        &mut self,
        view: &View,
        bytes_max: usize,
        disk: DiskWait,
    ) -> Result<Result<Extracted<T>, Needs>, Error> {
        match self.read_blocks(view, bytes_max, disk) {
            Err(error @ Error::CorruptRecord { .. }) if self.distrust(view, &error) => {
                self.read_blocks(view, bytes_max, disk).map_err(|error| self.after_segment(error))
            }
            Err(error @ Error::CorruptRecord { .. }) if self.is_remote(view) => {
                Err(self.after_segment(error))
            }
            Err(Error::CorruptRecord { .. }) if disk == DiskWait::Forbidden => Ok(Err(Needs::Disk)),
            Err(Error::CorruptRecord { offset, .. }) => {
                self.pass_damage(view, offset)?;
                self.read_blocks(view, bytes_max, disk)
            }
            read => read,
        }
    }

    /// Moves the reader's place past the damage at `offset`, if its position is after the damage.
    /// Otherwise marks the log as corrupt, and returns an error with the next readable position.
    fn pass_damage(&mut self, view: &View, offset: Offset) -> Result<(), Error> {
        let Some((index, segment)) = view.segment_of(self.position) else {
            return Err(self.out_of_range(view));
        };
        let goal = match segment.summary() {
            Some(sealed) => ChainGoal::Seal(sealed.seal_crc),
            None => ChainGoal::End(view.durable.position),
        };
        let failed = |error| Error::io("cannot read", &segment.path)(error);
        let file = segment.file().map_err(failed)?;
        let chain = resync::find(&*file, view.readable_bytes(segment), offset, goal);
        let chain = chain.map_err(failed)?;
        let next = match chain {
            Some(chain) if chain.position <= self.position => {
                let segment = Arc::clone(segment);
                self.place = Some(FilePlace { segment, file, offset: chain.offset });
                return Ok(());
            }
            // Only the seal is intact, and it has no record. The next record is in the next
            // segment.
            Some(chain) if chain.position < chain.end_position => Some(chain.position),
            _ => view.segments.get(index + 1).map(|next| next.base),
        };
        let path = segment.path.clone();
        let damage = Error::CorruptRecord { position: self.position, path, offset, next };
        self.log.mark_corrupt(&damage.to_string());
        Err(damage)
    }

    /// As [`Reader::read_file`], but returns the error at damage.
    fn read_blocks<T: Extract>(
        &mut self,
        view: &View,
        bytes_max: usize,
        disk: DiskWait,
    ) -> Result<Result<Extracted<T>, Needs>, Error> {
        if self.place.is_none() {
            self.order.bytes = 0;
        }
        let (mut place, read_estimate) = match self.place(view, disk)? {
            Ok(place) => place,
            Err(needs) => return Ok(Err(needs)),
        };
        let limit = view.readable_bytes(&place.segment);
        let mut want = match bytes_max {
            0 => read_estimate,
            // Compressed blocks may reach the limit with far fewer bytes of the file.
            _ => bytes_max.min(self.used.saturating_mul(2)).max(READ_BYTES_MIN),
        };
        let mut least = BLOCK_HEADER_BYTES;
        loop {
            if place.offset >= limit {
                // The segment must contain the position, so a block is missing.
                return Err(self.damaged(&place.segment, place.offset));
            }
            let ahead = match bytes_max {
                0 => Ahead::Unavailable,
                _ if place.file.is_remote() => Ahead::Unavailable,
                _ => self.read_ahead(&place, limit, least, disk),
            };
            let chunk = match ahead {
                Ahead::Bytes(bytes) => Ok(bytes),
                Ahead::NeedsDisk => Err(Needs::Disk),
                Ahead::Unavailable => self.chunk(&place, limit, want, disk)?,
            };
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(needs) => {
                    self.place = Some(place);
                    return Ok(Err(needs));
                }
            };
            let scanned = self.scan::<T>(&place, &chunk, bytes_max)?;
            place.offset += scanned.skipped;
            let Some(group) = scanned.group else {
                want = match scanned.skipped {
                    // The chunk has no complete block, because the first one is larger.
                    0 => self.block_bytes(&place, &chunk, limit)?,
                    _ => want.max(READ_BYTES_MIN),
                };
                least = if scanned.skipped == 0 { want } else { BLOCK_HEADER_BYTES };
                continue;
            };
            let damaged = |at| self.damaged(&place.segment, place.offset + at as u64);
            let group = std::slice::from_ref(&group);
            let extracted = T::extract(group, self.position, bytes_max).map_err(damaged)?;
            let Some(extracted) = extracted else { return Err(damaged(0)) };
            if bytes_max == 0 {
                self.note_block(&place, group, extracted.used);
            }
            place.offset += extracted.used as u64;
            self.used = extracted.used;
            self.order.bytes = self.order.bytes.saturating_add(extracted.used);
            self.place = Some(place);
            return Ok(Ok(extracted));
        }
    }

    /// Returns the current place if it is usable for the position, otherwise one from the index.
    /// Also returns how many bytes from there probably contain the block of the position. The inner
    /// error is what that needs first: the disk, if `disk` forbids it, or the index of an evicted
    /// segment.
    pub(super) fn place(
        &self,
        view: &View,
        disk: DiskWait,
    ) -> Result<Result<(FilePlace, usize), Needs>, Error> {
        let Some((_, segment)) = view.segment_of(self.position) else {
            return Err(self.out_of_range(view));
        };
        let open_failed = |error: io::Error| {
            // Retention may have removed the segment after the view was taken.
            let now = self.log.tail.view();
            if error.kind() == io::ErrorKind::NotFound && self.position < now.start() {
                return self.out_of_range(&now);
            }
            Error::io("cannot open", &segment.path)(error)
        };
        if let Some(place) = &self.place
            && place.segment.base == segment.base
            && place.offset < view.readable_bytes(segment)
        {
            let mut place = place.clone();
            // The segment may have been uploaded again, or fetched to the disk.
            if place.file.is_remote() {
                match self.open_file(segment, disk).map_err(open_failed)? {
                    Some(file) => place.file = file,
                    None => return Ok(Err(Needs::Disk)),
                }
            }
            return Ok(Ok((place, READ_BYTES_MIN)));
        }
        let Some(file) = self.open_file(segment, disk).map_err(open_failed)? else {
            return Ok(Err(Needs::Disk));
        };
        let range = match segment.find(SearchKey::Position(self.position), disk) {
            Ok(range) => range,
            Err(error)
                if disk == DiskWait::Forbidden && error.kind() == io::ErrorKind::WouldBlock =>
            {
                return Ok(Err(Needs::Disk));
            }
            Err(error) => return Err(Error::io("cannot read the index of", &segment.path)(error)),
        };
        // A segment is read from its start without an index.
        if range.is_none()
            && self.position > segment.base
            && let Some(fetch) = Fetch::index(&self.log, self.position, segment)
        {
            return Ok(Err(Needs::Store(fetch)));
        }
        let offset = range.map_or(0, |range| range.from.offset);
        let read_estimate = range.and_then(|range| self.read_estimate(segment, range));
        let place = FilePlace { segment: Arc::clone(segment), file, offset };
        Ok(Ok((place, read_estimate.unwrap_or(READ_BYTES_MIN))))
    }

    /// Returns the file of a segment. `None` if it is not open, and `disk` forbids to open it.
    pub(super) fn open_file(
        &self,
        segment: &Arc<Segment>,
        disk: DiskWait,
    ) -> io::Result<Option<Arc<dyn File>>> {
        match disk {
            DiskWait::Allowed => self.log.services.open_segments.file(segment).map(Some),
            DiskWait::Forbidden => Ok(segment.open_file()),
        }
    }

    /// Estimates how many bytes of this range to read to get the block of the position. Assumes
    /// that all blocks have the same size. The estimate is at most the size of the range, but
    /// between 1 KiB and 16 KiB. If it is too low, the reader reads again.
    fn read_estimate(&self, segment: &Segment, range: IndexRange) -> Option<usize> {
        let IndexRange { from, until: Some(until) } = range else { return None };
        let bytes = until.offset.checked_sub(from.offset)?;
        let bytes_max = usize::try_from(bytes).ok()?.clamp(RECORD_READ_BYTES_MIN, READ_BYTES_MIN);
        let block_bytes = match segment.block_bytes() {
            0 => return Some(bytes_max),
            known => known,
        };
        let records = until.position.since(from.position).max(1);
        let before = u128::from(bytes) * u128::from(self.position.since(from.position));
        let before = usize::try_from(before / u128::from(records)).ok()?;
        // A reserve, because the blocks of one producer differ a little in size.
        let reserve = bytes_max / 16;
        Some(before.saturating_add(block_bytes + reserve).clamp(RECORD_READ_BYTES_MIN, bytes_max))
    }

    /// Advances a place to the start of the block that contains the position. May read from the
    /// disk.
    pub(super) fn advance_to_block(
        &self,
        mut place: FilePlace,
        view: &View,
    ) -> Result<FilePlace, Error> {
        let limit = view.readable_bytes(&place.segment);
        // Usually the place is already at the block, so one header is enough.
        let mut want = BLOCK_HEADER_BYTES;
        while let Ok(chunk) = self.chunk(&place, limit, want, DiskWait::Allowed)? {
            let skipped = self.bytes_before(&place, &chunk)?;
            if skipped == 0 {
                break;
            }
            place.offset += skipped;
            want = READ_BYTES_MIN;
        }
        Ok(place)
    }

    /// Returns the number of bytes of the blocks before the position, in a chunk that begins at the
    /// place. The last of these blocks may be incomplete, so the result may exceed the chunk.
    fn bytes_before(&self, place: &FilePlace, chunk: &Bytes) -> Result<u64, Error> {
        let mut skipped = 0u64;
        let left = |skipped| chunk.get(usize::try_from(skipped).unwrap_or(usize::MAX)..);
        while let Some(rest) = left(skipped).filter(|rest| rest.len() >= BLOCK_HEADER_BYTES) {
            let offset = place.offset + skipped;
            let damaged = || self.damaged(&place.segment, offset);
            let (header, _) = Header::decode(rest).map_err(|e| self.no_header(place, offset, e))?;
            if header.end_position() > self.position.0 {
                if header.base_position > self.position.0 {
                    return Err(damaged());
                }
                break;
            }
            skipped = skipped.saturating_add(header.block_bytes());
        }
        Ok(skipped)
    }

    /// Reads up to `want` bytes at the place, but not beyond `limit`. The inner error is what that
    /// needs first.
    ///
    /// # Errors
    /// The bytes cannot be read, or there are fewer than a block header has.
    fn chunk(
        &self,
        place: &FilePlace,
        limit: u64,
        want: usize,
        disk: DiskWait,
    ) -> Result<Result<Bytes, Needs>, Error> {
        let left = usize::try_from(limit.saturating_sub(place.offset)).unwrap_or(usize::MAX);
        let mut buffer = BytesMut::zeroed(want.min(left));
        let mut filled = 0;
        while filled < buffer.len() {
            let offset = place.offset + filled as u64;
            match disk.read_at(&*place.file, &mut buffer[filled..], offset) {
                Ok(Some(0)) => break,
                Ok(Some(n)) => filled += n,
                Ok(None) => return Ok(Err(Needs::Disk)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    if let Some(fetch) = self.fetch_for(place, &error, disk) {
                        return Ok(Err(Needs::Store(fetch)));
                    }
                    tracing::error!(%error, path = %place.segment.path.display(), offset, "cannot read a segment");
                    return Err(self.damaged(&place.segment, offset));
                }
            }
        }
        if filled < BLOCK_HEADER_BYTES {
            return Err(self.damaged(&place.segment, place.offset));
        }
        buffer.truncate(filled);
        Ok(Ok(buffer.freeze()))
    }

    /// Scans a chunk that begins at the place. Skips the blocks before the position, which may be
    /// incomplete. Checks each block after that, unless its receiver does, and that its position
    /// follows the block before it.
    fn scan<T: Extract>(
        &self,
        place: &FilePlace,
        chunk: &Bytes,
        bytes_max: usize,
    ) -> Result<Scanned, Error> {
        // Damage in the cache of the object store is fetched again here, before it is sent.
        let is_checked_by_receiver = T::HAS_WHOLE_BLOCKS
            && self.receiver_checks
            && !place.file.is_remote()
            && !self.is_known_to_be_damaged();
        let mut bound = Bound::new(bytes_max);
        let mut blocks: Vec<Block> = Vec::new();
        let skipped = self.bytes_before(place, chunk)?;
        let begins = usize::try_from(skipped).unwrap_or(usize::MAX);
        let mut at = begins;
        let mut next = self.position;
        while let Some(rest) = chunk.get(at..).filter(|rest| rest.len() >= BLOCK_HEADER_BYTES) {
            // Return the intact blocks before the damage first. The next read begins at the damage
            // and reports it.
            let offset = place.offset + at as u64;
            let damaged = || match blocks.is_empty() {
                true => Err(self.damaged(&place.segment, offset)),
                false => Ok(()),
            };
            let header = match Header::decode(rest) {
                Ok((header, _)) => header,
                Err(error) if blocks.is_empty() => {
                    return Err(self.no_header(place, offset, error));
                }
                Err(_) => break,
            };
            let bytes = usize::try_from(header.block_bytes()).unwrap_or(usize::MAX);
            // The first block may begin before the position.
            if !blocks.is_empty() && header.base_position != next.0 {
                break;
            }
            if !bound.admits(T::measure(&header)) {
                break;
            }
            if blocks.is_empty() {
                self.check_memory(&header)?;
            }
            let rest = chunk.slice(at..);
            let parsed = match is_checked_by_receiver {
                true => Block::split(rest, MAX_RECORD_SIZE_MAX),
                false => Block::parse(rest, MAX_RECORD_SIZE_MAX),
            };
            match parsed {
                Ok((block, _)) => blocks.push(block),
                Err(ParseError::Cut { .. }) => break,
                Err(_) => {
                    damaged()?;
                    break;
                }
            }
            at += bytes;
            next = Position(header.end_position());
        }
        let base = blocks.first().map(|block| Position(block.header().base_position));
        let group = base.map(|base| Group::new(base, chunk.slice(begins..at), blocks));
        Ok(Scanned { skipped, group })
    }

    /// The error for bytes that cannot be decoded as a block header.
    fn no_header(&self, place: &FilePlace, offset: Offset, error: block::Error) -> Error {
        match Newer::block(error) {
            Some(newer) => newer.error(&place.segment.path),
            None => self.damaged(&place.segment, offset),
        }
    }

    /// Returns the size of the block at the place, of which `chunk` has only the first bytes.
    fn block_bytes(&self, place: &FilePlace, chunk: &Bytes, limit: u64) -> Result<usize, Error> {
        let damaged = || self.damaged(&place.segment, place.offset);
        let (header, _) =
            Header::decode(chunk).map_err(|e| self.no_header(place, place.offset, e))?;
        let fits = place.offset + header.block_bytes() <= limit;
        let bytes = usize::try_from(header.block_bytes()).map_err(|_| damaged())?;
        if !fits || bytes <= chunk.len() {
            return Err(damaged());
        }
        Ok(bytes)
    }
}
