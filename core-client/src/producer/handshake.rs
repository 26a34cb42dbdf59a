//! [`KnownLog`]: what a producer knows about its log, and the log about the producer.
//! Every handshake is checked against it.
//!
//! The first handshake provides the facts. A later one must not contradict them: another
//! log, another epoch, or a log that lost acknowledged records ends the producer.

use std::time::Duration;

use styx_protocol::codec::Codecs;
use styx_protocol::handshake::{EPOCH_PARAMETER, PRODUCER_PARAMETER};
use styx_protocol::limits::BLOCK_RAW_BYTES_MAX;
use styx_protocol::{Checkpoint, Code, LogId, header};

use super::settings::{Identity, ProducerSettings};
use crate::error::{Error, Facts, Kind, check_restored_from};
use crate::options::SILENCE_TIMEOUT_MIN;
use crate::transport::{Request, Upgraded};

/// The headers of a `101` response to a producer.
#[derive(Debug, Clone)]
pub(super) struct ProducerHandshake {
    pub(super) log_id: LogId,
    /// The expected log and the fork, if the log was restored from it.
    pub(super) restored_from: Option<Checkpoint>,
    /// The producer's epoch; 0 without a producer id.
    pub(super) epoch: u32,
    /// The next sequence that the log expects; `None` if it has no record of this
    /// producer.
    pub(super) next_sequence: Option<u64>,
    /// The most bytes of records in a block, unless it is a single larger record.
    pub(super) block_bytes_max: usize,
    /// The most unacknowledged blocks.
    pub(super) blocks_max: usize,
    /// Silence after which the server ends the connection.
    pub(super) timeout: Duration,
    /// The codecs that blocks may use.
    pub(super) codecs: Codecs,
}

