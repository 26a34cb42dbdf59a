//! What the log remembers of idempotent producers.
//!
//! ```text
//! <end_position>.producers
//!   "STXP" | crc: u32 of bytes 8.. | version: u32 | seal_crc: u32 | end_position: u64
//!   | producers: u32 | zero: u32
//!   then each: id: u64 | epoch: u32 | blocks: u32 | next_sequence: u64
//!              | last_used_us: u64 | blocks × block
//!   block:     sequence: u64 | count: u32 | body_crc: u32 | base_position: u64
//! ```
//!
//! This is data, not a cache: without it a retry would be appended twice. It is
//! rebuilt from block headers, and snapshotted at every roll because retention
//! may remove the headers. Bounds: 65,536 producers and 262,144 blocks a log,
//! 128 blocks a producer; the longest unused goes first, each 7 days after its
//! last append.

use std::collections::{BTreeSet, HashMap, VecDeque};

use styx_protocol::Position;
use styx_protocol::block::{Flags, Header};

use crate::Error;

const MAGIC: [u8; 4] = *b"STXP";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 32;
const PRODUCER_BYTES: usize = 32;
const BLOCK_BYTES: usize = 24;

const PRODUCERS_MAX: usize = 65_536;
const BLOCKS_MAX: usize = 262_144;
const BLOCKS_OF_ONE_MAX: usize = 128;
const UNUSED_US_MAX: u64 = 7 * 24 * 3600 * 1_000_000;

/// More than any snapshot has.
pub(crate) const BYTES_MAX: u64 =
    (HEADER_BYTES + PRODUCERS_MAX * PRODUCER_BYTES + BLOCKS_MAX * BLOCK_BYTES) as u64;

/// A remembered block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) sequence: u64,
    pub(crate) count: u32,
    pub(crate) body_crc: u32,
    pub(crate) base: Position,
}

/// One producer's state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) epoch: u32,
    pub(crate) next_sequence: u64,
    pub(crate) last_used_us: u64,
    pub(crate) blocks: VecDeque<Remembered>,
}

impl State {
    fn add(&mut self, block: Remembered) {
        // Only a forged block can have no next: `judge` refuses what leads there.
        self.next_sequence = block.sequence.saturating_add(u64::from(block.count));
        self.blocks.push_back(block);
        if self.blocks.len() > BLOCKS_OF_ONE_MAX {
            self.blocks.pop_front();
        }
    }

    /// The position after the record with this sequence, if it is remembered.
    pub(crate) fn end_of(&self, sequence: u64) -> Option<Position> {
        self.blocks.iter().rev().find_map(|block| {
            let at = sequence.checked_sub(block.sequence)?;
            (at < u64::from(block.count)).then(|| block.base + at + 1)
        })
    }
}

/// All producers of a log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    states: HashMap<u64, State>,
    by_use: BTreeSet<(u64, u64)>,
    blocks: usize,
}

/// What to do with loose records of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Append them without the first `skip`, under this epoch.
    Append { skip: u32, epoch: u32 },
    /// All are there already; the last one ends here, if that is remembered.
    Repeated { end: Option<Position> },
}

/// Judges loose records by sequence alone, record by record.
pub(crate) fn judge(
    state: Option<&State>,
    producer: &crate::Producer,
    count: u32,
) -> Result<Verdict, Error> {
    if producer.sequence.checked_add(u64::from(count)).is_none() {
        return Err(Error::SequenceGap {
            producer: producer.id,
            sequence: producer.sequence,
            expected: state.map_or(0, |state| state.next_sequence),
        });
    }
    let Some(state) = state else {
        return Ok(Verdict::Append { skip: 0, epoch: producer.epoch.unwrap_or(0) });
    };
    let epoch = producer.epoch.unwrap_or(state.epoch);
    if epoch < state.epoch {
        return Err(Error::ProducerFenced { producer: producer.id, epoch, current: state.epoch });
    }
    if state.blocks.is_empty() {
        return Ok(Verdict::Append { skip: 0, epoch });
    }
    let expected = state.next_sequence;
    if producer.sequence > expected {
        return Err(Error::SequenceGap {
            producer: producer.id,
            sequence: producer.sequence,
            expected,
        });
    }
    let known = expected - producer.sequence;
    if known >= u64::from(count) {
        let last = producer.sequence.saturating_add(u64::from(count.saturating_sub(1)));
        return Ok(Verdict::Repeated { end: state.end_of(last) });
    }
    Ok(Verdict::Append { skip: u32::try_from(known).unwrap_or(count), epoch })
}

impl Table {
    /// A producer's state.
    pub(crate) fn get(&self, id: u64) -> Option<&State> {
        self.states.get(&id)
    }

    /// Replaces a producer's state after an append, and forgets what is too old
    /// or too much.
    pub(crate) fn put(&mut self, id: u64, state: State) {
        let now_us = state.last_used_us;
        self.remove(id);
        self.blocks += state.blocks.len();
        self.by_use.insert((state.last_used_us, id));
        self.states.insert(id, state);
        self.forget(now_us);
    }

    /// Takes a stored block into account; those without a producer are none of
    /// ours.
    pub(crate) fn replay(&mut self, header: &Header) {
        if header.producer_id == 0 {
            return;
        }
        let mut state = self.get(header.producer_id).cloned().unwrap_or_default();
        state.append(header);
        self.put(header.producer_id, state);
    }

    fn remove(&mut self, id: u64) {
        if let Some(state) = self.states.remove(&id) {
            self.blocks -= state.blocks.len();
            self.by_use.remove(&(state.last_used_us, id));
        }
    }

