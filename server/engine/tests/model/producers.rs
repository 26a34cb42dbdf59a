//! Producers the plain way: all that each has appended, block by block.

use proptest::prelude::*;
use styx_engine::{Error, Log, ProducerState};
use styx_protocol::block::{Block, Checked, Origin, build_with};
use styx_protocol::codec::Codec;

use super::{Model, records};

/// Where a block stands in its producer's stream, and what is in it.
#[derive(Debug, Clone)]
pub(crate) enum Shape {
    /// New records, next in line.
    Next,
    /// A block that was appended, as it was.
    Again(usize),
    /// In place of a block that was appended, other records.
    Other(usize),
    /// What was appended from a block on, and new records.
    Across(usize),
    /// New records, some sequences too far.
    Ahead(u64),
}

/// What the log should know of a producer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    epoch: u32,
    /// Its sequences are counted from 0.
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

/// A block to be sent.
pub(crate) struct Draft {
    id: u64,
    epoch: u32,
    sequence: usize,
    payloads: Vec<Vec<u8>>,
    block: Checked,
}

impl Told {
    pub(crate) fn sent(&self) -> &[Vec<u8>] {
        &self.sent
    }

    /// New records of this producer are appended at `base`, in a block of this body.
    pub(crate) fn appended(&mut self, base: u64, payloads: &[Vec<u8>], body: &[u8]) {
        let (sequence, count) = (self.sent.len(), payloads.len());
        self.blocks.push(Stored { sequence, count, body: body.to_vec(), base });
        self.sent.extend_from_slice(payloads);
    }

    fn next(&self) -> Option<u64> {
        (!self.blocks.is_empty()).then_some(self.sent.len() as u64)
    }

    /// Draws up a block; `None` when there is nothing to repeat.
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
        let block = block.into_checked(1 << 20).expect("a producer's");
        Some(Draft { id, epoch, sequence, payloads, block })
    }
}

impl Model {
    /// Sends a block, and holds the answer against what is known.
    pub(crate) fn send(&mut self, log: &Log, draft: Draft) {
        let Draft { id, epoch, sequence, payloads, block } = draft;
        let end = self.end();
        let body = block.body().to_vec();
        let answer = log.append_durably(block);
        let told = self.producers.entry(id).or_default();
        let (count, next) = (payloads.len(), told.sent.len());
        if epoch < told.epoch {
            assert!(matches!(answer, Err(Error::ProducerFenced { .. })), "{answer:?}");
        } else if told.blocks.is_empty() || sequence == next {
            let appended = answer.expect("appended");
            assert_eq!((appended.base.0, appended.count as usize), (end, count));
            assert_eq!((appended.end.0, appended.repeated), (end + count as u64, 0));
            told.epoch = told.epoch.max(epoch);
            // An empty memory takes any sequence; ours goes on from where it is.
            told.sent.resize(sequence, Vec::new());
            told.appended(end, &payloads, &body);
            self.records.extend(payloads);
        } else if sequence + count > next {
            let expected = next as u64;
            assert!(
                matches!(answer, Err(Error::SequenceGap { expected: e, .. }) if e == expected),
                "{answer:?}"
            );
        } else {
            let same = |stored: &&Stored| {
                (stored.sequence, stored.count) == (sequence, count) && stored.body == body
            };
            match told.blocks.iter().find(same) {
                Some(stored) => {
                    let appended = answer.expect("repeated");
                    assert_eq!((appended.base.0, appended.count), (stored.base, 0));
                    assert_eq!(appended.repeated as usize, count);
                    assert_eq!(appended.end.0, stored.base + count as u64);
                }
                None => assert!(matches!(answer, Err(Error::SequenceReused { .. })), "{answer:?}"),
            }
        }
    }

    /// A producer begins: with the next epoch, or with one so far from its last.
    pub(crate) fn begin(&mut self, log: &Log, id: u64, asked: Option<i64>) {
        let told = self.producers.entry(id).or_default();
        let epoch = match asked {
            None => told.epoch + 1,
            Some(by) => u32::try_from((i64::from(told.epoch) + by).max(0)).expect("small"),
        };
        let ticket = log.begin_producer(id, asked.map(|_| epoch)).expect("taken");
        match ticket.wait() {
            Ok(state) => {
                assert!(epoch >= told.epoch);
                told.epoch = epoch;
                assert_eq!(state, ProducerState { epoch, next_sequence: told.next() });
            }
            Err(error) => {
                assert!(epoch < told.epoch, "{error}");
                assert!(matches!(error, Error::ProducerFenced { .. }), "{error}");
            }
        }
    }

    /// The log knows what it was told, and no more.
    pub(crate) fn check_producers(&self, log: &Log) {
        for (id, told) in &self.producers {
            let known = told.epoch > 0 || !told.blocks.is_empty();
            let state = ProducerState { epoch: told.epoch, next_sequence: told.next() };
            assert_eq!(log.producer(*id), known.then_some(state), "producer {id}");
        }
    }

    pub(crate) fn epoch(&self, id: u64) -> u32 {
        self.producers.get(&id).map_or(0, |told| told.epoch)
    }
}
