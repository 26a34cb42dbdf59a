//! The snapshot of the producers table, a file that is written at every roll.
//!
//! ```text
//! <end_position>.producers
//!   "STXP" | crc: u32 of bytes 8.. | version: u32 | seal_crc: u32 | end_position: u64
//!   | producers: u32 | zero: u32
//!   producer:  id: u64 | epoch: u32 | blocks: u32 | next_sequence: u64
//!              | last_used_us: u64 | blocks × block
//!   block:     sequence: u64 | count: u32 | body_crc: u32 | base_position: u64
//! ```
//!
//! The least recently used producer comes first. Invariant: a snapshot belongs to the seal whose
//! `header_crc` it contains, and recovery ignores it without that seal.

use styx_protocol::Position;

use super::{BLOCKS_MAX, PRODUCERS_MAX, ProducerHistory, ProducerTable, RememberedBlock};
use crate::fields::Fields;
use crate::format::{Newer, Unusable};

const MAGIC: [u8; 4] = *b"STXP";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 32;
const PRODUCER_BYTES: usize = 32;
const BLOCK_BYTES: usize = 24;

/// No snapshot is larger than this number of bytes.
pub(crate) const BYTES_MAX: u64 =
    (HEADER_BYTES + PRODUCERS_MAX * PRODUCER_BYTES + BLOCKS_MAX * BLOCK_BYTES) as u64;

impl ProducerTable {
    /// Encodes this table as the snapshot at a seal: `seal_crc` is the seal's `header_crc`, and
    /// `end` is the position after the segment.
    pub(crate) fn encode(&self, seal_crc: u32, end: Position) -> Vec<u8> {
        let mut out = Vec::with_capacity(
            HEADER_BYTES + self.states.len() * PRODUCER_BYTES + self.blocks * BLOCK_BYTES,
        );
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&seal_crc.to_be_bytes());
        out.extend_from_slice(&end.0.to_be_bytes());
        out.extend_from_slice(&u32_of(self.states.len()));
        out.extend_from_slice(&[0; 4]);
        for (_, id) in &self.by_use {
            let Some(state) = self.states.get(id) else { continue };
            out.extend_from_slice(&id.to_be_bytes());
            out.extend_from_slice(&state.epoch.to_be_bytes());
            out.extend_from_slice(&u32_of(state.blocks.len()));
            out.extend_from_slice(&state.next_sequence.to_be_bytes());
            out.extend_from_slice(&state.last_used_us.to_be_bytes());
            for block in &state.blocks {
                out.extend_from_slice(&block.sequence.to_be_bytes());
                out.extend_from_slice(&block.count.to_be_bytes());
                out.extend_from_slice(&block.body_crc.to_be_bytes());
                out.extend_from_slice(&block.base.0.to_be_bytes());
            }
        }
        let crc = crc32fast::hash(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// Decodes a snapshot. Returns the table, its `seal_crc` and its end position.
    ///
    /// # Errors
    /// The bytes are not a valid snapshot, or a newer version wrote it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(ProducerTable, u32, Position), Unusable> {
        let damaged = || Unusable::Damaged("this is not a valid snapshot of producers".to_owned());
        match Fields::open(bytes, MAGIC).ok_or_else(damaged)? {
            (VERSION, fields) => read(fields).ok_or_else(damaged),
            (newer, _) if newer > VERSION => Err(Unusable::Newer(Newer::version(newer))),
            _ => Err(damaged()),
        }
    }
}

fn u32_of(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes()
}

/// Reads the fields after the version. `None` if one is missing or bytes are left.
fn read(mut fields: Fields<'_>) -> Option<(ProducerTable, u32, Position)> {
    let read = &mut fields;
    let seal_crc = read.u32()?;
    let end = Position(read.u64()?);
    let count = read.u32()?;
    read.u32()?;
    let mut table = ProducerTable::default();
    for _ in 0..count {
        let id = read.u64()?;
        let mut state = ProducerHistory { epoch: read.u32()?, ..ProducerHistory::default() };
        let blocks = read.u32()?;
        state.next_sequence = read.u64()?;
        state.last_used_us = read.u64()?;
        for _ in 0..blocks {
            state.blocks.push_back(RememberedBlock {
                sequence: read.u64()?,
                count: read.u32()?,
                body_crc: read.u32()?,
                is_crc_of_records: false,
                base: Position(read.u64()?),
            });
        }
        table.update(id, |stored| *stored = state);
    }
    read.0.is_empty().then_some((table, seal_crc, end))
}

#[cfg(test)]
mod tests {
    use styx_protocol::block::{Flags, Header};

    use super::*;

    #[test]
    fn a_snapshot_round_trips_and_every_flipped_bit_is_detected() {
        let mut table = ProducerTable::default();
        let header = Header {
            producer_id: 7,
            producer_epoch: 2,
            sequence: 500,
            count: 3,
            base_position: 10,
            timestamp_us: 11,
            ..Header::default()
        };
        table.replay(&header);
        table.replay(&Header { producer_id: 8, producer_epoch: 0, count: 1, ..header });
        // A producer that has begun, but has not appended yet.
        let flags = Flags::FILLER;
        table.replay(&Header { producer_id: 9, producer_epoch: 4, count: 0, flags, ..header });
        let bytes = table.encode(99, Position(14));
        let (read, seal_crc, end) = ProducerTable::decode(&bytes).expect("the snapshot is valid");
        assert_eq!((seal_crc, end), (99, Position(14)));
        // The snapshot does not say whether a block was compressed.
        let mut expected = table.states.clone();
        let blocks = expected.values_mut().flat_map(|state| &mut state.blocks);
        blocks.for_each(|block| block.is_crc_of_records = false);
        assert_eq!(read.states, expected);
        assert_eq!(read.states[&9].epoch, 4);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let decoded = ProducerTable::decode(&flipped);
            assert!(matches!(decoded, Err(Unusable::Damaged(_))), "bit {bit}");
        }
    }
}
