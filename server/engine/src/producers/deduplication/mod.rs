//! Decides whether to append, skip or refuse an append of a named producer, and which epoch a
//! producer gets when it begins.
//!
//! ```text
//!   remembered blocks … next                           ProducerTable: durable
//!                        │ in flight, planned … next'  PendingChanges of one or two groups
//!
//!                   before next             at next   after next   across next
//!   block           repeated, if it is      append    gap          gap
//!                   remembered; or refused
//!   loose records   repeated                append    gap          skip some, append the rest
//! ```
//!
//! Loose records that cover a whole remembered block must be the records of that block. If they
//! cover only a part of it, or if it was compressed, the log cannot compare them, so it takes them
//! for a repetition. The same is true of blocks that are known only from a snapshot.
//!
//! A request is checked against three layers: the durable state, the changes of the group in
//! flight, and the changes that the current group has planned ([`ProducerView`]). The changes of
//! a group stay in [`PendingChanges`] until the group is durable. A producer without remembered
//! blocks may begin with any sequence number.

use std::collections::HashMap;

use styx_protocol::block::Header;
use styx_protocol::{Position, Records};

use super::{PRODUCER_BLOCKS_MAX, ProducerHistory, ProducerTable, RememberedBlock};
use crate::{Error, Payload, Producer};

/// The changes that a group makes to one producer.
#[derive(Debug, Default, Clone)]
pub(crate) struct PendingChange {
    /// Whether the state before the group is forgotten.
    pub(super) forgets: bool,
    /// The blocks and the epoch that the group adds after that.
    pub(super) state: Option<ProducerHistory>,
}

/// The changes that a group makes to producers, by producer id.
pub(crate) type PendingChanges = HashMap<u64, PendingChange>;

impl PendingChange {
    /// Adds a planned block of this producer, or a filler that raises its epoch.
    pub(crate) fn append(&mut self, header: &Header) {
        self.state.get_or_insert_default().append(header);
    }

    /// Forgets the producer's state, including the earlier changes of this group.
    pub(crate) fn forget(&mut self) {
        *self = PendingChange { forgets: true, state: None };
    }
}

/// The state of a producer at one point of a group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProducerView<'a> {
    id: u64,
    /// The durable state, the changes in flight and the planned changes.
    states: [Option<&'a ProducerHistory>; 3],
}

/// The loose records of a request, as far as a decision depends on them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SentRecords<'a> {
    /// Complete records.
    Records(&'a Records),
    /// One record, whose payload is in pieces.
    Pieces(&'a Payload),
}

impl SentRecords<'_> {
    /// The number of records.
    pub(crate) fn count(&self) -> u32 {
        match self {
            SentRecords::Records(records) => records.count(),
            SentRecords::Pieces(_) => 1,
        }
    }

    /// The checksum of the body of a block with these `count` records, after the first `skip`.
    fn crc(&self, skip: u32, count: u32) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        match self {
            SentRecords::Records(records) => {
                let from = records.skip(skip);
                let rest = from.skip(count).bytes().len();
                crc.update(&from.bytes().slice(..from.bytes().len() - rest));
            }
            SentRecords::Pieces(payload) => {
                payload.encoded().iter().for_each(|piece| crc.update(piece));
            }
        }
        crc.finalize()
    }
}

/// The decision for loose records of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordsDecision {
    /// Append them under this epoch, without the first `skip` records.
    Append { skip: u32, epoch: u32 },
    /// All records are already stored. `end` is the position after the last one, if its block is
    /// remembered.
    Repeated { end: Option<Position> },
}

/// The decision for a block of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockDecision {
    /// Append the block.
    Append,
    /// The block is already stored and begins at position `base`.
    Repeated { base: Position },
}

