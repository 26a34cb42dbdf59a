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
//! A request is checked against three layers: the durable state, the changes of the group in
//! flight, and the changes that the current group has planned ([`ProducerView`]). The changes of
//! a group stay in [`PendingChanges`] until the group is durable. A producer without remembered
//! blocks may begin with any sequence number.

use std::collections::HashMap;

use styx_protocol::Position;
use styx_protocol::block::Header;

use super::{PRODUCER_BLOCKS_MAX, ProducerHistory, ProducerTable, RememberedBlock};
use crate::{Error, Producer};

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

    /// Decides whether to append loose records. Only their sequence numbers count, so each record
    /// is decided separately.
    ///
    /// # Errors
    /// [`Error::SequenceGap`] or [`Error::ProducerFenced`].
    pub(crate) fn decide(&self, producer: &Producer, count: u32) -> Result<RecordsDecision, Error> {
        let sequence = producer.sequence;
        let end = self.end_of_sequence(sequence, count)?;
        let epoch = producer.epoch.unwrap_or(self.epoch());
        self.check_epoch(epoch)?;
        let Some(next) = self.next_sequence() else {
            return Ok(RecordsDecision::Append { skip: 0, epoch });
        };
        if sequence > next {
            return Err(self.gap(sequence, next));
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
mod tests {
    use styx_protocol::block::Flags;

    use super::*;

    fn header(epoch: u32, sequence: u64, count: u32, base: u64) -> Header {
        Header {
            producer_id: 7,
            producer_epoch: epoch,
            sequence,
            count,
            base_position: base,
            body_crc: u32::try_from(sequence % 1000).expect("small") + 1,
            timestamp_us: base + 1,
            ..Header::default()
        }
    }

    fn filler(epoch: u32) -> Header {
        Header { flags: Flags::FILLER, body_crc: 0, ..header(epoch, 0, 0, 0) }
    }

    /// Returns the decision after these blocks. Checks that it does not depend on how many of them
    /// are durable, in flight or planned.
    fn check<T: PartialEq + std::fmt::Debug>(
        headers: &[Header],
        decide: impl Fn(ProducerView<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let pending = |headers: &[Header]| {
            let mut changes = PendingChanges::new();
            for header in headers {
                changes.entry(7).or_default().append(header);
            }
            changes
        };
        let with = |durable: usize, in_flight: usize| {
            let mut table = ProducerTable::default();
            headers[..durable].iter().for_each(|header| table.replay(header));
            table.begin_group(pending(&headers[durable..in_flight]));
            decide(ProducerView::of(7, &table, &pending(&headers[in_flight..])))
        };
        let all = with(headers.len(), headers.len());
        for in_flight in 0..=headers.len() {
            for durable in 0..=in_flight {
                let some = format!("{:?}", with(durable, in_flight));
                assert_eq!(some, format!("{all:?}"), "{durable} durable, {in_flight} in flight");
            }
        }
        all
    }

    fn loose(
        headers: &[Header],
        epoch: Option<u32>,
        sequence: u64,
        count: u32,
    ) -> Result<RecordsDecision, Error> {
        check(headers, |view| view.decide(&Producer { id: 7, epoch, sequence }, count))
    }

    fn block(headers: &[Header], block: Header) -> Result<BlockDecision, Error> {
        check(headers, |view| view.decide_block(&block))
    }

    #[test]
    fn appended_loose_records_are_skipped_and_gaps_are_refused() {
        assert_eq!(
            loose(&[], None, 500, 3).unwrap(),
            RecordsDecision::Append { skip: 0, epoch: 0 }
        );
        let sent = [header(2, 500, 3, 10)];
        assert_eq!(
            loose(&sent, None, 503, 1).unwrap(),
            RecordsDecision::Append { skip: 0, epoch: 2 }
        );
        assert_eq!(
            loose(&sent, Some(3), 501, 4).unwrap(),
            RecordsDecision::Append { skip: 2, epoch: 3 }
        );
        let end = Some(Position(12));
        assert_eq!(loose(&sent, None, 500, 2).unwrap(), RecordsDecision::Repeated { end });
        assert_eq!(loose(&sent, None, 499, 1).unwrap(), RecordsDecision::Repeated { end: None });
        let gap = loose(&sent, None, 504, 1);
        assert!(matches!(gap, Err(Error::SequenceGap { expected: 503, .. })), "{gap:?}");
        let fenced = loose(&sent, Some(1), 503, 1);
        assert!(matches!(fenced, Err(Error::ProducerFenced { current: 2, .. })), "{fenced:?}");
    }

    #[test]
    fn a_block_is_appended_repeated_or_refused_as_a_whole() {
        let sent = [header(2, 500, 3, 10), header(2, 503, 2, 20)];
        assert_eq!(block(&[], header(0, 77, 3, 0)).unwrap(), BlockDecision::Append);
        assert_eq!(block(&sent, header(2, 505, 9, 0)).unwrap(), BlockDecision::Append);
        let again = |base| BlockDecision::Repeated { base: Position(base) };
        assert_eq!(block(&sent, header(2, 500, 3, 0)).unwrap(), again(10));
        assert_eq!(block(&sent, header(9, 503, 2, 0)).unwrap(), again(20));
        let reused =
            |header| matches!(block(&sent, header), Err(Error::SequenceReused { producer: 7, .. }));
        assert!(reused(header(2, 500, 2, 0)), "same sequence, different count");
        assert!(reused(Header { body_crc: 0, ..header(2, 500, 3, 0) }), "different body");
        assert!(reused(header(2, 501, 2, 0)), "begins inside a remembered block");
        assert!(reused(header(2, 100, 3, 0)), "no longer remembered");
        let gap =
            |header| matches!(block(&sent, header), Err(Error::SequenceGap { expected: 505, .. }));
        assert!(gap(header(2, 506, 1, 0)), "begins after the next sequence");
        assert!(gap(header(2, 503, 3, 0)), "only its first records are stored");
        assert!(gap(header(2, 400, 200, 0)), "spans all remembered blocks");
        let fenced = block(&sent, header(1, 505, 1, 0));
        assert!(matches!(fenced, Err(Error::ProducerFenced { current: 2, .. })), "{fenced:?}");
    }

    #[test]
    fn an_epoch_without_blocks_does_not_fix_the_next_sequence() {
        let begun = [filler(4)];
        assert_eq!(check(&begun, |view| Ok(view.next_sequence())).unwrap(), None);
        assert_eq!(block(&begun, header(4, 900, 1, 0)).unwrap(), BlockDecision::Append);
        let fenced = block(&begun, header(3, 0, 1, 0));
        assert!(matches!(fenced, Err(Error::ProducerFenced { current: 4, .. })), "{fenced:?}");
        let continued = [header(1, 500, 3, 10), filler(4)];
        assert_eq!(check(&continued, |view| Ok(view.next_sequence())).unwrap(), Some(503));
        assert_eq!(check(&continued, |view| Ok(view.epoch())).unwrap(), 4);
    }

    #[test]
    fn begin_returns_the_requested_or_the_next_epoch() {
        let begin = |headers: &[Header], requested| check(headers, |view| view.begin(requested));
        assert_eq!(begin(&[], None).unwrap(), 1);
        assert_eq!(begin(&[], Some(0)).unwrap(), 0);
        assert_eq!(begin(&[filler(1)], None).unwrap(), 2);
        assert_eq!(begin(&[filler(1)], Some(1)).unwrap(), 1);
        assert_eq!(begin(&[header(0, 5, 1, 0)], None).unwrap(), 1);
        for (current, requested) in [(3, Some(2)), (u32::MAX, None)] {
            let fenced = begin(&[filler(current)], requested);
            assert!(matches!(fenced, Err(Error::ProducerFenced { .. })), "{fenced:?}");
        }
    }

    #[test]
    fn a_forgotten_producer_starts_over() {
        let (mut table, mut changes) = (ProducerTable::default(), PendingChanges::new());
        table.replay(&header(2, 500, 3, 10));
        changes.entry(7).or_default().append(&header(2, 503, 1, 13));
        changes.entry(7).or_default().forget();
        let view = ProducerView::of(7, &table, &changes);
        assert_eq!((view.next_sequence(), view.epoch()), (None, 0));
        changes.entry(7).or_default().append(&header(0, 1, 1, 14));
        table.begin_group(changes);
        table.commit_group(0);
        let none = PendingChanges::new();
        let view = ProducerView::of(7, &table, &none);
        assert_eq!((view.next_sequence(), view.epoch()), (Some(2), 0));
    }

    /// Bug: a first append with the largest sequence number was accepted, and the next sequence
    /// number overflowed. Builds with overflow checks stopped the committer. Other builds refused
    /// a retry of that append as a gap.
    #[test]
    fn a_sequence_that_would_overflow_is_refused() {
        let gap = |sent: &[Header], sequence, count| {
            let loose = loose(sent, None, sequence, count);
            let block = block(sent, Header { sequence, count, ..header(0, 0, 0, 0) });
            let is_gap = |error: Option<Error>| matches!(error, Some(Error::SequenceGap { .. }));
            let (loose, block) = (is_gap(loose.err()), is_gap(block.err()));
            assert_eq!(loose, block);
            block
        };
        assert!(gap(&[], u64::MAX, 1));
        assert!(gap(&[], u64::MAX - 2, 3));
        assert!(!gap(&[], u64::MAX - 3, 3));
        let mut sent = vec![header(0, u64::MAX - 3, 3, 10)];
        assert!(gap(&sent, u64::MAX, 1));
        let end = Some(Position(13));
        assert_eq!(loose(&sent, None, u64::MAX - 3, 3).unwrap(), RecordsDecision::Repeated { end });
        // A forged block in the table does not overflow either.
        sent.push(header(0, u64::MAX, 3, 13));
        assert!(gap(&sent, u64::MAX, 1));
    }
}
