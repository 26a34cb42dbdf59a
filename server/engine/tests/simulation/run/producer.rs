//! What the idempotent producers do: one sends loose records, one blocks under an
//! epoch; both send again what was not acked. The second is also played by one that
//! was fenced and does not know it.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use styx_engine::{Append, Error, Producer, ProducerState, Ticket};
use styx_protocol::block::{Block, Checked, Origin, build_with};
use styx_protocol::codec::Codec;
use styx_protocol::{Records, record};

use super::Run;
use crate::world::{Sent, Who};

/// What the log is asked by the producer of blocks.
#[derive(Debug, Default)]
pub(super) struct Producing {
    /// On its way; nothing is sent meanwhile.
    beginning: Option<Ticket<ProducerState>>,
    begun: bool,
    /// Sent by one that was fenced: never appended.
    fenced: Vec<Ticket>,
}

const BLOCK_BYTES_MAX: usize = 1 << 20;

impl Who {
    pub(super) fn id(self) -> u64 {
        match self {
            Who::Loose => 77,
            Who::Blocks => 88,
        }
    }
}

fn records(payloads: &[Vec<u8>]) -> Records {
    let mut builder = record::Builder::new();
    for payload in payloads {
        assert!(builder.push(payload));
    }
    builder.take()
}

fn checked(bytes: Bytes) -> Checked {
    let (block, _) = Block::parse(bytes, BLOCK_BYTES_MAX as u64).expect("a block");
    block.into_checked(BLOCK_BYTES_MAX).expect("a producer's")
}

fn block(sent: &Sent, codec: Codec, epoch: u32) -> Checked {
    let origin = sent.of.map_or(Origin::default(), |(who, sequence)| Origin {
        producer_id: who.id(),
        producer_epoch: epoch,
        sequence,
        expected: None,
    });
    checked(build_with(codec, None, &records(&sent.payloads), origin))
}

impl Run {
    pub(super) fn append(&mut self) -> Result<(), String> {
        let count = *self.random.pick(&[1, 1, 1, 2, 3, 8]);
        let tails = (0..count).map(|_| self.tail()).collect();
        let who = *self.random.pick(&[None, None, Some(Who::Loose), Some(Who::Blocks)]);
        let packed = *self.random.pick(&[None, Some(Codec::None), Some(Codec::Lz4)]);
        let codec = match who {
            Some(Who::Loose) => None,
            Some(Who::Blocks) => packed.or(Some(Codec::Zstd)),
            None => packed,
        };
        let number = self.world.append(tails, who, codec);
        self.send(number);
        Ok(())
    }

    /// Sends an append, unless its producer has yet to begin.
    fn send(&mut self, number: u64) {
        let epoch = self.world.line(Who::Blocks).epoch;
        let sent = &self.world.sent[&number];
        let append = match (sent.codec, sent.of) {
            (Some(_), Some(_)) if !self.producing.begun => return,
            (Some(codec), _) => Append::Block(block(sent, codec, epoch)),
            (None, of) => Append::Records {
                records: records(&sent.payloads),
                expected: None,
                producer: of.map(|(who, sequence)| Producer {
                    id: who.id(),
                    epoch: None,
                    sequence,
                }),
            },
        };
        if let Ok(ticket) = self.log().append(append) {
            self.waiting.push((number, ticket));
        }
    }

    /// Sends again, in order, what is not acked; after a restart.
    pub(super) fn resume(&mut self) -> Result<(), String> {
        for number in self.world.line(Who::Loose).unacked.clone() {
            self.send(number);
        }
        self.begin()
    }

    /// What was on its way is lost.
    pub(super) fn disconnect(&mut self) {
        self.waiting.clear();
        self.producing = Producing::default();
    }

    /// The producer of blocks begins, or another one with its id.
    pub(super) fn begin(&mut self) -> Result<(), String> {
        self.producing.begun = false;
        match self.log().begin_producer(Who::Blocks.id(), None) {
            Ok(ticket) => self.producing.beginning = Some(ticket),
            Err(_) if self.disk.is_off() => {}
            Err(error) => return Err(format!("a producer could not begin: {error}")),
        }
        Ok(())
    }

