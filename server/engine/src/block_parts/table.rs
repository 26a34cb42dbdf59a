//! [`PartTable`]: where the parts of one block end, and their checksums.
//!
//! ```text
//! file     header | r r r r | r r r r | r r r r | r r     a part: some whole records, about 4 KiB
//!                 body_at   ▲ end, crc              count
//! ```
//!
//! Every part has the same number of records, except that the last one may have fewer. So a
//! record's part follows from its position. The checksums are taken from a body whose own checksum
//! was just compared. Together with the place and the length of a part, they bind a record to its
//! position and time.

use bytes::Bytes;
use styx_protocol::block::{Block, Codec};
use styx_protocol::limits::BLOCK_HEADER_BYTES;
use styx_protocol::{Position, record};

use crate::sabotage::{Mistake, makes};
use crate::segment::name::Offset;

/// The size that parts have on average: 4 KiB, if records are small.
const PART_BYTES: usize = 4 << 10;
/// A smaller body has no table: 16 KiB. It is read whole in the same time.
const BODY_BYTES_MIN: usize = 16 << 10;

/// See the module.
#[derive(Debug)]
pub(crate) struct PartTable {
    base: Position,
    count: u32,
    timestamp_us: u64,
    /// The offset of the body in the segment.
    body_at: Offset,
    records_per_part: u32,
    ends: Box<[PartEnd]>,
}

/// The end of a part, from the start of the body, and the CRC-32 of its bytes.
#[derive(Debug, Clone, Copy)]
struct PartEnd {
    at: u32,
    crc: u32,
}

/// A part to read, for one record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    /// Its place in the segment.
    pub(crate) offset: Offset,
    pub(crate) len: usize,
    /// The time of its records.
    pub(crate) timestamp_us: u64,
    crc: u32,
    /// The number of records in the part before the one to read.
    skip: u32,
}

impl PartTable {
    /// Makes the table of a block at this offset of its segment. The block must have been checked.
    /// `None` if its records are packed, if it has only one, or if it is small.
    pub(crate) fn of(block: &Block, offset: Offset) -> Option<PartTable> {
        let (header, body) = (block.header(), block.body());
        let is_small = header.count < 2 || body.len() < BODY_BYTES_MIN;
        if is_small || header.codec != Codec::None || header.is_marker() {
            return None;
        }
        let records_per_part = u64::from(header.count) * PART_BYTES as u64 / body.len() as u64;
        let records_per_part = u32::try_from(records_per_part).unwrap_or(u32::MAX).max(1);
        let parts = header.count.div_ceil(records_per_part) as usize;
        let mut ends = Vec::with_capacity(parts.min(body.len()));
        let (mut begins, mut at) = (0, 0);
        for records in 1..=header.count {
            (_, at) = record::frame(body, at).ok()?;
            if records % records_per_part == 0 || records == header.count {
                let crc = crc32fast::hash(body.get(begins..at)?);
                ends.push(PartEnd { at: u32::try_from(at).ok()?, crc });
                begins = at;
            }
        }
        (at == body.len()).then(|| PartTable {
            base: Position(header.base_position),
            count: header.count,
            timestamp_us: header.timestamp_us,
            body_at: offset + BLOCK_HEADER_BYTES as u64,
            records_per_part,
            ends: ends.into_boxed_slice(),
        })
    }

    /// The position of the block's first record.
    pub(crate) fn base(&self) -> Position {
        self.base
    }

    /// The position after its last record.
    pub(crate) fn end(&self) -> Position {
        self.base + u64::from(self.count)
    }

    /// The memory that the table uses.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<PartTable>() + size_of_val(&*self.ends)
    }

    /// The part that holds a position; `None` if the block does not.
    pub(crate) fn part_of(&self, position: Position) -> Option<Part> {
        if position < self.base || position >= self.end() {
            return None;
        }
        let record = u32::try_from(position.since(self.base)).ok()?;
        let part = (record / self.records_per_part) as usize;
        let end = self.ends.get(part)?;
        let begins = match part.checked_sub(1) {
            Some(before) => self.ends.get(before)?.at,
            None => 0,
        };
        Some(Part {
            offset: self.body_at + u64::from(begins),
            len: end.at.checked_sub(begins)? as usize,
            timestamp_us: self.timestamp_us,
            crc: end.crc,
            skip: record % self.records_per_part,
        })
    }
}

impl Part {
    /// Returns the record's payload. `None` if these are not the bytes that the part had when its
    /// block was checked.
    pub(crate) fn payload(&self, bytes: &Bytes) -> Option<Bytes> {
        let is_intact = bytes.len() == self.len && crc32fast::hash(bytes) == self.crc;
        if !is_intact && !makes(Mistake::TrustPartTables) {
            return None;
        }
        let mut at = 0;
        for _ in 0..self.skip {
            (_, at) = record::frame(bytes, at).ok()?;
        }
        let (begins, end) = record::frame(bytes, at).ok()?;
        Some(bytes.slice(begins..end))
    }
}
