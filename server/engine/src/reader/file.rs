//! Reading from a segment's file: find the place, read, check every block.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use styx_protocol::Position;
use styx_protocol::block::{Block, Header, ParseError};
use styx_protocol::limits::{BLOCK_HEADER_BYTES, MAX_RECORD_SIZE_MAX};

use super::take::{Bound, Take, Taken};
use super::{Place, READ_BYTES_MIN, Reader};
use crate::Error;
use crate::segment::Segment;
use crate::segment::index::{Key, Stretch};
use crate::segment::name::Offset;
use crate::segment::resume::{self, Goal};
use crate::storage::Disk;
use crate::tail::{Group, View};

/// Bytes read at once for a single record, at least; at most [`READ_BYTES_MIN`], unless
/// its block is larger.
const REACH_BYTES_MIN: usize = 1 << 10;

/// What a look at some bytes of a segment came to.
struct Scanned {
    /// Bytes of blocks that lie before the position; may be more than there were.
    passed: u64,
    /// The whole blocks from the position on, if there is one.
    group: Option<Group>,
}

impl Reader {
    /// What comes next, from the file; `None` when the disk would have to be
    /// waited for.
    pub(super) fn read_file<T: Take>(
        &mut self,
        view: &View,
        bytes_max: usize,
        disk: Disk,
    ) -> Result<Option<Taken<T>>, Error> {
        match self.read_blocks(view, bytes_max, disk) {
            Err(Error::CorruptRecord { .. }) if disk == Disk::MayNot => Ok(None),
            Err(Error::CorruptRecord { offset, .. }) => {
                self.pass_damage(view, offset)?;
                self.read_blocks(view, bytes_max, disk)
            }
            read => read,
        }
    }

    /// Moves behind damage if the position lies there; else says where reading
    /// can go on.
    fn pass_damage(&mut self, view: &View, offset: Offset) -> Result<(), Error> {
        let Some((index, segment)) = view.segment_of(self.position) else {
            return Err(self.out_of_range(view));
        };
        let goal = match segment.summary() {
            Some(sealed) => Goal::Seal(sealed.seal_crc),
            None => Goal::End(view.durable.position),
        };
        let failed = |error| Error::io("cannot read", &segment.path)(error);
        let file = segment.file().map_err(failed)?;
        let chain = resume::find(&*file, view.readable_bytes(segment), offset, goal);
        let chain = chain.map_err(failed)?;
        let next = match chain {
            Some(chain) if chain.position <= self.position => {
                let segment = Arc::clone(segment);
                self.place = Some(Place { segment, file, offset: chain.offset });
                return Ok(());
            }
            // A seal alone is no record: what comes is in the next segment.
            Some(chain) if chain.position < chain.end_position => Some(chain.position),
            _ => view.segments.get(index + 1).map(|next| next.base),
        };
        let path = segment.path.clone();
        let damage = Error::CorruptRecord { position: self.position, path, offset, next };
        self.log.mark_corrupt(&damage.to_string());
        Err(damage)
    }

    fn read_blocks<T: Take>(
        &mut self,
        view: &View,
        bytes_max: usize,
        disk: Disk,
    ) -> Result<Option<Taken<T>>, Error> {
        let Some((mut place, reach)) = self.place(view, disk)? else { return Ok(None) };
        let limit = view.readable_bytes(&place.segment);
        let mut want = match bytes_max {
            0 => reach,
            // Packed blocks may fill the bound long before their bytes do.
            _ => bytes_max.min(self.used.saturating_mul(2)).max(READ_BYTES_MIN),
        };
        loop {
            if place.offset >= limit {
                // The segment was to hold the position.
                return Err(self.damaged(&place.segment, place.offset));
            }
            let Some(chunk) = self.chunk(&place, limit, want, disk)? else {
                self.place = Some(place);
                return Ok(None);
            };
            let scanned = self.scan::<T>(&place, &chunk, bytes_max)?;
            place.offset += scanned.passed;
            let Some(group) = scanned.group else {
                want = match scanned.passed {
                    // Not one whole block: it is longer than what was read.
                    0 => self.block_bytes(&place, &chunk, limit)?,
                    _ => want.max(READ_BYTES_MIN),
                };
                continue;
            };
            let damaged = |at| self.damaged(&place.segment, place.offset + at as u64);
            let group = std::slice::from_ref(&group);
            let taken = T::take(group, self.position, bytes_max).map_err(damaged)?;
            let Some(taken) = taken else { return Err(damaged(0)) };
            place.offset += taken.used as u64;
            self.used = taken.used;
            if bytes_max == 0 {
                place.segment.note_block_bytes(taken.used);
            }
            self.place = Some(place);
            return Ok(Some(taken));
        }
    }