impl ProducerHandshake {
    /// Reads the headers of a `101`.
    ///
    /// # Errors
    /// A header is missing or cannot be parsed.
    pub(super) fn read(answer: &Upgraded, identified: bool) -> Result<ProducerHandshake, Error> {
        let block_bytes_max: u64 = answer.required(header::MAX_BLOCK_SIZE)?;
        let blocks_max: usize = answer.required(header::MAX_IN_FLIGHT_BLOCKS)?;
        let seconds: u64 = answer.required(header::TIMEOUT)?;
        let epoch = if identified { answer.required(header::EPOCH)? } else { 0 };
        Ok(ProducerHandshake {
            log_id: answer.required(header::LOG_ID)?,
            restored_from: answer.parsed(header::RESTORED_FROM)?,
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
pub(super) struct KnownLog {
    identity: Option<Identity>,
    log_id: Option<LogId>,
    /// The position after the last acknowledged record.
    end_position: Option<u64>,
    /// The log has records of this producer: it reported some, or acknowledged some.
    has_records: bool,
}

impl KnownLog {
    pub(super) fn new(identity: Option<Identity>) -> KnownLog {
        KnownLog { identity, log_id: None, end_position: None, has_records: false }
    }

    pub(super) fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// Records were acknowledged, the last one before `end_position`.
    pub(super) fn acked(&mut self, end_position: u64) {
        self.has_records = true;
        self.end_position = self.end_position.max(Some(end_position));
    }

    /// The request for a connection.
    pub(super) fn request(
        &self,
        settings: &ProducerSettings,
        silence_timeout: Duration,
    ) -> Request {
        let mut request = Request::post(format!("/logs/{}/records", settings.log))
            .header(header::TIMEOUT, silence_timeout.as_secs());
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
            // Without an acknowledged record, every end is late enough.
            let end = self.end_position.unwrap_or(0);
            request = request.header(header::LOG_ID, id).header(header::KNOWN_END, end);
        }
        request
    }

    /// Checks a handshake against the known facts and adds its facts to them. A log that was
    /// restored from the known one continues it, if it has all acknowledged records. `unacked`
    /// is the sequence of the first unacknowledged record and the one after the last
    /// record that was taken to be sent. If there are no such records, both are the next
    /// sequence. At the first handshake it is `None`.
    ///
    /// # Errors
    /// `log_changed`, `producer_unknown`, `log_end_regressed`, `sequence_reused`: a retry
    /// fixes none of them.
    pub(super) fn apply(
        &mut self,
        handshake: &ProducerHandshake,
        unacked: Option<(u64, u64)>,
    ) -> Result<(), Error> {
        if let Some(known) = self.log_id.filter(|known| *known != handshake.log_id) {
            let needed = self.end_position.unwrap_or(0);
            check_restored_from(handshake.restored_from, known, needed)?;
        }
        if let (Some(identity), Some((first, end))) = (self.identity, unacked) {
            self.check_sequences(identity, handshake.next_sequence, first, end)?;
        }
        self.log_id = Some(handshake.log_id);
        self.has_records |= handshake.next_sequence.is_some();
        if let Some(identity) = &mut self.identity {
            identity.epoch = Some(handshake.epoch);
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
                format!(
                    "the log no longer knows producer {id}, although it acknowledged its records"
                ),
            ));
        };
        let facts = Facts { expected_sequence: Some(next), ..Facts::default() };
        if next < first {
            let text = format!(
                "the log expects sequence {next} of producer {id}, although it acknowledged all \
                 records before sequence {first}"
            );
            return Err(Error::with_facts(Kind::Code(Code::LogEndRegressed), text, facts));
        }
        if next > end {
            let text = format!(
                "the log has records of producer {id} up to sequence {next}, but this producer has \
                 only sent records up to {end}: another producer uses its id and epoch"
            );
            return Err(Error::with_facts(Kind::Code(Code::SequenceReused), text, facts));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use styx_protocol::Position;

    use super::*;

    fn handshake(log: u128, next_sequence: Option<u64>) -> ProducerHandshake {
        ProducerHandshake {
            log_id: LogId(log),
            restored_from: None,
            epoch: 3,
            next_sequence,
            block_bytes_max: 1 << 20,
            blocks_max: 128,
            timeout: Duration::from_secs(30),
            codecs: Codecs::PLAIN,
        }
    }

    fn known_log() -> KnownLog {
        let id = NonZeroU64::new(7).expect("not 0");
        KnownLog::new(Some(Identity { id, epoch: None, generated: true }))
    }

    /// A producer that was opened and sent ten records, of which `acked` are
    /// acknowledged.
    fn after_acks(acked: u64) -> (KnownLog, Option<(u64, u64)>) {
        let mut known = known_log();
        known.apply(&handshake(1, None), None).expect("the first handshake is accepted");
        if acked > 0 {
            known.acked(100 + acked);
        }
        (known, Some((acked, 10)))
    }

    #[test]
    fn reconnect_accepts_any_prefix_of_the_unacknowledged_records() {
        for (acked, next) in [(0, None), (0, Some(0)), (0, Some(10)), (4, Some(4)), (4, Some(7))] {
            let (mut known, unacked) = after_acks(acked);
            assert!(known.apply(&handshake(1, next), unacked).is_ok(), "{acked} {next:?}");
            assert_eq!(known.identity().and_then(|identity| identity.epoch), Some(3));
        }
    }

    #[test]
    fn contradicting_handshake_ends_the_producer() {
        for (acked, log, next, code) in [
            (0, 2, None, Code::LogChanged),
            (4, 1, None, Code::ProducerUnknown),
            (4, 1, Some(3), Code::LogEndRegressed),
            (4, 1, Some(11), Code::SequenceReused),
        ] {
            let (mut known, unacked) = after_acks(acked);
            let error = known.apply(&handshake(log, next), unacked).expect_err("a contradiction");
            assert!(error.is(code), "{error:?} instead of {code}");
            assert!(!error.is_retriable());
        }
    }

    /// The restored log has the records before the fork, and the producer's state there.
    #[test]
    fn restored_log_with_all_acknowledged_records_continues_the_producer() {
        let restored = |fork, next| ProducerHandshake {
            restored_from: Some(Checkpoint { log_id: LogId(1), next: Position(fork) }),
            ..handshake(2, next)
        };
        for (acked, fork, next) in [(4, 104, Some(4)), (4, 107, Some(7)), (0, 0, None)] {
            let (mut known, unacked) = after_acks(acked);
            known.apply(&restored(fork, next), unacked).expect("all acknowledged records");
            // From now on, it is this log.
            assert!(known.apply(&handshake(2, next), unacked).is_ok());
            let error = known.apply(&handshake(1, next), unacked).expect_err("the old log");
            assert!(error.is(Code::LogChanged));
        }
        let (mut known, unacked) = after_acks(4);
        let error = known.apply(&restored(103, Some(3)), unacked).expect_err("one is lost");
        assert!(error.is(Code::LogChanged), "{error}");
        assert_eq!(error.facts().fork_position, Some(103));
        let mut other = restored(200, Some(4));
        other.restored_from = Some(Checkpoint { log_id: LogId(9), next: Position(200) });
        let error = known.apply(&other, unacked).expect_err("restored from another log");
        assert_eq!(error.facts().fork_position, None);
    }

    #[test]
    fn records_of_an_earlier_run_count_as_known() {
        let mut known = known_log();
        known.apply(&handshake(1, Some(5)), None).expect("the first handshake is accepted");
        let error =
            known.apply(&handshake(1, None), Some((5, 5))).expect_err("the log lost the producer");
        assert!(error.is(Code::ProducerUnknown));
    }
}
