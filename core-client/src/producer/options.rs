//! [`Builder`]: what a producer is told, checked when it is opened.

use std::num::NonZeroU64;
use std::time::Duration;

use styx_protocol::LogName;
use styx_protocol::block::Codec;
use styx_protocol::limits::{BLOCK_RAW_BYTES_MAX, IN_FLIGHT_BLOCKS_MAX};

use super::filling::Limits;
use super::{Producer, link};
use crate::client::Client;
use crate::error::Error;
use crate::options::timeout;

/// Bytes of records after which a block takes no more (256 KiB).
pub const BLOCK_BYTES: usize = 256 << 10;
/// Bytes of records that may wait or be unacked (32 MiB).
pub const IN_FLIGHT_BYTES: usize = 32 << 20;
/// How long a record may take to be acked.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// How long closing may take.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest a block may wait for more records.
pub const LINGER_MAX: Duration = Duration::from_secs(60);

/// Options of a [`Producer`].
#[derive(Debug, Clone)]
#[must_use = "a producer appends nothing until it is opened"]
pub struct Builder {
    client: Client,
    log: String,
    options: Options,
}

#[derive(Debug, Clone)]
struct Options {
    compression: Codec,
    linger: Duration,
    block_bytes: usize,
    in_flight_bytes: usize,
    deadline: Duration,
    close_timeout: Duration,
    idempotent: bool,
    producer_id: Option<u64>,
    epoch: Option<u32>,
    expected_position: Option<u64>,
}

/// The options, checked.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) log: LogName,
    pub(super) compression: Codec,
    pub(super) linger: Duration,
    pub(super) limits: Limits,
    pub(super) deadline: Duration,
    pub(super) close_timeout: Duration,
    pub(super) identity: Option<Identity>,
    pub(super) expected_position: Option<u64>,
}

/// Who the producer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: NonZeroU64,
    pub(super) epoch: Option<u32>,
    /// Drawn here: nobody will ask for it again once the producer is closed.
    pub(super) drawn: bool,
}

impl Client {
    /// A producer of records for the log `log`: options first, then
    /// [`open`](Builder::open).
    pub fn producer(&self, log: &str) -> Builder {
        let options = Options {
            compression: Codec::None,
            linger: Duration::ZERO,
            block_bytes: BLOCK_BYTES,
            in_flight_bytes: IN_FLIGHT_BYTES,
            deadline: DEADLINE,
            close_timeout: CLOSE_TIMEOUT,
            idempotent: true,
            producer_id: None,
            epoch: None,
            expected_position: None,
        };
        Builder { client: self.clone(), log: log.to_owned(), options }
    }
}

impl Builder {
    /// How blocks are packed, where the server takes that and it makes them
    /// smaller. Default: not at all.
    pub fn compression(mut self, codec: Codec) -> Builder {
        self.options.compression = codec;
        self
    }

    /// How long a block may wait for more records, at most 60 s. Default: not
    /// at all; a block leaves when the connection is free, and what comes
    /// meanwhile is the next one.
    pub fn linger(mut self, linger: Duration) -> Builder {
        self.options.linger = linger;
        self
    }

    /// Bytes of records, 8 for each and its payload, after which a block takes
    /// no more: 1 to 1 MiB. Default: 256 KiB.
    pub fn block_bytes(mut self, bytes: usize) -> Builder {
        self.options.block_bytes = bytes;
        self
    }

    /// Bytes of records that may wait or be unacked before appends have to wait:
    /// at least 1. The last append before that may exceed it. Default: 32 MiB.
    pub fn in_flight_bytes(mut self, bytes: usize) -> Builder {
        self.options.in_flight_bytes = bytes;
        self
    }

    /// How long a record may take from its append to its ack. One that takes
    /// longer fails, with all later ones, and closes the producer. Default: 120 s.
    pub fn deadline(mut self, deadline: Duration) -> Builder {
        self.options.deadline = deadline;
        self
    }

    /// How long [`close`](Producer::close) may take. Default: 30 s.
    pub fn close_timeout(mut self, timeout: Duration) -> Builder {
        self.options.close_timeout = timeout;
        self
    }

