//! [`Producer`]: appends records, each exactly once.

use std::time::Duration;

use styx_protocol::{Codec, LogId};

use super::{forward, wait};
use crate::error::{Error, Kind};
use crate::producer::{self, Encoded, ProducerStats, Settled};

/// See [`producer::Builder`].
#[derive(Debug, Clone)]
#[must_use = "a producer appends nothing until it is opened"]
pub struct ProducerBuilder(pub(super) producer::Builder);

forward! { ProducerBuilder => "producer::Builder":
    compression(Codec),
    linger(Duration),
    block_bytes(usize),
    in_flight_bytes(usize),
    deadline(Duration),
    close_timeout(Duration),
    idempotent(bool),
    producer_id(u64),
    epoch(u32),
    expected_position(u64),
    track_settled(bool),
}

impl ProducerBuilder {
    /// See [`producer::Builder::open`].
    ///
    /// # Errors
    /// As [`producer::Builder::open`].
    pub fn open(self) -> Result<Producer, Error> {
        wait(self.0.open()).map(Producer)
    }
}

/// See [`Producer`](crate::Producer).
#[derive(Debug)]
pub struct Producer(crate::Producer);

impl Producer {
    /// See [`Producer::append`](crate::Producer::append).
    ///
    /// # Errors
    /// As [`Producer::append`](crate::Producer::append).
    pub fn append(&self, payload: &[u8]) -> Result<Ack, Error> {
        match self.0.try_append(payload) {
            Err(error) if error.kind() == Kind::WouldBlock => wait(self.0.append(payload)).map(Ack),
            done => done.map(Ack),
        }
    }

    /// See [`Producer::try_append`](crate::Producer::try_append).
    ///
    /// # Errors
    /// As [`Producer::try_append`](crate::Producer::try_append).
    pub fn try_append(&self, payload: &[u8]) -> Result<Ack, Error> {
        self.0.try_append(payload).map(Ack)
    }

    /// See [`Producer::append_many`](crate::Producer::append_many).
    ///
    /// # Errors
    /// As [`Producer::append_many`](crate::Producer::append_many).
    pub fn append_many<I>(&self, batch: I) -> Result<Ack, Error>
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        wait(self.0.append_many(batch)).map(Ack)
    }

    /// See [`Producer::try_append_many`](crate::Producer::try_append_many).
    ///
    /// # Errors
    /// As [`Producer::try_append_many`](crate::Producer::try_append_many).
    pub fn try_append_many<I>(&self, batch: I) -> Result<Ack, Error>
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        self.0.try_append_many(batch).map(Ack)
    }

    /// See [`Producer::append_encoded`](crate::Producer::append_encoded).
    ///
    /// # Errors
    /// As [`Producer::append_encoded`](crate::Producer::append_encoded).
    pub fn append_encoded(&self, batch: Encoded) -> Result<Ack, Error> {
        wait(self.0.append_encoded(batch)).map(Ack)
    }

    /// See [`Producer::try_append_encoded`](crate::Producer::try_append_encoded).
    ///
    /// # Errors
    /// As [`Producer::try_append_encoded`](crate::Producer::try_append_encoded).
    pub fn try_append_encoded(&self, batch: &mut Encoded) -> Result<Ack, Error> {
        self.0.try_append_encoded(batch).map(Ack)
    }

    /// See [`Producer::wait_room`](crate::Producer::wait_room).
    #[must_use]
    pub fn wait_room(&self, at_most: Duration) -> bool {
        self.0.wait_room(at_most)
    }

    /// See [`Producer::take_settled`](crate::Producer::take_settled).
    pub fn take_settled(&self, into: &mut Vec<Settled>) {
        self.0.take_settled(into);
    }

    /// See [`Producer::send`](crate::Producer::send).
    ///
    /// # Errors
    /// As [`Producer::send`](crate::Producer::send).
    pub fn send(&self, payload: &[u8]) -> Result<u64, Error> {
        wait(self.0.send(payload))
    }

    /// See [`Producer::flush`](crate::Producer::flush).
    ///
    /// # Errors
    /// As [`Producer::flush`](crate::Producer::flush).
    pub fn flush(&self) -> Result<(), Error> {
        wait(self.0.flush())
    }

    /// See [`Producer::close`](crate::Producer::close).
    ///
    /// # Errors
    /// As [`Producer::close`](crate::Producer::close).
    pub fn close(&self) -> Result<(), Error> {
        wait(self.0.close())
    }

    /// See [`Producer::close_within`](crate::Producer::close_within).
    ///
    /// # Errors
    /// As [`Producer::close_within`](crate::Producer::close_within).
    pub fn close_within(&self, at_most: Duration) -> Result<(), Error> {
        wait(self.0.close_within(at_most))
    }

    /// See [`Producer::next_sequence`](crate::Producer::next_sequence).
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.0.next_sequence()
    }

    /// See [`Producer::durable_sequence`](crate::Producer::durable_sequence).
    #[must_use]
    pub fn durable_sequence(&self) -> u64 {
        self.0.durable_sequence()
    }

    /// See [`Producer::stats`](crate::Producer::stats).
    #[must_use]
    pub fn stats(&self) -> ProducerStats {
        self.0.stats()
    }

    /// See [`Producer::producer_id`](crate::Producer::producer_id).
    #[must_use]
    pub fn producer_id(&self) -> Option<u64> {
        self.0.producer_id()
    }

    /// See [`Producer::epoch`](crate::Producer::epoch).
    #[must_use]
    pub fn epoch(&self) -> Option<u32> {
        self.0.epoch()
    }

    /// See [`Producer::log_id`](crate::Producer::log_id).
    #[must_use]
    pub fn log_id(&self) -> LogId {
        self.0.log_id()
    }

    /// The same producer for programs with an executor.
    #[must_use]
    pub fn as_async(&self) -> &crate::Producer {
        &self.0
    }
}

/// See [`Ack`](crate::Ack).
#[derive(Debug, Clone)]
pub struct Ack(crate::Ack);

impl Ack {
    /// See [`Ack::sequence`](crate::Ack::sequence).
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.0.sequence()
    }

    /// See [`Ack::count`](crate::Ack::count).
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.count()
    }

    /// See [`Ack::position`](crate::Ack::position).
    ///
    /// # Errors
    /// As [`Ack::position`](crate::Ack::position).
    pub fn position(&self) -> Result<u64, Error> {
        wait(self.0.position())
    }

    /// See [`Ack::try_position`](crate::Ack::try_position).
    #[must_use]
    pub fn try_position(&self) -> Option<Result<u64, Error>> {
        self.0.try_position()
    }
}