    /// The place at hand if it is good for the position, else one looked up; with how
    /// many bytes from there on probably hold the position's block.
    pub(super) fn place(&self, view: &View, disk: Disk) -> Result<Option<(Place, usize)>, Error> {
        let Some((_, segment)) = view.segment_of(self.position) else {
            return Err(self.out_of_range(view));
        };
        if let Some(place) = &self.place
            && place.segment.base == segment.base
            && place.offset < view.readable_bytes(segment)
        {
            return Ok(Some((place.clone(), READ_BYTES_MIN)));
        }
        let open_failed = |error: io::Error| {
            // Retention may have removed it since the view was taken.
            let now = self.log.tail.view();
            if error.kind() == io::ErrorKind::NotFound && self.position < now.start() {
                return self.out_of_range(&now);
            }
            Error::io("cannot open", &segment.path)(error)
        };
        let file = match disk {
            Disk::May => self.log.services.open_segments.file(segment).map_err(open_failed)?,
            Disk::MayNot => match segment.open_file() {
                Some(file) => file,
                None => return Ok(None),
            },
        };
        let stretch = match segment.find(Key::Position(self.position), disk) {
            Ok(stretch) => stretch,
            Err(error) if disk == Disk::MayNot && error.kind() == io::ErrorKind::WouldBlock => {
                return Ok(None);
            }
            Err(error) => return Err(Error::io("cannot read the index of", &segment.path)(error)),
        };
        let offset = stretch.map_or(0, |stretch| stretch.from.offset);
        let reach = stretch.and_then(|stretch| self.reach(segment, stretch));
        let place = Place { segment: Arc::clone(segment), file, offset };
        Ok(Some((place, reach.unwrap_or(READ_BYTES_MIN))))
    }

    /// How many bytes of this stretch to read for the block with the position: up to
    /// where it ends if blocks are alike, never more than all. A guess; who reads too
    /// little reads again.
    fn reach(&self, segment: &Segment, stretch: Stretch) -> Option<usize> {
        let Stretch { from, until: Some(until) } = stretch else { return None };
        let bytes = until.offset.checked_sub(from.offset)?;
        let most = usize::try_from(bytes).ok()?.clamp(REACH_BYTES_MIN, READ_BYTES_MIN);
        let block_bytes = match segment.block_bytes() {
            0 => return Some(most),
            known => known,
        };
        let records = until.position.since(from.position).max(1);
        let before = u128::from(bytes) * u128::from(self.position.since(from.position));
        let before = usize::try_from(before / u128::from(records)).ok()?;
        // Blocks of one kind differ a little.
        let spare = most / 16;
        Some(before.saturating_add(block_bytes + spare).clamp(REACH_BYTES_MIN, most))
    }

    /// Goes on from a place to where the block with the position begins. May wait
    /// for the disk.
    pub(super) fn at_its_block(&self, mut place: Place, view: &View) -> Result<Place, Error> {
        let limit = view.readable_bytes(&place.segment);
        // Mostly it is there already.
        let mut want = BLOCK_HEADER_BYTES;
        while let Some(chunk) = self.chunk(&place, limit, want, Disk::May)? {
            let passed = self.pass(&place, &chunk)?;
            if passed == 0 {
                break;
            }
            place.offset += passed;
            want = READ_BYTES_MIN;
        }
        Ok(place)
    }

