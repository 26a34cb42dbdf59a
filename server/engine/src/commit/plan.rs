//! A plan: what becomes of each request of a group, and the blocks to be written.
//!
//! ```text
//! items ─judge─▶ refused | repeated | appended ─▶ Build
//!           └ epoch raised ─▶ filler; forgotten ─▶ Drafts
//! ```
//!
//! A plan changes nothing but itself: the end of the log moves, and the producers
//! with it, when it was written. Then [`Answers`] are given, or all of them fail.
//! The group before it may be in flight meanwhile.

use std::sync::{Arc, Mutex};

use styx_protocol::Position;

use super::build::{Build, Built, Owner};
use super::queue::Item;
use crate::append::{Append, Appended, ProducerState, StreamError};
use crate::producers::{BlockVerdict, Drafts, Known, Table, Verdict};
use crate::wait::{Promise, Woken, lock};
use crate::{Error, Producer};

/// See the module.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    build: Build,
    producers: &'a Mutex<Table>,
    drafts: Drafts,
    answers: Answers,
}

impl<'a> Plan<'a> {
    /// An empty plan for what comes next, after what these producers did.
    pub(crate) fn new(build: Build, producers: &'a Mutex<Table>) -> Plan<'a> {
        Plan { build, producers, drafts: Drafts::new(), answers: Answers::default() }
    }

    /// Decides one request.
    pub(crate) fn add(&mut self, item: Item) {
        match item {
            Item::Append { append, stream_error, promise } => {
                let answer = match stream_error.as_ref().and_then(|stream_error| stream_error.get())
                {
                    Some(error) => Err(error),
                    None => self.append(&append),
                };
                if let (Some(stream_error), Err(error)) = (&stream_error, &answer) {
                    stream_error.set(error);
                }
                self.answers.appends.push(AppendAnswer { promise, stream_error, answer });
            }
            Item::Begin { producer, epoch, promise } => {
                let answer = self.begin(producer, epoch);
                self.answers.begins.push((promise, answer));
            }
            Item::Forget { producer } => self.drafts.entry(producer).or_default().forget(),
        }
    }

    fn append(&mut self, append: &Append) -> Result<Appended, Error> {
        match append {
            Append::Records { records, expected, producer: None } => {
                self.expect(*expected)?;
                let base = self.build.position();
                self.build.loose(records);
                Ok(self.appended(base, 0))
            }
            Append::Records { records, expected, producer: Some(producer) } => {
                let count = records.count();
                let verdict = self.known(producer.id, |known| known.judge(producer, count))?;
                let (skip, epoch) = match verdict {
                    Verdict::Append { skip, epoch } => (skip, epoch),
                    Verdict::Repeated { end } => {
                        let end = end.unwrap_or_default();
                        return Ok(Appended { base: end, end, count: 0, repeated: count });
                    }
                };
                self.expect(expected.map(|expected| expected + u64::from(skip)))?;
                let base = self.build.position();
                let Producer { id, sequence, .. } = *producer;
                let owner = Owner { producer: id, epoch, sequence: sequence + u64::from(skip) };
                let header = self.build.owned(&records.skip(skip), owner);
                self.drafts.entry(id).or_default().append(&header);
                Ok(self.appended(base, skip))
            }
            Append::Block(block) => {
                let header = block.header();
                let id = header.producer_id;
                if id != 0
                    && let BlockVerdict::Repeated { base } =
                        self.known(id, |known| known.judge_block(header))?
                {
                    let count = header.count;
                    let end = base + u64::from(count);
                    return Ok(Appended { base, end, count: 0, repeated: count });
                }
                self.expect(block.expected())?;
                let base = self.build.position();
                let header = self.build.block(header, block.body());
                if header.producer_id != 0 {
                    self.drafts.entry(header.producer_id).or_default().append(&header);
                }
                Ok(self.appended(base, 0))
            }
        }
    }

    fn begin(&mut self, producer: u64, asked: Option<u32>) -> Result<ProducerState, Error> {
        let (epoch, current, next_sequence) = self.known(producer, |known| {
            Ok((known.begin(asked)?, known.epoch(), known.next_sequence()))
        })?;
        if epoch > current {
            let header = self.build.epoch(producer, epoch);
            self.drafts.entry(producer).or_default().append(&header);
        }
        Ok(ProducerState { epoch, next_sequence })
    }

    /// What is known of a producer here. The lock is not held for longer, so that
    /// the group in flight can be answered meanwhile.
    fn known<T>(
        &self,
        producer: u64,
        judge: impl FnOnce(Known<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        judge(Known::of(producer, &lock(self.producers), &self.drafts))
    }

    fn expect(&self, expected: Option<Position>) -> Result<(), Error> {
        let end = self.build.position();
        match expected {
            Some(expected) if expected != end => Err(Error::PositionMismatch { expected, end }),
            _ => Ok(()),
        }
    }

    /// What was just put in, from `base` on.
    fn appended(&self, base: Position, repeated: u32) -> Appended {
        let end = self.build.position();
        let count = u32::try_from(end.since(base)).expect("a block's records");
        Appended { base, end, count, repeated }
    }

    /// What to write, what producers did, and whom to answer then.
    pub(crate) fn finish(self) -> (Built, Drafts, Answers) {
        (self.build.finish(), self.drafts, self.answers)
    }
}

/// What a group's requests are told once it is durable.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    appends: Vec<AppendAnswer>,
    begins: Vec<(Promise<ProducerState>, Result<ProducerState, Error>)>,
}

#[derive(Debug)]
struct AppendAnswer {
    promise: Promise<Appended>,
    stream_error: Option<Arc<StreamError>>,
    answer: Result<Appended, Error>,
}

impl Answers {
    /// The group is durable: everybody is told what was decided.
    pub(crate) fn give(self) {
        let mut woken = Woken::default();
        for AppendAnswer { promise, answer, .. } in self.appends {
            woken.add(promise.keep_quietly(answer));
        }
        for (promise, answer) in self.begins {
            woken.add(promise.keep_quietly(answer));
        }
        woken.wake();
    }

    /// The group failed, and with it all that was decided: refusals too, for they
    /// may rest on what was to be appended before them. What was found to be
    /// repeated stands if it was durable before; the log ended at `durable` then.
    pub(crate) fn fail(self, error: &Error, durable: Position) {
        let mut woken = Woken::default();
        for AppendAnswer { promise, stream_error, answer } in self.appends {
            let was_durable = |appended: &Appended| {
                appended.count == 0 && appended.end > Position::ORIGIN && appended.end <= durable
            };
            let answer = answer.ok().filter(was_durable).ok_or_else(|| error.clone());
            if let (Some(stream_error), Err(error)) = (&stream_error, &answer) {
                stream_error.replace(error);
            }
            woken.add(promise.keep_quietly(answer));
        }
        for (promise, _) in self.begins {
            woken.add(promise.keep_quietly(Err(error.clone())));
        }
        woken.wake();
    }
}
