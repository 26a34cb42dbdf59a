//! [`Known`]: what this producer knows of its log and the log of it, held
//! against each 101.
//!
//! The first 101 teaches; every later one must not contradict: another log,
//! another epoch, or a log that forgot acked records ends the producer.

use std::time::Duration;

use styx_protocol::codec::Codecs;
use styx_protocol::handshake::{EPOCH_PARAMETER, PRODUCER_PARAMETER};
use styx_protocol::limits::BLOCK_RAW_BYTES_MAX;
use styx_protocol::{Code, LogId, header};

use super::options::{Identity, Settings};
use crate::error::{Error, Facts, Kind};
use crate::options::SILENCE_TIMEOUT_MIN;
use crate::transport::{Request, Upgraded};

/// What a 101 says to a producer.
#[derive(Debug, Clone)]
pub(super) struct Welcome {
    pub(super) log_id: LogId,
    /// The producer's; 0 without one.
    pub(super) epoch: u32,
    /// `None` when the log knows no record of this producer.
    pub(super) next_sequence: Option<u64>,
    /// Bytes of records that a block may have, unless it is one larger record.
    pub(super) block_bytes_max: usize,
    /// Blocks that may be unacked.
    pub(super) blocks_max: usize,
    /// How often the server must hear from us.
    pub(super) timeout: Duration,
    /// How blocks may be packed.
    pub(super) codecs: Codecs,
}