    /// Whether records carry the producer's id and their number, so that what
    /// is sent again is appended once. Without, records that were unacked when a
    /// connection broke fail, and may be in the log. Default: yes.
    pub fn idempotent(mut self, idempotent: bool) -> Builder {
        self.options.idempotent = idempotent;
        self
    }

    /// The producer's id, from 1 on, for one that goes on after a restart of
    /// its program: see [`Producer::next_sequence`]. Default: drawn at random.
    pub fn producer_id(mut self, id: u64) -> Builder {
        self.options.producer_id = Some(id);
        self
    }

    /// The producer's epoch; needs an id. A higher one shuts out all lower ones.
    /// Default: one more than the log knows.
    pub fn epoch(mut self, epoch: u32) -> Builder {
        self.options.epoch = Some(epoch);
        self
    }

    /// Append only if the log ends at this position when the first block gets
    /// there; later blocks follow it wherever they come to stand. Default: no
    /// condition.
    pub fn expected_position(mut self, position: u64) -> Builder {
        self.options.expected_position = Some(position);
        self
    }

    /// Opens the producer: it is connected and known to the log then. Tries
    /// again, until the client's call time-out, while the server is away or
    /// busy.
    ///
    /// Cancel safe: an id that was drawn is forgotten, one that was given may
    /// have a higher epoch.
    ///
    /// # Errors
    /// An option cannot be used; `log_not_found`, `producer_fenced`; no
    /// connection in time.
    pub async fn open(self) -> Result<Producer, Error> {
        let settings = self.options.check(&self.log)?;
        link::open(self.client, settings).await
    }
}

impl Options {
    fn check(&self, log: &str) -> Result<Settings, Error> {
        let log = crate::logs::known_name(log)?;
        if !(1..=BLOCK_RAW_BYTES_MAX).contains(&self.block_bytes) {
            return Err(out_of_range("block_bytes", self.block_bytes, "1 to 1048576"));
        }
        if self.in_flight_bytes == 0 {
            return Err(out_of_range("in_flight_bytes", 0, "at least 1"));
        }
        if self.linger > LINGER_MAX {
            return Err(Error::invalid(format!("linger is {:?}: use 0 to 60 s", self.linger)));
        }
        timeout("deadline", self.deadline, Duration::from_millis(1))?;
        timeout("close_timeout", self.close_timeout, Duration::ZERO)?;
        Ok(Settings {
            log,
            compression: self.compression,
            linger: self.linger,
            limits: Limits {
                block_bytes: self.block_bytes,
                block_bytes_max: BLOCK_RAW_BYTES_MAX,
                in_flight_bytes: self.in_flight_bytes,
                blocks: IN_FLIGHT_BLOCKS_MAX,
            },
            deadline: self.deadline,
            close_timeout: self.close_timeout,
            identity: self.identity()?,
            expected_position: self.expected_position,
        })
    }

    fn identity(&self) -> Result<Option<Identity>, Error> {
        let epoch = self.epoch;
        match (self.idempotent, self.producer_id) {
            (false, None) if epoch.is_none() => Ok(None),
            (false, _) => Err(Error::invalid("a producer with an id or epoch is idempotent")),
            (true, None) if epoch.is_some() => {
                Err(Error::invalid("an epoch belongs to a producer_id: give both"))
            }
            (true, None) => {
                let drawn = getrandom::u64()
                    .map_err(|e| Error::invalid(format!("the system has no randomness: {e}")))?;
                let id = NonZeroU64::new(drawn).unwrap_or(NonZeroU64::MAX);
                Ok(Some(Identity { id, epoch, drawn: true }))
            }
            (true, Some(id)) => match NonZeroU64::new(id) {
                Some(id) => Ok(Some(Identity { id, epoch, drawn: false })),
                None => Err(out_of_range("producer_id", 0, "1 to 2^64 - 1")),
            },
        }
    }
}

fn out_of_range(name: &str, value: usize, accepted: &str) -> Error {
    Error::invalid(format!("{name} is {value}: use {accepted}"))
}
