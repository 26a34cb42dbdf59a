//! What becomes of an append that names a producer, and of one that begins.
//!
//! ```text
//!   remembered blocks …… next          Table, durable
//!                         │ in flight, planned … next'     Drafts of one or two groups
//!   block:   wholly behind: the same one? │ next: append │ ahead, or across: gap
//!   records: behind: skipped              │ the rest: append │ ahead: gap
//! ```
//!
//! A group is judged against what is durable, what the group before it does while
//! that is being written, and what it has planned so far ([`Known`]); what it plans
//! is kept apart ([`Drafts`]) until it is durable. A producer without a remembered block may begin anywhere.

use std::collections::HashMap;

use styx_protocol::Position;
use styx_protocol::block::Header;

use super::{BLOCKS_OF_ONE_MAX, Remembered, State, Table};
use crate::{Error, Producer};

/// What a group does to one producer.
#[derive(Debug, Default, Clone)]
pub(crate) struct Draft {
    /// What was remembered before is not any more.
    pub(super) forgets: bool,
    /// What comes after that.
    pub(super) state: Option<State>,
}

/// What a group does to producers, by their ids.
pub(crate) type Drafts = HashMap<u64, Draft>;

impl Draft {
    /// A planned block of this producer, a filler that raises its epoch included.
    pub(crate) fn append(&mut self, header: &Header) {
        self.state.get_or_insert_default().append(header);
    }

    /// Nothing is remembered of it from here on.
    pub(crate) fn forget(&mut self) {
        *self = Draft { forgets: true, state: None };
    }
}

/// What is known of a producer in the middle of a group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    id: u64,
    /// Durable, in flight, planned.
    states: [Option<&'a State>; 3],
}

/// What to do with loose records of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Append them without the first `skip`, under this epoch.
    Append { skip: u32, epoch: u32 },
    /// All are there already; the last one ends here, if that is remembered.
    Repeated { end: Option<Position> },
}

/// What to do with a block of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockVerdict {
    /// Append it.
    Append,
    /// It is there already, and begins here.
    Repeated { base: Position },
}