impl<'a> ProducerView<'a> {
    /// The view that includes the group in flight and the planned `changes` of the current group.
    pub(crate) fn of(
        id: u64,
        table: &'a ProducerTable,
        changes: &'a PendingChanges,
    ) -> ProducerView<'a> {
        let mut states = [table.get(id), None, None];
        let groups = [table.in_flight.get(&id), changes.get(&id)];
        for (layer, change) in (1..).zip(groups) {
            let Some(change) = change else { continue };
            if change.forgets {
                states = [None; 3];
            }
            states[layer] = change.state.as_ref();
        }
        ProducerView { id, states }
    }

    /// The view of the durable state only.
    pub(crate) fn durable(id: u64, table: &'a ProducerTable) -> ProducerView<'a> {
        ProducerView { id, states: [table.get(id), None, None] }
    }

    /// The current epoch; 0 if the producer is unknown.
    pub(crate) fn epoch(&self) -> u32 {
        self.states().map(|state| state.epoch).max().unwrap_or(0)
    }

    /// The sequence number at which the next block must begin. `None` if every number is accepted,
    /// because no block is remembered.
    pub(crate) fn next_sequence(&self) -> Option<u64> {
        let appended = self.states().find(|state| !state.blocks.is_empty());
        appended.map(|state| state.next_sequence)
    }

    /// Decides whether to append loose records. Each record is decided separately, by its sequence
    /// number.
    ///
    /// # Errors
    /// [`Error::SequenceGap`] or [`Error::ProducerFenced`]; [`Error::SequenceReused`] if they cover
    /// a remembered block and differ from its records.
    pub(crate) fn decide(
        &self,
        producer: &Producer,
        sent: &SentRecords<'_>,
    ) -> Result<RecordsDecision, Error> {
        let (sequence, count) = (producer.sequence, sent.count());
        let end = self.end_of_sequence(sequence, count)?;
        let epoch = producer.epoch.unwrap_or(self.epoch());
        self.check_epoch(epoch)?;
        let Some(next) = self.next_sequence() else {
            return Ok(RecordsDecision::Append { skip: 0, epoch });
        };
        if sequence > next {
            return Err(self.gap(sequence, next));
        }
        if sequence < next {
            self.check_same_records(sequence, end, sent)?;
        }
        if end <= next {
            return Ok(RecordsDecision::Repeated {
                end: self.position_after(end.saturating_sub(1)),
            });
        }
        let skip = u32::try_from(next - sequence).unwrap_or(count);
        Ok(RecordsDecision::Append { skip, epoch })
    }

    /// Decides whether to append a block. It is appended, repeated or refused as a whole, and is
    /// repeated only if a remembered block has the same sequence, count and body checksum.
    ///
    /// # Errors
    /// [`Error::SequenceGap`], [`Error::SequenceReused`] or [`Error::ProducerFenced`].
    pub(crate) fn decide_block(&self, header: &Header) -> Result<BlockDecision, Error> {
        let sequence = header.sequence;
        let end = self.end_of_sequence(sequence, header.count)?;
        self.check_epoch(header.producer_epoch)?;
        match self.next_sequence() {
            None => Ok(BlockDecision::Append),
            Some(next) if sequence == next => Ok(BlockDecision::Append),
            Some(next) if end > next => Err(self.gap(sequence, next)),
            Some(_) => {
                let same = |block: &&RememberedBlock| {
                    (block.sequence, block.count, block.body_crc)
                        == (sequence, header.count, header.body_crc)
                };
                match self.blocks().find(same) {
                    Some(block) => Ok(BlockDecision::Repeated { base: block.base }),
                    None => Err(Error::SequenceReused { producer: self.id, sequence }),
                }
            }
        }
    }

    /// Returns the epoch of a producer that begins: the requested one, or the next one.
    ///
    /// # Errors
    /// [`Error::ProducerFenced`] if the requested epoch is lower than the current one, or if there
    /// is no next one.
    pub(crate) fn begin(&self, requested: Option<u32>) -> Result<u32, Error> {
        let current = self.epoch();
        let fenced = |epoch| Error::ProducerFenced { producer: self.id, epoch, current };
        match requested {
            Some(epoch) => self.check_epoch(epoch).map(|()| epoch),
            None => current.checked_add(1).ok_or_else(|| fenced(current)),
        }
    }

    /// The position after the record with this sequence number, if its block is remembered.
    fn position_after(&self, sequence: u64) -> Option<Position> {
        self.blocks().find_map(|block| {
            let at = sequence.checked_sub(block.sequence)?;
            (at < u64::from(block.count)).then(|| block.base + at + 1)
        })
    }

    /// Compares records with the remembered blocks that they cover.
    fn check_same_records(
        &self,
        sequence: u64,
        end: u64,
        sent: &SentRecords<'_>,
    ) -> Result<(), Error> {
        let is_comparable = |block: &&RememberedBlock| {
            let block_end = block.sequence.saturating_add(u64::from(block.count));
            block.is_crc_of_records && block.sequence >= sequence && block_end <= end
        };
        let covered: Vec<_> = self.blocks().filter(is_comparable).collect();
        for block in covered {
            let Ok(skip) = u32::try_from(block.sequence - sequence) else { continue };
            if sent.crc(skip, block.count) != block.body_crc {
                return Err(Error::SequenceReused { producer: self.id, sequence: block.sequence });
            }
        }
        Ok(())
    }

    /// The sequence number after `count` records from `sequence`. Reports an overflow as a gap.
    fn end_of_sequence(&self, sequence: u64, count: u32) -> Result<u64, Error> {
        let expected = self.next_sequence().unwrap_or(0);
        sequence.checked_add(u64::from(count)).ok_or_else(|| self.gap(sequence, expected))
    }

    fn check_epoch(&self, epoch: u32) -> Result<(), Error> {
        let current = self.epoch();
        if epoch < current {
            return Err(Error::ProducerFenced { producer: self.id, epoch, current });
        }
        Ok(())
    }

    fn gap(&self, sequence: u64, expected: u64) -> Error {
        Error::SequenceGap { producer: self.id, sequence, expected }
    }

    /// The layers that exist, newest first.
    fn states(&self) -> impl Iterator<Item = &'a ProducerHistory> + use<'a> {
        self.states.into_iter().rev().flatten()
    }

    /// The remembered blocks, newest first.
    fn blocks(&self) -> impl Iterator<Item = &'a RememberedBlock> + use<'a> {
        self.states().flat_map(|state| state.blocks.iter().rev()).take(PRODUCER_BLOCKS_MAX)
    }
}

#[cfg(test)]
mod tests;