    /// How many bytes of blocks lie before the position, of a chunk that begins at
    /// the place; may be more than there were. They need not be whole.
    fn pass(&self, place: &Place, chunk: &Bytes) -> Result<u64, Error> {
        let mut passed = 0u64;
        let left = |passed| chunk.get(usize::try_from(passed).unwrap_or(usize::MAX)..);
        while let Some(rest) = left(passed).filter(|rest| rest.len() >= BLOCK_HEADER_BYTES) {
            let damaged = || self.damaged(&place.segment, place.offset + passed);
            let (header, _) = Header::decode(rest).map_err(|_| damaged())?;
            if header.end_position() > self.position.0 {
                if header.base_position > self.position.0 {
                    return Err(damaged());
                }
                break;
            }
            passed = passed.saturating_add(header.block_bytes());
        }
        Ok(passed)
    }

    /// Up to `want` bytes at the place, within the readable part.
    fn chunk(
        &self,
        place: &Place,
        limit: u64,
        want: usize,
        disk: Disk,
    ) -> Result<Option<Bytes>, Error> {
        let left = usize::try_from(limit.saturating_sub(place.offset)).unwrap_or(usize::MAX);
        let mut buffer = BytesMut::zeroed(want.min(left));
        let mut filled = 0;
        while filled < buffer.len() {
            let offset = place.offset + filled as u64;
            match disk.read_at(&*place.file, &mut buffer[filled..], offset) {
                Ok(Some(0)) => break,
                Ok(Some(n)) => filled += n,
                Ok(None) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::error!(%error, path = %place.segment.path.display(), offset, "cannot read a segment");
                    return Err(self.damaged(&place.segment, offset));
                }
            }
        }
        if filled < BLOCK_HEADER_BYTES {
            return Err(self.damaged(&place.segment, place.offset));
        }
        buffer.truncate(filled);
        Ok(Some(buffer.freeze()))
    }

    /// Goes through a chunk that begins at the place. Blocks before the position
    /// are passed over and need not be whole; from there on each is checked, and
    /// follows the one before it.
    fn scan<T: Take>(
        &self,
        place: &Place,
        chunk: &Bytes,
        bytes_max: usize,
    ) -> Result<Scanned, Error> {
        let mut bound = Bound::new(bytes_max);
        let mut blocks: Vec<Block> = Vec::new();
        let passed = self.pass(place, chunk)?;
        let begins = usize::try_from(passed).unwrap_or(usize::MAX);
        let mut at = begins;
        let mut next = self.position;
        while let Some(rest) = chunk.get(at..).filter(|rest| rest.len() >= BLOCK_HEADER_BYTES) {
            // What is whole before damage is given out first: the next read, which
            // begins there, tells of it.
            let damaged = || match blocks.is_empty() {
                true => Err(self.damaged(&place.segment, place.offset + at as u64)),
                false => Ok(()),
            };
            let Ok((header, _)) = Header::decode(rest) else {
                damaged()?;
                break;
            };
            let bytes = usize::try_from(header.block_bytes()).unwrap_or(usize::MAX);
            // The first may hold the position anywhere.
            if !blocks.is_empty() && header.base_position != next.0 {
                break;
            }
            if !bound.admits(T::measure(&header)) {
                break;
            }
            match Block::parse(chunk.slice(at..), MAX_RECORD_SIZE_MAX) {
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
        Ok(Scanned { passed, group })
    }

    /// Bytes of the block at the place, of which `chunk` is the beginning.
    fn block_bytes(&self, place: &Place, chunk: &Bytes, limit: u64) -> Result<usize, Error> {
        let damaged = || self.damaged(&place.segment, place.offset);
        let (header, _) = Header::decode(chunk).map_err(|_| damaged())?;
        let fits = place.offset + header.block_bytes() <= limit;
        let bytes = usize::try_from(header.block_bytes()).map_err(|_| damaged())?;
        if !fits || bytes <= chunk.len() {
            return Err(damaged());
        }
        Ok(bytes)
    }
}