impl<'a> Known<'a> {
    /// Of this producer, with what a group has planned.
    pub(crate) fn of(id: u64, table: &'a Table, drafts: &'a Drafts) -> Known<'a> {
        let mut states = [table.get(id), None, None];
        let groups = [table.in_flight.get(&id), drafts.get(&id)];
        for (layer, draft) in (1..).zip(groups) {
            let Some(draft) = draft else { continue };
            if draft.forgets {
                states = [None; 3];
            }
            states[layer] = draft.state.as_ref();
        }
        Known { id, states }
    }

    /// Of this producer, only what is durable.
    pub(crate) fn durable(id: u64, table: &'a Table) -> Known<'a> {
        Known { id, states: [table.get(id), None, None] }
    }

    /// The epoch in force; 0 before there is one.
    pub(crate) fn epoch(&self) -> u32 {
        self.states().map(|state| state.epoch).max().unwrap_or(0)
    }

    /// What the next block has to begin with; `None` when anything will do.
    pub(crate) fn next_sequence(&self) -> Option<u64> {
        let appended = self.states().find(|state| !state.blocks.is_empty());
        appended.map(|state| state.next_sequence)
    }

    /// Judges loose records by sequence alone, record by record.
    pub(crate) fn judge(&self, producer: &Producer, count: u32) -> Result<Verdict, Error> {
        let sequence = producer.sequence;
        let end = self.end_of_sequence(sequence, count)?;
        let epoch = producer.epoch.unwrap_or(self.epoch());
        self.check_epoch(epoch)?;
        let Some(next) = self.next_sequence() else {
            return Ok(Verdict::Append { skip: 0, epoch });
        };
        if sequence > next {
            return Err(self.gap(sequence, next));
        }
        if end <= next {
            return Ok(Verdict::Repeated { end: self.position_after(end.saturating_sub(1)) });
        }
        let skip = u32::try_from(next - sequence).unwrap_or(count);
        Ok(Verdict::Append { skip, epoch })
    }

    /// Judges a block whole.
    pub(crate) fn judge_block(&self, header: &Header) -> Result<BlockVerdict, Error> {
        let sequence = header.sequence;
        let end = self.end_of_sequence(sequence, header.count)?;
        self.check_epoch(header.producer_epoch)?;
        match self.next_sequence() {
            None => Ok(BlockVerdict::Append),
            Some(next) if sequence == next => Ok(BlockVerdict::Append),
            Some(next) if end > next => Err(self.gap(sequence, next)),
            Some(_) => {
                let same = |block: &&Remembered| {
                    (block.sequence, block.count, block.body_crc)
                        == (sequence, header.count, header.body_crc)
                };
                match self.blocks().find(same) {
                    Some(block) => Ok(BlockVerdict::Repeated { base: block.base }),
                    None => Err(Error::SequenceReused { producer: self.id, sequence }),
                }
            }
        }
    }

    /// The epoch under which a producer that begins goes on: the one it asks for,
    /// or the next one.
    pub(crate) fn begin(&self, asked: Option<u32>) -> Result<u32, Error> {
        let current = self.epoch();
        let fenced = |epoch| Error::ProducerFenced { producer: self.id, epoch, current };
        match asked {
            Some(epoch) => self.check_epoch(epoch).map(|()| epoch),
            None => current.checked_add(1).ok_or_else(|| fenced(current)),
        }
    }

    /// The position after the record with this sequence, if it is remembered.
    fn position_after(&self, sequence: u64) -> Option<Position> {
        self.blocks().find_map(|block| {
            let at = sequence.checked_sub(block.sequence)?;
            (at < u64::from(block.count)).then(|| block.base + at + 1)
        })
    }

    /// The sequence after these records; there is one, or it is a gap.
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

    /// Newest first.
    fn states(&self) -> impl Iterator<Item = &'a State> + use<'a> {
        self.states.into_iter().rev().flatten()
    }

    /// The remembered blocks, newest first.
    fn blocks(&self) -> impl Iterator<Item = &'a Remembered> + use<'a> {
        self.states().flat_map(|state| state.blocks.iter().rev()).take(BLOCKS_OF_ONE_MAX)
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

    /// What is known after these blocks: however many of them are durable, in flight
    /// and only planned, the verdict is the same.
    fn check<T: PartialEq + std::fmt::Debug>(
        headers: &[Header],
        verdict: impl Fn(Known<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let drafted = |headers: &[Header]| {
            let mut drafts = Drafts::new();
            for header in headers {
                drafts.entry(7).or_default().append(header);
            }
            drafts
        };
        let with = |durable: usize, in_flight: usize| {
            let mut table = Table::default();
            headers[..durable].iter().for_each(|header| table.replay(header));
            table.depart(drafted(&headers[durable..in_flight]));
            verdict(Known::of(7, &table, &drafted(&headers[in_flight..])))
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
    ) -> Result<Verdict, Error> {
        check(headers, |known| known.judge(&Producer { id: 7, epoch, sequence }, count))
    }

    fn block(headers: &[Header], block: Header) -> Result<BlockVerdict, Error> {
        check(headers, |known| known.judge_block(&block))
    }

    #[test]
    fn of_loose_records_what_was_appended_is_skipped_and_what_is_missing_is_refused() {
        assert_eq!(loose(&[], None, 500, 3).unwrap(), Verdict::Append { skip: 0, epoch: 0 });
        let sent = [header(2, 500, 3, 10)];
        assert_eq!(loose(&sent, None, 503, 1).unwrap(), Verdict::Append { skip: 0, epoch: 2 });
        assert_eq!(loose(&sent, Some(3), 501, 4).unwrap(), Verdict::Append { skip: 2, epoch: 3 });
        let end = Some(Position(12));
        assert_eq!(loose(&sent, None, 500, 2).unwrap(), Verdict::Repeated { end });
        assert_eq!(loose(&sent, None, 499, 1).unwrap(), Verdict::Repeated { end: None });
        let gap = loose(&sent, None, 504, 1);
        assert!(matches!(gap, Err(Error::SequenceGap { expected: 503, .. })), "{gap:?}");
        let fenced = loose(&sent, Some(1), 503, 1);
        assert!(matches!(fenced, Err(Error::ProducerFenced { current: 2, .. })), "{fenced:?}");
    }

    #[test]
    fn a_block_is_appended_repeated_or_refused_whole() {
        let sent = [header(2, 500, 3, 10), header(2, 503, 2, 20)];
        assert_eq!(block(&[], header(0, 77, 3, 0)).unwrap(), BlockVerdict::Append);
        assert_eq!(block(&sent, header(2, 505, 9, 0)).unwrap(), BlockVerdict::Append);
        let again = |base| BlockVerdict::Repeated { base: Position(base) };
        assert_eq!(block(&sent, header(2, 500, 3, 0)).unwrap(), again(10));
        assert_eq!(block(&sent, header(9, 503, 2, 0)).unwrap(), again(20));
        let reused =
            |header| matches!(block(&sent, header), Err(Error::SequenceReused { producer: 7, .. }));
        assert!(reused(header(2, 500, 2, 0)), "another count");
        assert!(reused(Header { body_crc: 0, ..header(2, 500, 3, 0) }), "another body");
        assert!(reused(header(2, 501, 2, 0)), "cut otherwise");
        assert!(reused(header(2, 100, 3, 0)), "no longer remembered");
        let gap =
            |header| matches!(block(&sent, header), Err(Error::SequenceGap { expected: 505, .. }));
        assert!(gap(header(2, 506, 1, 0)), "ahead");
        assert!(gap(header(2, 503, 3, 0)), "partly behind");
        assert!(gap(header(2, 400, 200, 0)), "across all that is remembered");
        let fenced = block(&sent, header(1, 505, 1, 0));
        assert!(matches!(fenced, Err(Error::ProducerFenced { current: 2, .. })), "{fenced:?}");
    }

    #[test]
    fn an_epoch_without_blocks_is_no_memory() {
        let begun = [filler(4)];
        assert_eq!(check(&begun, |known| Ok(known.next_sequence())).unwrap(), None);
        assert_eq!(block(&begun, header(4, 900, 1, 0)).unwrap(), BlockVerdict::Append);
        let fenced = block(&begun, header(3, 0, 1, 0));
        assert!(matches!(fenced, Err(Error::ProducerFenced { current: 4, .. })), "{fenced:?}");
        let went_on = [header(1, 500, 3, 10), filler(4)];
        assert_eq!(check(&went_on, |known| Ok(known.next_sequence())).unwrap(), Some(503));
        assert_eq!(check(&went_on, |known| Ok(known.epoch())).unwrap(), 4);
    }

    #[test]
    fn who_begins_gets_the_epoch_it_asks_for_or_the_next_one() {
        let begin = |headers: &[Header], asked| check(headers, |known| known.begin(asked));
        assert_eq!(begin(&[], None).unwrap(), 1);
        assert_eq!(begin(&[], Some(0)).unwrap(), 0);
        assert_eq!(begin(&[filler(1)], None).unwrap(), 2);
        assert_eq!(begin(&[filler(1)], Some(1)).unwrap(), 1);
        assert_eq!(begin(&[header(0, 5, 1, 0)], None).unwrap(), 1);
        for (known, asked) in [(3, Some(2)), (u32::MAX, None)] {
            let fenced = begin(&[filler(known)], asked);
            assert!(matches!(fenced, Err(Error::ProducerFenced { .. })), "{fenced:?}");
        }
    }

    #[test]
    fn what_is_forgotten_begins_anew() {
        let (mut table, mut drafts) = (Table::default(), Drafts::new());
        table.replay(&header(2, 500, 3, 10));
        drafts.entry(7).or_default().append(&header(2, 503, 1, 13));
        drafts.entry(7).or_default().forget();
        let known = Known::of(7, &table, &drafts);
        assert_eq!((known.next_sequence(), known.epoch()), (None, 0));
        drafts.entry(7).or_default().append(&header(0, 1, 1, 14));
        table.depart(drafts);
        table.land(0);
        let none = Drafts::new();
        let known = Known::of(7, &table, &none);
        assert_eq!((known.next_sequence(), known.epoch()), (Some(2), 0));
    }

    /// A first append with the largest sequence there is was taken; the sequence
    /// after it overflowed, which ended the log's committer where that is checked
    /// and made a retry a gap where it is not.
    #[test]
    fn a_sequence_that_has_no_next_is_refused() {
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
        assert_eq!(loose(&sent, None, u64::MAX - 3, 3).unwrap(), Verdict::Repeated { end });
        // From a block that nobody judged.
        sent.push(header(0, u64::MAX, 3, 13));
        assert!(gap(&sent, u64::MAX, 1));
    }
}
