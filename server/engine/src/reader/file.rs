//! Reading from a segment's file: find the place, read, check every block.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use styx_protocol::Position;
use styx_protocol::block::Header;
use styx_protocol::limits::BLOCK_HEADER_BYTES;

use super::{Batch, Disk, Place, READ_BYTES_MIN, Reader, batch_next};
use crate::Error;
use crate::segment::index::Key;
use crate::segment::name::Offset;
use crate::segment::resume::{self, Goal};
use crate::tail::View;

impl Reader {
    /// The next records from the file; `None` when the disk would have to be
    /// waited for.
    pub(super) fn read_file(
        &mut self,
        view: &View,
        bytes_max: usize,
        disk: Disk,
    ) -> Result<Option<Batch>, Error> {
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
            None => Goal::Durable(view.durable.position),
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

    fn read_blocks(
        &mut self,
        view: &View,
        bytes_max: usize,
        disk: Disk,
    ) -> Result<Option<Batch>, Error> {
        let Some(mut place) = self.place(view, disk)? else { return Ok(None) };
        let limit = view.readable_bytes(&place.segment);
        let mut want = bytes_max.max(READ_BYTES_MIN);
        let mut batch = Batch::default();
        let mut next = self.position;
        while batch.runs.is_empty() {
            if place.offset >= limit {
                // The segment was to hold the position.
                return Err(self.damaged(&place.segment, place.offset));
            }
            let Some(chunk) = self.chunk(&place, limit, want, disk)? else {
                self.place = Some(place);
                return Ok(None);
            };
            let mut rest = chunk.clone();
            while batch.len_bytes() < bytes_max.max(1) {
                let (header, body) = match self.checked_block(&place, &mut rest, next) {
                    Ok(Some(block)) => block,
                    Ok(None) => break,
                    // What is whole before the damage is given out first: the
                    // next read, which begins there, names its position.
                    Err(_) if !batch.runs.is_empty() => break,
                    Err(error) => return Err(error),
                };
                if !self.add(&mut batch, &header, body) {
                    if !batch.runs.is_empty() {
                        break;
                    }
                    return Err(self.damaged(&place.segment, place.offset));
                }
                place.offset += header.block_bytes();
                next = batch_next(&batch).unwrap_or(next);
            }
            want = if rest.len() == chunk.len() {
                // Not one whole block: it is longer than what was read.
                self.block_bytes(&place, &chunk, limit, next)?
            } else {
                bytes_max.max(READ_BYTES_MIN)
            };
        }
        self.place = Some(place);
        Ok(Some(batch))
    }

    /// The place at hand if it is good for the position, else one looked up.
    fn place(&self, view: &View, disk: Disk) -> Result<Option<Place>, Error> {
        let Some((_, segment)) = view.segment_of(self.position) else {
            return Err(self.out_of_range(view));
        };
        if let Some(place) = &self.place
            && place.segment.base == segment.base
            && place.offset < view.readable_bytes(segment)
        {
            return Ok(Some(place.clone()));
        }
        let open_failed = |error: io::Error| {
            // Retention may have removed it since the view was taken.
            let now = self.log.tail.view();
            if error.kind() == io::ErrorKind::NotFound && self.position < now.start() {
                return self.out_of_range(&now);
            }
            Error::io("cannot open", &segment.path)(error)
        };
        let file = match (segment.open_file(), disk) {
            (Some(file), _) => file,
            (None, Disk::MayNot) => return Ok(None),
            (None, Disk::May) => segment.file().map_err(open_failed)?,
        };
        let entry = segment
            .find(Key::Position(self.position))
            .map_err(Error::io("cannot read the index of", &segment.path))?;
        let offset = entry.map_or(0, |entry| entry.offset);
        Ok(Some(Place { segment: Arc::clone(segment), file, offset }))
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
            let read = match disk {
                Disk::May => place.file.read_at(&mut buffer[filled..], offset).map(Some),
                Disk::MayNot => place.file.try_read_at(&mut buffer[filled..], offset),
            };
            match read {
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

    /// The next whole block of a chunk that begins at the place, checked. `None`
    /// when the chunk ends before the block does.
    fn checked_block(
        &self,
        place: &Place,
        rest: &mut Bytes,
        next: Position,
    ) -> Result<Option<(Header, Bytes)>, Error> {
        if rest.len() < BLOCK_HEADER_BYTES {
            return Ok(None);
        }
        let damaged = || self.damaged(&place.segment, place.offset);
        let (header, _) = Header::decode(rest).map_err(|_| damaged())?;
        if header.base_position > next.0 {
            return Err(damaged());
        }
        let size = header.body_size as usize;
        if rest.len() - BLOCK_HEADER_BYTES < size {
            return Ok(None);
        }
        let block = rest.split_to(BLOCK_HEADER_BYTES + size);
        let body = block.slice(BLOCK_HEADER_BYTES..);
        // Blocks that are only passed over need not be whole.
        let needed = !header.is_marker() && header.end_position() > next.0;
        if needed && crc32fast::hash(&body) != header.body_crc {
            return Err(damaged());
        }
        Ok(Some((header, body)))
    }

    /// Bytes of the block at the place, of which `chunk` is the beginning.
    fn block_bytes(
        &self,
        place: &Place,
        chunk: &Bytes,
        limit: u64,
        next: Position,
    ) -> Result<usize, Error> {
        let damaged = || self.damaged(&place.segment, place.offset);
        let (header, _) = Header::decode(chunk).map_err(|_| damaged())?;
        let fits = place.offset + header.block_bytes() <= limit;
        let bytes = usize::try_from(header.block_bytes()).map_err(|_| damaged())?;
        if !fits || bytes <= chunk.len() || header.base_position > next.0 {
            return Err(damaged());
        }
        Ok(bytes)
    }
}
