//! The idempotent producers of a run. One sends loose records, the other one sends blocks with an
//! epoch, and both resend unacked appends. A third, fenced process with the id of the second one
//! sends blocks too.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use styx_engine::{Append, Error, Producer, ProducerState, Ticket};
use styx_protocol::block::{Block, Checked, Origin, build_with};
use styx_protocol::codec::Codec;
use styx_protocol::{Records, record};

use super::Run;
use crate::world::{Sender, Sent};

/// The pending requests of the producer of blocks.
#[derive(Debug, Default)]
pub(super) struct Producing {
    /// The pending `begin`. The producer sends nothing until it is finished.
    beginning: Option<Ticket<ProducerState>>,
    begun: bool,
    /// The appends of the fenced process. They must all fail.
    fenced: Vec<Ticket>,
}

const BLOCK_BYTES_MAX: usize = 1 << 20;

impl Sender {
    pub(super) fn id(self) -> u64 {
        match self {
            Sender::Loose => 77,
            Sender::Blocks => 88,
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
    block.into_checked(BLOCK_BYTES_MAX).expect("a valid block of a producer")
}

fn block(sent: &Sent, codec: Codec, epoch: u32) -> Checked {
    let origin = sent.sender.map_or(Origin::default(), |(sender, sequence)| Origin {
        producer_id: sender.id(),
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
        let sender = *self.random.pick(&[None, None, Some(Sender::Loose), Some(Sender::Blocks)]);
        let packed = *self.random.pick(&[None, Some(Codec::None), Some(Codec::Lz4)]);
        let codec = match sender {
            Some(Sender::Loose) => None,
            Some(Sender::Blocks) => packed.or(Some(Codec::Zstd)),
            None => packed,
        };
        let number = self.world.append(tails, sender, codec);
        self.send(number);
        Ok(())
    }

    /// Sends an append, unless its producer has not begun yet.
    fn send(&mut self, number: u64) {
        let epoch = self.world.notes(Sender::Blocks).epoch;
        let sent = &self.world.sent[&number];
        let append = match (sent.codec, sent.sender) {
            (Some(_), Some(_)) if !self.producing.begun => return,
            (Some(codec), _) => Append::Block(block(sent, codec, epoch)),
            (None, sender) => Append::Records {
                records: records(&sent.payloads),
                expected: None,
                producer: sender.map(|(sender, sequence)| Producer {
                    id: sender.id(),
                    epoch: None,
                    sequence,
                }),
            },
        };
        if let Ok(ticket) = self.log().append(append) {
            self.waiting.push((number, ticket));
        }
    }

    /// Resends all unacked appends in order, after a restart.
    pub(super) fn resume(&mut self) -> Result<(), String> {
        for number in self.world.notes(Sender::Loose).unacked.clone() {
            self.send(number);
        }
        self.begin()
    }

    /// Drops all pending requests.
    pub(super) fn disconnect(&mut self) {
        self.waiting.clear();
        self.producing = Producing::default();
    }

    /// Begins the producer of blocks. This fences its earlier epochs.
    pub(super) fn begin(&mut self) -> Result<(), String> {
        self.producing.begun = false;
        match self.log().begin_producer(Sender::Blocks.id(), None) {
            Ok(ticket) => self.producing.beginning = Some(ticket),
            Err(_) if self.disk.is_off() => {}
            Err(error) => return Err(format!("a producer could not begin: {error}")),
        }
        Ok(())
    }

    /// Sends a block of the fenced process.
    pub(super) fn send_fenced(&mut self) -> Result<(), String> {
        let notes = self.world.notes(Sender::Blocks);
        let Some(epoch) = notes.epoch.checked_sub(1) else { return Ok(()) };
        let payloads = vec![b"from a fenced producer".to_vec()];
        let sender = Some((Sender::Blocks, notes.next_sequence));
        let block = block(&Sent { payloads, sender, codec: None }, Codec::None, epoch);
        if let Ok(ticket) = self.log().append(block) {
            self.producing.fenced.push(ticket);
        }
        Ok(())
    }

    /// Sends an acked block again, as if the ack had been lost.
    pub(super) fn repeat(&mut self) -> Result<(), String> {
        let back = self.random.below(20);
        let acked = &self.world.notes(Sender::Blocks).acked;
        let Some(number) = acked.iter().rev().nth(back).copied() else { return Ok(()) };
        self.totals.repeated += 1;
        self.send(number);
        Ok(())
    }

    /// Collects the results of finished requests.
    ///
    /// # Errors
    /// A result breaks a guarantee.
    pub(super) fn collect(&mut self) -> Result<(), String> {
        let mut context = Context::from_waker(Waker::noop());
        for (number, mut ticket) in std::mem::take(&mut self.waiting) {
            match Pin::new(&mut ticket).poll(&mut context) {
                Poll::Pending => self.waiting.push((number, ticket)),
                Poll::Ready(Ok(appended)) => {
                    self.totals.acked += 1;
                    self.world.acked(number, appended.end.0)?;
                }
                Poll::Ready(Err(error)) if !self.disk.is_off() && !self.replacing => {
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
                Poll::Ready(Err(error)) if !self.disk.is_off() && !self.replacing => {
                    return Err(format!("a fenced producer got another error: {error}"));
                }
                Poll::Ready(Err(_)) => {}
            }
        }
        self.collect_begun(&mut context)
    }

    /// Collects the result of a `begin`. If it is finished, resends the unacked appends.
    fn collect_begun(&mut self, context: &mut Context<'_>) -> Result<(), String> {
        let Some(mut ticket) = self.producing.beginning.take() else { return Ok(()) };
        let state = match Pin::new(&mut ticket).poll(context) {
            Poll::Pending => {
                self.producing.beginning = Some(ticket);
                return Ok(());
            }
            Poll::Ready(Ok(state)) => state,
            Poll::Ready(Err(error)) if !self.disk.is_off() && !self.replacing => {
                return Err(format!("a producer could not begin: {error}"));
            }
            Poll::Ready(Err(_)) => return Ok(()),
        };
        self.totals.begun += 1;
        let notes = self.world.notes(Sender::Blocks);
        if state.epoch <= notes.epoch {
            return Err(format!("epoch {} was given out after epoch {}", state.epoch, notes.epoch));
        }
        notes.epoch = state.epoch;
        let next = state.next_sequence.unwrap_or(0);
        if next < notes.acked_sequence || next > notes.next_sequence {
            let (acked, sent) = (notes.acked_sequence, notes.next_sequence);
            return Err(format!(
                "the next sequence is {next}, but {acked} are acked and {sent} are sent"
            ));
        }
        self.producing.begun = true;
        for number in self.world.notes(Sender::Blocks).unacked.clone() {
            self.send(number);
        }
        Ok(())
    }

    /// Checks that after a start the log knows everything about the producers that it acked.
    pub(super) fn audit_producers(&mut self) -> Result<(), String> {
        for sender in [Sender::Loose, Sender::Blocks] {
            let known = self.log().producer(sender.id());
            let notes = self.world.notes(sender);
            let (epoch, next) = known.map_or((0, None), |k| (k.epoch, k.next_sequence));
            if epoch < notes.epoch || next.unwrap_or(0) < notes.acked_sequence {
                return Err(format!(
                    "the log knows {known:?} of {sender:?}, but gave out epoch {} and acked sequences up to {}",
                    notes.epoch, notes.acked_sequence
                ));
            }
        }
        Ok(())
    }
}