    fn forget(&mut self, now_us: u64) {
        while let Some(&(last_used_us, id)) = self.by_use.first() {
            let expired = now_us.saturating_sub(last_used_us) > UNUSED_US_MAX;
            let crowded = self.states.len() > PRODUCERS_MAX || self.blocks > BLOCKS_MAX;
            if !expired && !crowded {
                return;
            }
            self.remove(id);
        }
    }

    /// The snapshot of this table at a seal.
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

    /// Reads a snapshot; gives it back with the seal it belongs to. `None` when
    /// the bytes are no snapshot.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(Table, u32, Position)> {
        let mut read = Fields(bytes);
        let magic = read.take::<4>()?;
        let crc = u32::from_be_bytes(read.take()?);
        if magic != MAGIC || crc != crc32fast::hash(read.0) || read.u32()? != VERSION {
            return None;
        }
        let seal_crc = read.u32()?;
        let end = Position(read.u64()?);
        let count = read.u32()?;
        read.u32()?;
        let mut table = Table::default();
        for _ in 0..count {
            let id = read.u64()?;
            let mut state = State { epoch: read.u32()?, ..State::default() };
            let blocks = read.u32()?;
            state.next_sequence = read.u64()?;
            state.last_used_us = read.u64()?;
            for _ in 0..blocks {
                state.blocks.push_back(Remembered {
                    sequence: read.u64()?,
                    count: read.u32()?,
                    body_crc: read.u32()?,
                    base: Position(read.u64()?),
                });
            }
            table.put(id, state);
        }
        read.0.is_empty().then_some((table, seal_crc, end))
    }
}

impl State {
    /// Takes a block of this producer into account: an append, or a filler that
    /// raises the epoch.
    pub(crate) fn append(&mut self, header: &Header) {
        self.epoch = self.epoch.max(header.producer_epoch);
        self.last_used_us = header.timestamp_us;
        if !header.flags.contains(Flags::FILLER) && header.count > 0 {
            self.add(Remembered {
                sequence: header.sequence,
                count: header.count,
                body_crc: header.body_crc,
                base: Position(header.base_position),
            });
        }
    }
}

fn u32_of(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes()
}

/// Fixed-width fields from the front of some bytes.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Producer;

    fn header(id: u64, epoch: u32, sequence: u64, count: u32, base: u64) -> Header {
        Header {
            producer_id: id,
            producer_epoch: epoch,
            sequence,
            count,
            base_position: base,
            timestamp_us: base + 1,
            ..Header::default()
        }
    }

    fn check(
        table: &Table,
        epoch: Option<u32>,
        sequence: u64,
        count: u32,
    ) -> Result<Verdict, Error> {
        judge(table.get(7), &Producer { id: 7, epoch, sequence }, count)
    }

    #[test]
    fn what_was_appended_is_skipped_and_what_is_missing_is_refused() {
        let mut table = Table::default();
        assert_eq!(check(&table, None, 500, 3).unwrap(), Verdict::Append { skip: 0, epoch: 0 });
        table.replay(&header(7, 2, 500, 3, 10));
        assert_eq!(check(&table, None, 503, 1).unwrap(), Verdict::Append { skip: 0, epoch: 2 });
        assert_eq!(check(&table, Some(3), 501, 4).unwrap(), Verdict::Append { skip: 2, epoch: 3 });
        let end = Some(Position(12));
        assert_eq!(check(&table, None, 500, 2).unwrap(), Verdict::Repeated { end });
        assert!(matches!(
            check(&table, None, 504, 1),
            Err(Error::SequenceGap { expected: 503, .. })
        ));
        assert!(matches!(
            check(&table, Some(1), 503, 1),
            Err(Error::ProducerFenced { current: 2, .. })
        ));
    }

    /// A first append with the largest sequence there is was taken; the sequence
    /// after it overflowed, which ended the log's committer where that is checked
    /// and made a retry a gap where it is not.
    #[test]
    fn a_sequence_that_has_no_next_is_refused() {
        let mut table = Table::default();
        let gap = |table: &Table, sequence, count| {
            matches!(check(table, None, sequence, count), Err(Error::SequenceGap { .. }))
        };
        assert!(gap(&table, u64::MAX, 1));
        assert!(gap(&table, u64::MAX - 2, 3));
        assert!(!gap(&table, u64::MAX - 3, 3));
        table.replay(&header(7, 0, u64::MAX - 3, 3, 10));
        assert!(gap(&table, u64::MAX, 1));
        let end = Some(Position(13));
        assert_eq!(check(&table, None, u64::MAX - 3, 3).unwrap(), Verdict::Repeated { end });
        // From a block that nobody judged.
        table.replay(&header(7, 0, u64::MAX, 3, 13));
        assert!(gap(&table, u64::MAX, 1));
    }

    #[test]
    fn a_snapshot_reads_back_and_any_flipped_bit_is_refused() {
        let mut table = Table::default();
        table.replay(&header(7, 2, 500, 3, 10));
        table.replay(&header(8, 0, 0, 1, 13));
        let bytes = table.encode(99, Position(14));
        let (read, seal_crc, end) = Table::decode(&bytes).unwrap();
        assert_eq!((seal_crc, end), (99, Position(14)));
        assert_eq!(read.states, table.states);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Table::decode(&flipped).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn the_longest_unused_goes_first_and_after_a_week_everyone() {
        let mut table = Table::default();
        for id in 1..=PRODUCERS_MAX as u64 + 1 {
            table.replay(&header(id, 0, 0, 1, id));
        }
        assert!(table.get(1).is_none());
        assert!(table.get(2).is_some());
        let mut late = header(9, 0, 1, 1, 5);
        late.timestamp_us = UNUSED_US_MAX * 2;
        table.replay(&late);
        assert!(table.get(2).is_none());
        assert!(table.get(9).is_some());
    }
}
