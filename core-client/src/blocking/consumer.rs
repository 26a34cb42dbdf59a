//! [`Consumer`]: reads a log, and reconnects by itself.

#[cfg(unix)]
use std::io;
use std::iter::FusedIterator;
#[cfg(unix)]
use std::os::fd::BorrowedFd;
use std::pin::pin;
use std::time::Duration;

use styx_protocol::{Checkpoint, Codecs, LogId};

use super::{forward, wait, wait_for};
use crate::batch::{OwnedRecord, Record, RecordBatch};
use crate::completion::{Source, Ticket};
use crate::consumer::{self, ConsumerStats, Handle, Polled, Start};
use crate::error::Error;

/// See [`consumer::Builder`].
#[derive(Debug, Clone)]
#[must_use = "a consumer reads nothing until it is opened"]
pub struct ConsumerBuilder(pub(super) consumer::Builder);

forward! { ConsumerBuilder => "consumer::Builder":
    count(u64),
    follow(bool),
    codecs(Codecs),
    buffer_bytes(usize),
    deadline(Option<Duration>),
    cursor(impl Into<String>),
}

impl ConsumerBuilder {
    /// See [`consumer::Builder::start`].
    pub fn start(mut self, start: impl Into<Start>) -> Self {
        self.0 = self.0.start(start);
        self
    }

    /// See [`consumer::Builder::open`].
    ///
    /// # Errors
    /// As [`consumer::Builder::open`].
    pub fn open(self) -> Result<Consumer, Error> {
        wait(self.0.open()).map(Consumer)
    }
}

/// See [`Consumer`](crate::Consumer).
#[derive(Debug)]
pub struct Consumer(crate::Consumer);

impl Consumer {
    /// See [`Consumer::next_batch`](crate::Consumer::next_batch).
    ///
    /// # Errors
    /// As [`Consumer::next_batch`](crate::Consumer::next_batch).
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>, Error> {
        wait(self.0.next_batch())
    }

    /// As [`next_batch`](Self::next_batch), but waits up to `at_most`, or until
    /// [`Handle::wakeup`] is called. Then it returns [`Polled::Nothing`]. A batch that was
    /// already received is returned even if `at_most` is zero.
    ///
    /// # Errors
    /// As [`Consumer::next_batch`](crate::Consumer::next_batch).
    pub fn poll(&mut self, at_most: Duration) -> Result<Polled, Error> {
        wait_for(pin!(self.0.poll()), at_most).unwrap_or(Ok(Polled::Nothing))
    }

    /// See [`Consumer::try_next_batch`](crate::Consumer::try_next_batch).
    ///
    /// # Errors
    /// As [`Consumer::try_next_batch`](crate::Consumer::try_next_batch).
    pub fn try_next_batch(&mut self) -> Result<Polled, Error> {
        self.0.try_next_batch()
    }

    /// See [`Consumer::next_record`](crate::Consumer::next_record).
    ///
    /// # Errors
    /// As [`Consumer::next_record`](crate::Consumer::next_record).
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, Error> {
        wait(self.0.next_record())
    }

    /// An iterator over the remaining batches. An error is the last item.
    pub fn batches(&mut self) -> Batches<'_> {
        Batches { consumer: Some(self) }
    }

    /// An iterator over the remaining records, each owned. An error is the last item.
    pub fn records(&mut self) -> Records<'_> {
        Records(self.0.records())
    }

    /// See [`Consumer::give_back`](crate::Consumer::give_back).
    ///
    /// # Errors
    /// As [`Consumer::give_back`](crate::Consumer::give_back).
    pub fn give_back(&mut self, rest: RecordBatch) -> Result<(), Error> {
        self.0.give_back(rest)
    }

    /// See [`Consumer::seek`](crate::Consumer::seek).
    ///
    /// # Errors
    /// As [`Consumer::seek`](crate::Consumer::seek).
    pub fn seek(&mut self, start: impl Into<Start>) -> Result<(), Error> {
        wait(self.0.seek(start))
    }

    /// See [`Consumer::seek_to`](crate::Consumer::seek_to).
    pub fn seek_to(&mut self, start: impl Into<Start>, ticket: Ticket) {
        self.0.seek_to(start, ticket);
    }

    /// See [`Consumer::position`](crate::Consumer::position).
    #[must_use]
    pub fn position(&self) -> u64 {
        self.0.position()
    }

    /// See [`Consumer::checkpoint`](crate::Consumer::checkpoint).
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        self.0.checkpoint()
    }

    /// See [`Consumer::log_id`](crate::Consumer::log_id).
    #[must_use]
    pub fn log_id(&self) -> LogId {
        self.0.log_id()
    }

    /// See [`Consumer::lag`](crate::Consumer::lag).
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.0.lag()
    }

    /// See [`Consumer::caught_up`](crate::Consumer::caught_up).
    #[must_use]
    pub fn caught_up(&self) -> bool {
        self.0.caught_up()
    }

    /// See [`Consumer::handle`](crate::Consumer::handle).
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.0.handle()
    }

    /// See [`Consumer::notify`](crate::Consumer::notify).
    pub fn notify(&self, source: Source) {
        self.0.notify(source);
    }

    /// See [`Consumer::descriptor`](crate::Consumer::descriptor).
    ///
    /// # Errors
    /// As [`Consumer::descriptor`](crate::Consumer::descriptor).
    #[cfg(unix)]
    pub fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        self.0.descriptor()
    }

    /// See [`Consumer::stats`](crate::Consumer::stats).
    #[must_use]
    pub fn stats(&self) -> ConsumerStats {
        self.0.stats()
    }

    /// See [`Consumer::commit`](crate::Consumer::commit).
    ///
    /// # Errors
    /// As [`Consumer::commit`](crate::Consumer::commit).
    pub fn commit(&mut self) -> Result<Commit, Error> {
        self.0.commit().map(Commit)
    }

    /// See [`Consumer::close`](crate::Consumer::close).
    pub fn close(&mut self) {
        wait(self.0.close());
    }
}

/// See [`consumer::Commit`].
#[derive(Debug, Clone)]
pub struct Commit(consumer::Commit);

impl Commit {
    /// See [`consumer::Commit::position`].
    ///
    /// # Errors
    /// As [`consumer::Commit::position`].
    pub fn position(&self) -> Result<u64, Error> {
        wait(self.0.position())
    }

    /// See [`consumer::Commit::try_position`].
    #[must_use]
    pub fn try_position(&self) -> Option<Result<u64, Error>> {
        self.0.try_position()
    }
}

/// The remaining batches of a consumer. [`Consumer::batches`] returns it.
#[derive(Debug)]
pub struct Batches<'a> {
    /// `None` after the last item.
    consumer: Option<&'a mut Consumer>,
}

impl Iterator for Batches<'_> {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.consumer.as_mut()?.next_batch();
        if !matches!(next, Ok(Some(_))) {
            self.consumer = None;
        }
        next.transpose()
    }
}

impl FusedIterator for Batches<'_> {}

/// See [`Consumer::records`].
#[derive(Debug)]
#[must_use = "an iterator reads nothing until it is used"]
pub struct Records<'a>(consumer::Records<'a>);

impl Iterator for Records<'_> {
    type Item = Result<OwnedRecord, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        wait(self.0.next())
    }
}

impl FusedIterator for Records<'_> {}
