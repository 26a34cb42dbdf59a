//! A plan: the result of each request of a group, and the blocks to write.
//!
//! ```text
//! requests ─decide─▶ refused | repeated | appended ─▶ GroupBuilder
//!               └ epoch raised ─▶ filler; producer forgotten ─▶ PendingChanges
//! ```
//!
//! A plan changes only itself. The end of the log and the producers change after the group was
//! written. Then the [`GroupResults`] are delivered, or all of them fail. The group before it
//! may still be in flight while a plan is made.

use std::sync::{Arc, Mutex};

use styx_protocol::Position;
use styx_protocol::block::Header;

use super::group_builder::{BlockProducer, BuiltGroup, GroupBuilder};
use super::queue::Request;
use crate::append::{Append, Appended, ProducerState, StreamError};
use crate::histogram::Histogram;
use crate::producers::{
    BlockDecision, PendingChanges, ProducerTable, ProducerView, RecordsDecision, SentRecords,
};
use crate::sync::lock;
use crate::wait::{Promise, WakeList};
use crate::{Error, Producer};

/// See the module.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    builder: GroupBuilder,
    producers: &'a Mutex<ProducerTable>,
    changes: PendingChanges,
    results: GroupResults,
}

impl<'a> Plan<'a> {
    /// An empty plan on top of the durable and in-flight state of these producers.
    pub(crate) fn new(builder: GroupBuilder, producers: &'a Mutex<ProducerTable>) -> Plan<'a> {
        Plan {
            builder,
            producers,
            changes: PendingChanges::new(),
            results: GroupResults::default(),
        }
    }

    /// Decides one request.
    pub(crate) fn add(&mut self, request: Request) {
        match request {
            Request::Append { append, stream_error, promise, queued_at_us } => {
                let result = match stream_error.as_ref().and_then(|stream_error| stream_error.get())
                {
                    Some(error) => Err(error),
                    None => self.append(&append),
                };
                if let (Some(stream_error), Err(error)) = (&stream_error, &result) {
                    stream_error.set(error);
                }
                let result = AppendResult { promise, stream_error, result, queued_at_us };
                self.results.appends.push(result);
            }
            Request::Begin { producer, epoch, promise } => {
                let result = self.begin(producer, epoch);
                self.results.begins.push((promise, result));
            }
            Request::Forget { producer } => self.changes.entry(producer).or_default().forget(),
        }
    }

    fn append(&mut self, append: &Append) -> Result<Appended, Error> {
        match append {
            Append::Records { records, expected, producer: None } => {
                self.expect(*expected)?;
                let base = self.builder.position();
                self.builder.add_records(records);
                Ok(self.appended(base, 0))
            }
            Append::Pieces { payload, expected, producer: None } => {
                self.expect(*expected)?;
                let base = self.builder.position();
                let _ = self.builder.add_pieces(payload, BlockProducer::default());
                Ok(self.appended(base, 0))
            }
            Append::Records { records, expected, producer: Some(producer) } => {
                let add = |builder: &mut GroupBuilder, skip, producer_fields| {
                    builder.add_producer_records(&records.skip(skip), producer_fields)
                };
                self.append_as(producer, &SentRecords::Records(records), *expected, add)
            }
            Append::Pieces { payload, expected, producer: Some(producer) } => {
                let add = |builder: &mut GroupBuilder, _, producer_fields| {
                    builder.add_pieces(payload, producer_fields)
                };
                self.append_as(producer, &SentRecords::Pieces(payload), *expected, add)
            }
            Append::Block(block) => {
                let header = block.header();
                let id = header.producer_id;
                if id != 0
                    && let BlockDecision::Repeated { base } =
                        self.known(id, |known| known.decide_block(header))?
                {
                    let count = header.count;
                    let end = base + u64::from(count);
                    return Ok(Appended { base, end, count: 0, repeated: count });
                }
                self.expect(block.expected())?;
                let base = self.builder.position();
                let header = self.builder.add_body(header, std::slice::from_ref(block.body()));
                if header.producer_id != 0 {
                    self.changes.entry(header.producer_id).or_default().append(&header);
                }
                Ok(self.appended(base, 0))
            }
        }
    }

    /// Appends a producer's loose records, except those that it has appended already. `add` adds
    /// the records without the first ones, and returns their header.
    fn append_as(
        &mut self,
        producer: &Producer,
        sent: &SentRecords<'_>,
        expected: Option<Position>,
        add: impl FnOnce(&mut GroupBuilder, u32, BlockProducer) -> Header,
    ) -> Result<Appended, Error> {
        let verdict = self.known(producer.id, |known| known.decide(producer, sent))?;
        let (skip, epoch) = match verdict {
            RecordsDecision::Append { skip, epoch } => (skip, epoch),
            RecordsDecision::Repeated { end } => {
                let end = end.unwrap_or_default();
                return Ok(Appended { base: end, end, count: 0, repeated: sent.count() });
            }
        };
        self.expect(expected.map(|expected| expected + u64::from(skip)))?;
        let base = self.builder.position();
        let Producer { id, sequence, .. } = *producer;
        let producer_fields =
            BlockProducer { producer: id, epoch, sequence: sequence + u64::from(skip) };
        let header = add(&mut self.builder, skip, producer_fields);
        self.changes.entry(id).or_default().append(&header);
        Ok(self.appended(base, skip))
    }

    fn begin(&mut self, producer: u64, asked: Option<u32>) -> Result<ProducerState, Error> {
        let (epoch, current, next_sequence) = self.known(producer, |known| {
            Ok((known.begin(asked)?, known.epoch(), known.next_sequence()))
        })?;
        if epoch > current {
            let header = self.builder.add_epoch(producer, epoch);
            self.changes.entry(producer).or_default().append(&header);
        }
        Ok(ProducerState { epoch, next_sequence })
    }

    /// Calls `decide` with what is known about a producer at this point of the plan. The lock is
    /// released afterwards, so that the results of the group in flight can be delivered meanwhile.
    fn known<T>(
        &self,
        producer: u64,
        decide: impl FnOnce(ProducerView<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        decide(ProducerView::of(producer, &lock(self.producers), &self.changes))
    }

    fn expect(&self, expected: Option<Position>) -> Result<(), Error> {
        let end = self.builder.position();
        match expected {
            Some(expected) if expected != end => Err(Error::PositionMismatch { expected, end }),
            _ => Ok(()),
        }
    }

    /// The result of the records that were added since `base`.
    fn appended(&self, base: Position, repeated: u32) -> Appended {
        let end = self.builder.position();
        let count = u32::try_from(end.since(base)).expect("a block's records");
        Appended { base, end, count, repeated }
    }

    /// The group to write, the changes to the producers, and the results to deliver after the
    /// write.
    pub(crate) fn finish(self) -> (BuiltGroup, PendingChanges, GroupResults) {
        (self.builder.finish(), self.changes, self.results)
    }
}

/// The results of a group's requests, to be delivered once the group is durable.
#[derive(Debug, Default)]
pub(crate) struct GroupResults {
    appends: Vec<AppendResult>,
    begins: Vec<(Promise<ProducerState>, Result<ProducerState, Error>)>,
}

#[derive(Debug)]
struct AppendResult {
    promise: Promise<Appended>,
    stream_error: Option<Arc<StreamError>>,
    result: Result<Appended, Error>,
    queued_at_us: u64,
}

impl GroupResults {
    /// The group is durable: delivers every result as planned, and counts how long each append
    /// took until `now_us`.
    pub(crate) fn deliver(self, now_us: u64, took_us: &Histogram) {
        let mut wake_list = WakeList::default();
        let mut took_us = took_us.tally();
        for AppendResult { promise, result, queued_at_us, .. } in self.appends {
            if result.is_ok() {
                took_us.add(now_us.saturating_sub(queued_at_us));
            }
            wake_list.add(promise.complete_without_waking(result));
        }
        for (promise, result) in self.begins {
            wake_list.add(promise.complete_without_waking(result));
        }
        // A caller that has its result finds it counted.
        drop(took_us);
        wake_list.wake();
    }

    /// The group failed, and with it every planned result. Refusals fail too, because they may
    /// depend on appends of the same group. An append that repeats records below `durable`, the
    /// log's end at that time, still succeeds.
    pub(crate) fn fail(self, error: &Error, durable: Position) {
        let mut wake_list = WakeList::default();
        for AppendResult { promise, stream_error, result, .. } in self.appends {
            let was_durable = |appended: &Appended| {
                appended.count == 0 && appended.end > Position::ORIGIN && appended.end <= durable
            };
            let result = result.ok().filter(was_durable).ok_or_else(|| error.clone());
            if let (Some(stream_error), Err(error)) = (&stream_error, &result) {
                stream_error.replace(error);
            }
            wake_list.add(promise.complete_without_waking(result));
        }
        for (promise, _) in self.begins {
            wake_list.add(promise.complete_without_waking(Err(error.clone())));
        }
        wake_list.wake();
    }
}
