//! [`ProducerStats`]: the numbers of a producer, for programs that watch it.

use std::time::{Duration, Instant};

use super::ack::SettledBlock;
use super::shared::ProducerShared;

/// The numbers of a producer since it was opened, and its present state.
/// [`Producer::stats`](super::Producer::stats) returns it.
///
/// Each record counts 8 bytes plus its payload, before compression. A record leaves the
/// numbers of what is in flight before its ack is ready.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerStats {
    /// Records that are durable.
    pub acked_records: u64,
    /// Bytes of these records.
    pub acked_bytes: u64,
    /// Blocks in which these records were sent.
    pub acked_blocks: u64,
    /// Records that failed.
    pub failed_records: u64,
    /// Records that were appended and are neither durable nor have failed.
    pub in_flight_records: u64,
    /// Bytes of these records.
    pub in_flight_bytes: u64,
    /// The part of [`in_flight_bytes`](Self::in_flight_bytes) that waits to be sent.
    pub buffered_bytes: u64,
    /// Blocks that were sent again after a connection broke.
    pub resent_blocks: u64,
    /// Whether a connection is open. A connection without a sign of life is open until
    /// the [silence timeout](crate::client::Builder::silence_timeout).
    pub is_connected: bool,
    /// Connections after the first.
    pub reconnects: u64,
    /// How long ago the last ack was received; `None` before the first.
    pub since_last_ack: Option<Duration>,
    /// How long ago anything was received. A server sends a sign of life at least once
    /// in half the silence timeout.
    pub since_last_heard: Option<Duration>,
}

/// The numbers of settled records.
#[derive(Debug, Default)]
pub(super) struct SettledCounts {
    acked_records: u64,
    acked_bytes: u64,
    acked_blocks: u64,
    failed_records: u64,
    last_ack: Option<Instant>,
}

impl SettledCounts {
    pub(super) fn count(&mut self, block: &SettledBlock) {
        match &block.result {
            Ok(_) => {
                self.acked_records += u64::from(block.count);
                self.acked_bytes += block.raw_bytes as u64;
                self.acked_blocks += 1;
            }
            Err(_) => self.failed_records += u64::from(block.count),
        }
    }

    pub(super) fn acked(&mut self, now: Instant) {
        self.last_ack = Some(now);
    }
}

impl ProducerShared {
    /// See [`Producer::stats`](super::Producer::stats).
    pub(crate) fn stats(&self) -> ProducerStats {
        // A forked child would see the parent's records as its own.
        if self.process.check().is_err() {
            return ProducerStats::default();
        }
        let state = self.lock();
        let counts = &state.counts;
        let settled = counts.acked_records + counts.failed_records;
        let appended = state.pending.appended_records();
        let (in_flight, unacked) = (state.pending.in_flight_bytes(), state.pending.unacked_bytes());
        ProducerStats {
            acked_records: counts.acked_records,
            acked_bytes: counts.acked_bytes,
            acked_blocks: counts.acked_blocks,
            failed_records: counts.failed_records,
            in_flight_records: appended.saturating_sub(settled),
            in_flight_bytes: in_flight as u64,
            buffered_bytes: in_flight.saturating_sub(unacked) as u64,
            resent_blocks: self.activity.resent_blocks(),
            is_connected: self.activity.is_connected(),
            reconnects: self.activity.reconnects(),
            since_last_ack: counts.last_ack.map(|at| at.elapsed()),
            since_last_heard: self.activity.silence(),
        }
    }
}
