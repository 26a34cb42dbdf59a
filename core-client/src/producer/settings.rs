//! [`ProducerSettings`]: the checked options of a producer.

use std::num::NonZeroU64;
use std::time::Duration;

use styx_protocol::LogName;
use styx_protocol::block::Codec;
use styx_protocol::limits::{BLOCK_RAW_BYTES_MAX, IN_FLIGHT_BLOCKS_MAX};

use super::options::{BLOCK_BYTES, CLOSE_TIMEOUT, DEADLINE, IN_FLIGHT_BYTES, LINGER_MAX};
use super::pending::Limits;
use crate::error::Error;
use crate::options::check_timeout;

/// The options as the caller gave them.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) compression: Codec,
    pub(super) linger: Duration,
    pub(super) block_bytes: usize,
    pub(super) in_flight_bytes: usize,
    pub(super) deadline: Duration,
    pub(super) close_timeout: Duration,
    pub(super) idempotent: bool,
    pub(super) producer_id: Option<u64>,
    pub(super) epoch: Option<u32>,
    pub(super) expected_position: Option<u64>,
    pub(super) track_settled: bool,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct ProducerSettings {
    pub(super) log: LogName,
    pub(super) compression: Codec,
    pub(super) linger: Duration,
    pub(super) limits: Limits,
    pub(super) deadline: Duration,
    pub(super) close_timeout: Duration,
    /// `None` for a producer that is not idempotent.
    pub(super) identity: Option<Identity>,
    pub(super) expected_position: Option<u64>,
    pub(super) track_settled: bool,
}

/// A producer's id and epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: NonZeroU64,
    pub(super) epoch: Option<u32>,
    /// The id was generated here, so nobody uses it again after the producer is closed.
    pub(super) generated: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
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
            track_settled: false,
        }
    }
}

impl Options {
    /// Checks every option.
    ///
    /// # Errors
    /// The first option that is out of range.
    pub(super) fn check(&self, log: &str) -> Result<ProducerSettings, Error> {
        let log = crate::logs::known_name(log)?;
        if !(1..=BLOCK_RAW_BYTES_MAX).contains(&self.block_bytes) {
            return Err(out_of_range("block_bytes", self.block_bytes, "1 to 1048576 bytes"));
        }
        if self.in_flight_bytes == 0 {
            return Err(out_of_range("in_flight_bytes", 0, "at least 1 byte"));
        }
        if self.linger > LINGER_MAX {
            return Err(Error::invalid_argument(format!(
                "linger is {:?}: use 0 to 60 s",
                self.linger
            )));
        }
        check_timeout("deadline", self.deadline, Duration::from_millis(1))?;
        check_timeout("close_timeout", self.close_timeout, Duration::ZERO)?;
        Ok(ProducerSettings {
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
            track_settled: self.track_settled,
        })
    }

    fn identity(&self) -> Result<Option<Identity>, Error> {
        let epoch = self.epoch;
        match (self.idempotent, self.producer_id) {
            (false, None) if epoch.is_none() => Ok(None),
            (false, _) => Err(Error::invalid_argument(
                "producer_id and epoch need an idempotent producer: set idempotent, or leave them \
                 out",
            )),
            (true, None) if epoch.is_some() => {
                Err(Error::invalid_argument("epoch needs a producer_id: set both"))
            }
            (true, None) => {
                let random = getrandom::u64().map_err(|e| {
                    Error::invalid_argument(format!("the system provides no random numbers: {e}"))
                })?;
                let id = NonZeroU64::new(random).unwrap_or(NonZeroU64::MAX);
                Ok(Some(Identity { id, epoch, generated: true }))
            }
            (true, Some(id)) => match NonZeroU64::new(id) {
                Some(id) => Ok(Some(Identity { id, epoch, generated: false })),
                None => Err(out_of_range("producer_id", 0, "1 to 2^64 - 1")),
            },
        }
    }
}

fn out_of_range(name: &str, value: usize, accepted: &str) -> Error {
    Error::invalid_argument(format!("{name} is {value}: use {accepted}"))
}
