//! Reads one record.
//!
//! ```text
//! position ─▶ last commits in memory ─▶ part of a block that was checked before ─▶ whole block
//! ```
//!
//! Invariant: a record of a part is returned only after the checksum of the part was compared. If
//! this fails in any way, the whole block is read, which reports the error.

use std::io;

use bytes::BytesMut;

use super::{Batch, FilePlace, Found, Reader, Record};
use crate::Error;
use crate::storage::DiskWait;
use crate::tail::{Group, View};

impl Reader {
    /// Reads the record at the position.
    pub(crate) fn read_one(&mut self, disk: DiskWait) -> Result<Found<Record>, Error> {
        self.measured(|reader| reader.find_one(disk))
    }

    fn find_one(&mut self, disk: DiskWait) -> Result<Found<Record>, Error> {
        let Some(view) = self.view_with_records()? else { return Ok(Found::AtEnd) };
        let extracted = match self.read_memory::<Batch>(0)? {
            Some(extracted) => extracted,
            None => {
                if let Some(found) = self.read_part(&view, disk) {
                    return Ok(found);
                }
                match self.read_file::<Batch>(&view, 0, disk)? {
                    Ok(extracted) => extracted,
                    Err(needs) => return Ok(needs.found()),
                }
            }
        };
        self.kept = None;
        let Some(record) = extracted.found.records().next() else { return Ok(Found::AtEnd) };
        self.position = record.position + 1;
        if self.position < extracted.next {
            // The place is behind the block.
            self.place = None;
        }
        Ok(Found::Some(record))
    }

    /// Reads the record from a part of its block. `None` if there is no table of the block, if the
    /// part cannot be read, or if it has changed.
    fn read_part(&mut self, view: &View, disk: DiskWait) -> Option<Found<Record>> {
        let (_, segment) = view.segment_of(self.position)?;
        let part = segment.part_of(&self.log.services.block_parts, self.position)?;
        if part.len > self.block_bytes_max {
            return None;
        }
        let file = self.open_file(segment, disk).ok()??;
        let mut bytes = BytesMut::zeroed(part.len);
        match disk.read_exact_at(&*file, &mut bytes, part.offset) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Some(Found::NeedsDisk);
            }
            // The part may be in the object store: reading the whole block fetches it.
            Err(_) => return None,
        }
        let payload = part.payload(&bytes.freeze())?;
        let record = Record { position: self.position, timestamp_us: part.timestamp_us, payload };
        self.position = record.position + 1;
        Some(Found::Some(record))
    }

    /// Notes the block of which a record was read, for later reads. The group begins with it, at
    /// this place.
    pub(super) fn note_block(&self, place: &FilePlace, group: &[Group], block_bytes: usize) {
        place.segment.note_block_bytes(block_bytes);
        if let Some(block) = group.first().and_then(|group| group.blocks.first()) {
            let parts = &self.log.services.block_parts;
            place.segment.add_parts(parts, &block.block, place.offset);
        }
    }
}
