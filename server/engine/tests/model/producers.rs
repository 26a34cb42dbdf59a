//! The model of producers: it keeps everything that each producer appended, block by block, and
//! predicts the result of each further append.

use proptest::prelude::*;
use styx_engine::{Error, Log, ProducerState};
use styx_protocol::block::{Block, Checked, Origin, build_with};
use styx_protocol::codec::Codec;

use super::{Model, records};

/// The kind of a producer's next block: its sequence and its records.
#[derive(Debug, Clone)]
pub(crate) enum Shape {
    /// New records with the next sequence.
    Next,
    /// An unchanged block that was appended before.
    Again(usize),
    /// Other records with the sequence of a block that was appended before.
    Other(usize),
    /// All records from an appended block on, and new records.
    Across(usize),
    /// New records with a sequence that is too high by this number.
    Ahead(u64),
}

/// The expected state of a producer.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProducerNotes {
    epoch: u32,
    /// The payloads of all records, by sequence.
    sent: Vec<Vec<u8>>,
    blocks: Vec<Stored>,
}

#[derive(Debug, Clone)]
struct Stored {
    sequence: usize,
    count: usize,
    body: Vec<u8>,
    base: u64,
}

pub(crate) fn shapes() -> impl Strategy<Value = Shape> {
    prop_oneof![
        4 => Just(Shape::Next),
        3 => any::<usize>().prop_map(Shape::Again),
        1 => any::<usize>().prop_map(Shape::Other),
        1 => any::<usize>().prop_map(Shape::Across),
        1 => (1u64..4).prop_map(Shape::Ahead),
    ]
}

pub(crate) fn codecs() -> impl Strategy<Value = Codec> {
    prop_oneof![3 => Just(Codec::None), 1 => Just(Codec::Lz4), 1 => Just(Codec::Zstd)]
}

/// A block to send.
pub(crate) struct Draft {
    id: u64,
    epoch: u32,
    sequence: usize,
    payloads: Vec<Vec<u8>>,
    block: Checked,
}

impl ProducerNotes {
    pub(crate) fn sent(&self) -> &[Vec<u8>] {
        &self.sent
    }

    /// Notes that new records of this producer were appended at `base`, in a block with this body.
    pub(crate) fn appended(&mut self, base: u64, payloads: &[Vec<u8>], body: &[u8]) {
        let (sequence, count) = (self.sent.len(), payloads.len());
        self.blocks.push(Stored { sequence, count, body: body.to_vec(), base });
        self.sent.extend_from_slice(payloads);
    }

    fn next(&self) -> Option<u64> {
        (!self.blocks.is_empty()).then_some(self.sent.len() as u64)
    }

    /// Builds a block. Returns `None` if the shape needs an earlier block and there is none.
    pub(crate) fn draft(
        &self,
        id: u64,
        epoch: u32,
        shape: &Shape,
        new: Vec<Vec<u8>>,
        codec: Codec,
    ) -> Option<Draft> {
        let stored = |pick: &usize| self.blocks.get(pick % self.blocks.len().max(1));
        let (sequence, payloads) = match shape {
            Shape::Next => (self.sent.len(), new),
            Shape::Ahead(by) => (self.sent.len() + usize::try_from(*by).ok()?, new),
            Shape::Again(pick) => {
                let Stored { sequence, count, .. } = stored(pick)?;
                (*sequence, self.sent[*sequence..sequence + count].to_vec())
            }
            Shape::Other(pick) => {
                let Stored { sequence, count, .. } = stored(pick)?;
                (*sequence, new.into_iter().cycle().take(*count).collect())
            }
            Shape::Across(pick) => {
                let Stored { sequence, .. } = stored(pick)?;
                (*sequence, [&self.sent[*sequence..], &new].concat())
            }
        };
        let origin = Origin {
            producer_id: id,
            producer_epoch: epoch,
            sequence: sequence as u64,
            expected: None,
        };
        let bytes = build_with(codec, None, &records(&payloads), origin);
        let (block, _) = Block::parse(bytes, 1 << 20).expect("a block");
        let block = block.into_checked(1 << 20).expect("a valid block of a producer");
        Some(Draft { id, epoch, sequence, payloads, block })
    }
}

impl Model {
    /// Sends a block and checks its result.
    pub(crate) fn send(&mut self, log: &Log, draft: Draft) {
        let Draft { id, epoch, sequence, payloads, block } = draft;
        let end = self.end();
        let body = block.body().to_vec();
        let result = log.append_durably(block);
        let notes = self.producers.entry(id).or_default();
        let (count, next) = (payloads.len(), notes.sent.len());
        if epoch < notes.epoch {
            assert!(matches!(result, Err(Error::ProducerFenced { .. })), "{result:?}");
        } else if notes.blocks.is_empty() || sequence == next {
            let appended = result.expect("appended");
            assert_eq!((appended.base.0, appended.count as usize), (end, count));
            assert_eq!((appended.end.0, appended.repeated), (end + count as u64, 0));
            notes.epoch = notes.epoch.max(epoch);
            // A log that does not know the producer accepts any sequence as its first.
            notes.sent.resize(sequence, Vec::new());
            notes.appended(end, &payloads, &body);
            self.records.extend(payloads);
        } else if sequence + count > next {
            let expected = next as u64;
            assert!(
                matches!(result, Err(Error::SequenceGap { expected: e, .. }) if e == expected),
                "{result:?}"
            );
        } else {
            let same = |stored: &&Stored| {
                (stored.sequence, stored.count) == (sequence, count) && stored.body == body
            };
            match notes.blocks.iter().find(same) {
                Some(stored) => {
                    let appended = result.expect("repeated");
                    assert_eq!((appended.base.0, appended.count), (stored.base, 0));
                    assert_eq!(appended.repeated as usize, count);
                    assert_eq!(appended.end.0, stored.base + count as u64);
                }
                None => assert!(matches!(result, Err(Error::SequenceReused { .. })), "{result:?}"),
            }
        }
    }

    /// Begins a producer with the next epoch, or with its last epoch plus `epoch_change`.
    pub(crate) fn begin(&mut self, log: &Log, id: u64, epoch_change: Option<i64>) {
        let notes = self.producers.entry(id).or_default();
        let epoch = match epoch_change {
            None => notes.epoch + 1,
            Some(by) => u32::try_from((i64::from(notes.epoch) + by).max(0)).expect("it fits"),
        };
        let ticket = log.begin_producer(id, epoch_change.map(|_| epoch)).expect("accepted");
        match ticket.wait() {
            Ok(state) => {
                assert!(epoch >= notes.epoch);
                notes.epoch = epoch;
                assert_eq!(state, ProducerState { epoch, next_sequence: notes.next() });
            }
            Err(error) => {
                assert!(epoch < notes.epoch, "{error}");
                assert!(matches!(error, Error::ProducerFenced { .. }), "{error}");
            }
        }
    }

    /// Checks that the log's state of all producers matches the model.
    pub(crate) fn check_producers(&self, log: &Log) {
        for (id, notes) in &self.producers {
            let known = notes.epoch > 0 || !notes.blocks.is_empty();
            let state = ProducerState { epoch: notes.epoch, next_sequence: notes.next() };
            assert_eq!(log.producer(*id), known.then_some(state), "producer {id}");
        }
    }

    pub(crate) fn epoch(&self, id: u64) -> u32 {
        self.producers.get(&id).map_or(0, |notes| notes.epoch)
    }
}
