//! [`Builder`]: the options of a producer, and how it is opened.

use std::time::Duration;

use styx_protocol::block::Codec;
use styx_protocol::limits::BLOCK_RAW_BYTES_MAX;

use super::options::LINGER_MAX;
use super::settings::Options;
use super::{Producer, task};
use crate::client::Client;
use crate::error::Error;
use crate::options::{Given, OptionOf, TIMEOUT_MAX, TIMEOUT_MIN};

/// Options of a [`Producer`]. [`Client::producer`] returns it.
#[derive(Debug, Clone)]
#[must_use = "a producer appends nothing until it is opened"]
pub struct Builder {
    client: Client,
    log: String,
    options: Options,
}

impl Client {
    /// A builder for a producer that appends to the log `log`: set options, then call
    /// [`open`](Builder::open).
    pub fn producer(&self, log: &str) -> Builder {
        Builder { client: self.clone(), log: log.to_owned(), options: Options::default() }
    }
}

impl Builder {
    /// Sets an option by its name, for language bindings and configuration files.
    /// [`OPTIONS`](crate::options::OPTIONS) lists the names and how values are written.
    ///
    /// # Errors
    /// `invalid_argument`: there is no such option, and the error names the nearest one; or
    /// the value is not allowed, and the error says which are.
    pub fn set(self, key: &str, value: &str) -> Result<Builder, Error> {
        let given = Given::new(key, value);
        Ok(match key {
            "compression" => self.compression(given.codec()?),
            "linger" => self.linger(given.duration(Duration::ZERO..=LINGER_MAX)?),
            "block_bytes" => self.block_bytes(given.bytes(1..=BLOCK_RAW_BYTES_MAX)?),
            "in_flight_bytes" => self.in_flight_bytes(given.bytes(1..=usize::MAX)?),
            "deadline" => self.deadline(given.duration(TIMEOUT_MIN..=TIMEOUT_MAX)?),
            "close_timeout" => self.close_timeout(given.duration(Duration::ZERO..=TIMEOUT_MAX)?),
            "idempotent" => self.idempotent(given.flag()?),
            "producer_id" => self.producer_id(given.number(1..=u64::MAX)?),
            "epoch" => {
                let epoch = given.number(0..=u32::MAX.into())?;
                self.epoch(u32::try_from(epoch).unwrap_or(u32::MAX))
            }
            "expected_position" => self.expected_position(given.number(0..=u64::MAX)?),
            "track_settled" => self.track_settled(given.flag()?),
            _ => return Err(given.unknown(OptionOf::Producer)),
        })
    }

    /// The codec that compresses blocks, if the server supports it and it makes them
    /// smaller. Default: no compression.
    pub fn compression(mut self, codec: Codec) -> Builder {
        self.options.compression = codec;
        self
    }

    /// How long a block may wait for more records, at most 60 s. Default: 0. A block is
    /// sent as soon as the connection is free; records appended meanwhile form the next
    /// block.
    pub fn linger(mut self, linger: Duration) -> Builder {
        self.options.linger = linger;
        self
    }

    /// The size of a block in bytes, 1 to 1 MiB. A record counts 8 bytes plus its
    /// payload. A block that has reached this size accepts no more records.
    /// Default: 256 KiB.
    pub fn block_bytes(mut self, bytes: usize) -> Builder {
        self.options.block_bytes = bytes;
        self
    }

    /// How many bytes of records may be pending or unacknowledged, at least 1. Beyond
    /// that, appends wait (back-pressure). The last append before that may exceed the
    /// limit; if several threads append batches, the last append of each. Default:
    /// 32 MiB.
    pub fn in_flight_bytes(mut self, bytes: usize) -> Builder {
        self.options.in_flight_bytes = bytes;
        self
    }

    /// How long a record may take from its append to its ack. If one takes longer, it
    /// and all later records fail, and the producer is closed. Default: 120 s.
    pub fn deadline(mut self, deadline: Duration) -> Builder {
        self.options.deadline = deadline;
        self
    }

    /// How long [`close`](Producer::close) may take. Default: 30 s.
    pub fn close_timeout(mut self, timeout: Duration) -> Builder {
        self.options.close_timeout = timeout;
        self
    }

    /// Whether records carry the producer's id and a sequence number, so that records
    /// that are sent again are appended once. Without them, records that were
    /// unacknowledged when a connection broke fail, although they may be in the log.
    /// Default: yes.
    pub fn idempotent(mut self, idempotent: bool) -> Builder {
        self.options.idempotent = idempotent;
        self
    }

    /// The producer's id, at least 1, for a producer that continues after its program
    /// was restarted: see [`Producer::next_sequence`]. Default: a random id.
    pub fn producer_id(mut self, id: u64) -> Builder {
        self.options.producer_id = Some(id);
        self
    }

    /// The producer's epoch; needs a producer id. A higher epoch excludes all producers
    /// with the same id and a lower epoch. Default: one more than the log knows.
    pub fn epoch(mut self, epoch: u32) -> Builder {
        self.options.epoch = Some(epoch);
        self
    }

    /// Append only if the log ends at this position when the first block arrives there.
    /// Later blocks have no such condition. Default: no condition.
    pub fn expected_position(mut self, position: u64) -> Builder {
        self.options.expected_position = Some(position);
        self
    }

    /// Whether the producer keeps the outcome of every block until
    /// [`Producer::take_settled`] takes it. If 65,536 outcomes were not taken, appends
    /// wait. Default: no.
    pub fn track_settled(mut self, track: bool) -> Builder {
        self.options.track_settled = track;
        self
    }

    /// Opens the producer: connects, and registers its id with the log. While the server
    /// is unreachable or busy, it retries until the client's call timeout.
    ///
    /// Cancel safe: a generated id is forgotten, and a given id may have got a higher
    /// epoch.
    ///
    /// # Errors
    /// An option is out of range; `log_not_found`, `producer_fenced`; no connection
    /// in time.
    pub async fn open(self) -> Result<Producer, Error> {
        let settings = self.options.check(&self.log)?;
        let (shared, opened) = task::open(&self.client, settings).await?;
        Ok(Producer::new(shared, self.client, opened))
    }
}