impl Welcome {
    /// Reads a 101's headers.
    ///
    /// # Errors
    /// One is missing or cannot be understood.
    pub(super) fn read(answer: &Upgraded, identified: bool) -> Result<Welcome, Error> {
        let block_bytes_max: u64 = answer.required(header::MAX_BLOCK_SIZE)?;
        let blocks_max: usize = answer.required(header::MAX_IN_FLIGHT_BLOCKS)?;
        let seconds: u64 = answer.required(header::TIMEOUT)?;
        let epoch = if identified { answer.required(header::EPOCH)? } else { 0 };
        Ok(Welcome {
            log_id: answer.required(header::LOG_ID)?,
            epoch,
            next_sequence: answer.parsed(header::NEXT_SEQUENCE)?,
            block_bytes_max: usize::try_from(block_bytes_max)
                .map_or(BLOCK_RAW_BYTES_MAX, |max| max.clamp(1, BLOCK_RAW_BYTES_MAX)),
            blocks_max: blocks_max.max(1),
            timeout: Duration::from_secs(seconds).max(SILENCE_TIMEOUT_MIN),
            codecs: Codecs::from_features(answer.header(header::FEATURES).unwrap_or_default()),
        })
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Known {
    identity: Option<Identity>,
    log_id: Option<LogId>,
    /// The position behind the last record that was acked here.
    end_position: Option<u64>,
    /// The log has records of this producer: it said so, or acked them.
    has_records: bool,
}

impl Known {
    pub(super) fn new(identity: Option<Identity>) -> Known {
        Known { identity, log_id: None, end_position: None, has_records: false }
    }

    pub(super) fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// Records were acked; the last one stands before `end_position`.
    pub(super) fn acked(&mut self, end_position: u64) {
        self.has_records = true;
        self.end_position = self.end_position.max(Some(end_position));
    }

    /// The request for a connection.
    pub(super) fn request(&self, settings: &Settings, silence: Duration) -> Request {
        let mut request = Request::post(format!("/logs/{}/records", settings.log))
            .header(header::TIMEOUT, silence.as_secs());
        if let Some(identity) = self.identity {
            request = request.query(PRODUCER_PARAMETER, identity.id);
            if let Some(epoch) = identity.epoch {
                request = request.query(EPOCH_PARAMETER, epoch);
            }
        }
        let codecs = Codecs::from(settings.compression);
        if !codecs.is_plain() {
            request = request.header(header::FEATURES, codecs);
        }
        if let Some(id) = self.log_id {
            request = request.header(header::LOG_ID, id);
        }
        if let Some(end) = self.end_position {
            request = request.header(header::KNOWN_END, end);
        }
        request
    }

    /// Holds a 101 against what is known and learns from it. `unacked` are the
    /// sequences from the first unacked record to behind the last one that was
    /// taken to be sent, or twice the next one when there are none; `None` at
    /// the first 101.
    ///
    /// # Errors
    /// `log_changed`, `producer_unknown`, `log_end_regressed`,
    /// `sequence_reused`: none of them can be mended by trying again.
    pub(super) fn learn(
        &mut self,
        welcome: &Welcome,
        unacked: Option<(u64, u64)>,
    ) -> Result<(), Error> {
        if self.log_id.is_some_and(|known| known != welcome.log_id) {
            return Err(Error::code_error(
                Code::LogChanged,
                "the log was truncated, restored or created again since this producer was opened",
            ));
        }
        if let (Some(identity), Some((first, end))) = (self.identity, unacked) {
            self.check_sequences(identity, welcome.next_sequence, first, end)?;
        }
        self.log_id = Some(welcome.log_id);
        self.has_records |= welcome.next_sequence.is_some();
        if let Some(identity) = &mut self.identity {
            identity.epoch = Some(welcome.epoch);
        }
        Ok(())
    }

    fn check_sequences(
        &self,
        identity: Identity,
        next: Option<u64>,
        first: u64,
        end: u64,
    ) -> Result<(), Error> {
        let id = identity.id;
        let Some(next) = next else {
            if !self.has_records {
                return Ok(());
            }
            return Err(Error::code_error(
                Code::ProducerUnknown,
                format!("the log no longer knows producer {id}, whose records it has acked"),
            ));
        };
        let facts = Facts { expected_sequence: Some(next), ..Facts::default() };
        if next < first {
            let text = format!(
                "the log expects record {next} of producer {id}, and acked those before {first}"
            );
            return Err(Error::with_facts(Kind::Code(Code::LogEndRegressed), text, facts));
        }
        if next > end {
            let text = format!(
                "the log has records up to {next} of producer {id}, which has sent no more than \
                 {end}: somebody else uses its id and epoch"
            );
            return Err(Error::with_facts(Kind::Code(Code::SequenceReused), text, facts));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    fn welcome(log: u128, next_sequence: Option<u64>) -> Welcome {
        Welcome {
            log_id: LogId(log),
            epoch: 3,
            next_sequence,
            block_bytes_max: 1 << 20,
            blocks_max: 128,
            timeout: Duration::from_secs(30),
            codecs: Codecs::PLAIN,
        }
    }

    fn known() -> Known {
        let id = NonZeroU64::new(7).expect("not 0");
        Known::new(Some(Identity { id, epoch: None, drawn: true }))
    }

    /// A producer that was opened, and had this many records acked of ten.
    fn after_acks(acked: u64) -> (Known, Option<(u64, u64)>) {
        let mut known = known();
        known.learn(&welcome(1, None), None).expect("the first 101 teaches");
        if acked > 0 {
            known.acked(100 + acked);
        }
        (known, Some((acked, 10)))
    }

    #[test]
    fn a_reconnect_may_find_any_part_of_what_is_unacked() {
        for (acked, next) in [(0, None), (0, Some(0)), (0, Some(10)), (4, Some(4)), (4, Some(7))] {
            let (mut known, unacked) = after_acks(acked);
            assert!(known.learn(&welcome(1, next), unacked).is_ok(), "{acked} {next:?}");
            assert_eq!(known.identity().and_then(|identity| identity.epoch), Some(3));
        }
    }

    #[test]
    fn a_log_that_contradicts_ends_the_producer() {
        for (acked, log, next, code) in [
            (0, 2, None, Code::LogChanged),
            (4, 1, None, Code::ProducerUnknown),
            (4, 1, Some(3), Code::LogEndRegressed),
            (4, 1, Some(11), Code::SequenceReused),
        ] {
            let (mut known, unacked) = after_acks(acked);
            let error = known.learn(&welcome(log, next), unacked).expect_err("a contradiction");
            assert!(error.is(code), "{error:?} instead of {code}");
            assert!(!error.is_retriable());
        }
    }

    #[test]
    fn records_of_an_earlier_life_count_as_known() {
        let mut known = known();
        known.learn(&welcome(1, Some(5)), None).expect("the first 101 teaches");
        let error = known.learn(&welcome(1, None), Some((5, 5))).expect_err("it forgot");
        assert!(error.is(Code::ProducerUnknown));
    }
}