    /// One that was fenced sends a block.
    pub(super) fn send_fenced(&mut self) -> Result<(), String> {
        let line = self.world.line(Who::Blocks);
        let Some(epoch) = line.epoch.checked_sub(1) else { return Ok(()) };
        let payloads = vec![b"of one that was fenced".to_vec()];
        let of = Some((Who::Blocks, line.next_sequence));
        let block = block(&Sent { payloads, of, codec: None }, Codec::None, epoch);
        if let Ok(ticket) = self.log().append(block) {
            self.producing.fenced.push(ticket);
        }
        Ok(())
    }

    /// An ack was lost: a block comes again.
    pub(super) fn repeat(&mut self) -> Result<(), String> {
        let back = self.random.below(20);
        let acked = &self.world.line(Who::Blocks).acked;
        let Some(number) = acked.iter().rev().nth(back).copied() else { return Ok(()) };
        self.totals.repeated += 1;
        self.send(number);
        Ok(())
    }

    /// Takes the answers that are there.
    pub(super) fn collect(&mut self) -> Result<(), String> {
        let mut context = Context::from_waker(Waker::noop());
        for (number, mut ticket) in std::mem::take(&mut self.waiting) {
            match Pin::new(&mut ticket).poll(&mut context) {
                Poll::Pending => self.waiting.push((number, ticket)),
                Poll::Ready(Ok(appended)) => {
                    self.totals.acked += 1;
                    self.world.acked(number, appended.end.0)?;
                }
                Poll::Ready(Err(error)) if !self.disk.is_off() && !self.ending => {
                    return Err(format!("append {number} failed without a fault: {error}"));
                }
                Poll::Ready(Err(_)) => {}
            }
        }
        for mut ticket in std::mem::take(&mut self.producing.fenced) {
            match Pin::new(&mut ticket).poll(&mut context) {
                Poll::Pending => self.producing.fenced.push(ticket),
                Poll::Ready(Ok(_)) => return Err("a fenced producer's block was appended".into()),
                Poll::Ready(Err(Error::ProducerFenced { .. })) => self.totals.fenced += 1,
                Poll::Ready(Err(error)) if !self.disk.is_off() && !self.ending => {
                    return Err(format!("a fenced producer was told: {error}"));
                }
                Poll::Ready(Err(_)) => {}
            }
        }
        self.collect_begun(&mut context)
    }

    fn collect_begun(&mut self, context: &mut Context<'_>) -> Result<(), String> {
        let Some(mut ticket) = self.producing.beginning.take() else { return Ok(()) };
        let state = match Pin::new(&mut ticket).poll(context) {
            Poll::Pending => {
                self.producing.beginning = Some(ticket);
                return Ok(());
            }
            Poll::Ready(Ok(state)) => state,
            Poll::Ready(Err(error)) if !self.disk.is_off() && !self.ending => {
                return Err(format!("a producer could not begin: {error}"));
            }
            Poll::Ready(Err(_)) => return Ok(()),
        };
        self.totals.begun += 1;
        let line = self.world.line(Who::Blocks);
        if state.epoch <= line.epoch {
            return Err(format!("epoch {} after {} was given out", state.epoch, line.epoch));
        }
        line.epoch = state.epoch;
        let next = state.next_sequence.unwrap_or(0);
        if next < line.acked_sequence || next > line.next_sequence {
            let (acked, sent) = (line.acked_sequence, line.next_sequence);
            return Err(format!("next is {next}, but {acked} is acked and {sent} sent"));
        }
        self.producing.begun = true;
        for number in self.world.line(Who::Blocks).unacked.clone() {
            self.send(number);
        }
        Ok(())
    }

    /// What the log knows of the producers after a start is at least what they were
    /// told.
    pub(super) fn audit_producers(&mut self) -> Result<(), String> {
        for who in [Who::Loose, Who::Blocks] {
            let known = self.log().producer(who.id());
            let line = self.world.line(who);
            let (epoch, next) = known.map_or((0, None), |k| (k.epoch, k.next_sequence));
            if epoch < line.epoch || next.unwrap_or(0) < line.acked_sequence {
                return Err(format!(
                    "{who:?} is known as {known:?}, but was given epoch {} and acked up to {}",
                    line.epoch, line.acked_sequence
                ));
            }
        }
        Ok(())
    }
}
