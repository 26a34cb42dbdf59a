//! [`Outgoing`]: what a producer has to send, and what it knows about its log. It
//! outlives connections: one at a time borrows it.
//!
//! ```text
//! ProducerShared ─ next_work ─▶ PendingBlock ─ seal ─▶ Window ─▶ connection
//!        ▲ settled ◀──────────────────────── acked ◀──────────────────┘
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use styx_protocol::block::{Codec, Origin};
use styx_protocol::codec::Codecs;
use styx_protocol::frame::Ack;
use styx_protocol::{LogId, Position};

use super::handshake::{KnownLog, ProducerHandshake};
use super::pending::PendingBlock;
use super::sealed::{SealedBlock, SendState, UnsealedBlock};
use super::settings::ProducerSettings;
use super::shared::ProducerShared;
use super::window::Window;
use super::work::{Intent, Work};
use crate::error::{Error, Kind};
use crate::transport::Request;

/// See the module.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) shared: Arc<ProducerShared>,
    pub(super) window: Window,
    settings: ProducerSettings,
    /// The block that is being sealed. It stays here if that panics.
    sealing: Option<UnsealedBlock>,
    known: KnownLog,
    /// Where the log must end for the first block. That block takes it.
    expected_position: Option<Position>,
    /// Why the last connection ended; reported if the deadline passes.
    last_error: Option<Error>,
    /// Blocks were acknowledged since the last [`take_progress`](Self::take_progress).
    progress: bool,
}

/// The identity and the limits of an open producer.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenedProducer {
    pub(super) log_id: LogId,
    pub(super) producer_id: Option<u64>,
    pub(super) epoch: Option<u32>,
    pub(super) block_bytes_max: usize,
    pub(super) codec: Codec,
    pub(super) close_timeout: Duration,
}

/// Why the producer's task has to stop.
#[derive(Debug)]
pub(super) enum StopReason {
    /// Nothing is left to do.
    Done,
    /// The producer was dropped.
    Abandoned,
    /// A deadline passed.
    TooLate(Error),
}

impl Outgoing {
    pub(super) fn new(shared: Arc<ProducerShared>, settings: ProducerSettings) -> Outgoing {
        Outgoing {
            shared,
            window: Window::default(),
            sealing: None,
            known: KnownLog::new(settings.identity),
            expected_position: settings.expected_position.map(Position),
            last_error: None,
            progress: false,
            settings,
        }
    }

    /// The name of the log, for log lines.
    pub(super) fn log(&self) -> &styx_protocol::LogName {
        &self.settings.log
    }

    /// The request for a connection.
    pub(super) fn request(&self, silence_timeout: Duration) -> Request {
        self.known.request(&self.settings, silence_timeout)
    }

    /// Whether records carry a producer id, so that they can be sent again.
    pub(super) fn is_idempotent(&self) -> bool {
        self.known.identity().is_some()
    }

    /// Whether the log may forget this producer once it is closed.
    pub(super) fn is_forgettable(&self) -> bool {
        self.known.identity().is_some_and(|identity| identity.generated)
    }

    /// Applies the first handshake, which says where the producer's sequence starts.
    ///
    /// # Errors
    /// See [`KnownLog::apply`].
    pub(super) fn open(&mut self, handshake: &ProducerHandshake) -> Result<(), Error> {
        self.known.apply(handshake, None)?;
        self.shared.start_at(handshake.next_sequence.unwrap_or(0));
        self.shared.set_limits(handshake.blocks_max, handshake.block_bytes_max);
        Ok(())
    }

    /// Applies the handshake of a later connection.
    ///
    /// # Errors
    /// See [`KnownLog::apply`].
    pub(super) fn reopen(&mut self, handshake: &ProducerHandshake) -> Result<(), Error> {
        let next = self.shared.next_unsent();
        let unacked = self.window.sequences().unwrap_or((next, next));
        self.known.apply(handshake, Some(unacked))?;
        self.shared.set_limits(handshake.blocks_max, handshake.block_bytes_max);
        Ok(())
    }

    /// What the caller learns when the producer is open.
    pub(super) fn opened(&self, handshake: &ProducerHandshake) -> OpenedProducer {
        let identity = self.known.identity();
        OpenedProducer {
            log_id: handshake.log_id,
            producer_id: identity.map(|identity| identity.id.get()),
            epoch: identity.and_then(|identity| identity.epoch),
            block_bytes_max: handshake.block_bytes_max,
            codec: self.codec(handshake.codecs),
            close_timeout: self.settings.close_timeout,
        }
    }

    /// Fixes a block's bytes and puts it into the window.
    pub(super) fn seal(&mut self, block: PendingBlock, granted: Codecs) {
        let identity = self.known.identity();
        let origin = Origin {
            producer_id: identity.map_or(0, |identity| identity.id.get()),
            producer_epoch: identity.and_then(|identity| identity.epoch).unwrap_or(0),
            sequence: identity.map_or(0, |_| block.first),
            expected: self.expected_position.take(),
        };
        self.sealing = Some(UnsealedBlock::of(&block));
        self.window.push(SealedBlock::seal(block, origin, self.codec(granted)));
        self.sealing = None;
    }

    fn codec(&self, granted: Codecs) -> Codec {
        let wanted = self.settings.compression;
        if granted.contains(wanted) { wanted } else { Codec::None }
    }

    /// Settles the blocks that an ack covers.
    ///
    /// # Errors
    /// See [`Window::ack`].
    pub(super) fn acked(&mut self, ack: &Ack) -> Result<(), Error> {
        let acked = self.window.ack(ack)?;
        if !acked.blocks.is_empty() {
            self.known.acked(acked.end_position);
            self.last_error = None;
            self.progress = true;
            self.shared.settle(acked.blocks);
        }
        Ok(())
    }

    /// Whether blocks were acknowledged since the last call.
    pub(super) fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.progress)
    }

    /// How long the task may run until it has to check again.
    ///
    /// # Errors
    /// The task has to stop.
    pub(super) fn check_deadlines(&self, now: Instant, work: &Work) -> Result<Instant, StopReason> {
        let oldest = self.window.oldest().or(work.oldest).unwrap_or(now);
        let deadline = oldest + self.settings.deadline;
        if now >= deadline {
            return Err(StopReason::TooLate(self.too_late("deadline", self.settings.deadline)));
        }
        match work.intent {
            Intent::Continue => Ok(deadline),
            Intent::Abandon => Err(StopReason::Abandoned),
            Intent::Close { before, limit, all_settled } if now >= before => match all_settled {
                true => Err(StopReason::Done),
                false => Err(StopReason::TooLate(self.too_late(limit.name, limit.within))),
            },
            Intent::Close { before, .. } => Ok(deadline.min(before)),
        }
    }

    fn too_late(&self, option: &str, limit: Duration) -> Error {
        let why = match &self.last_error {
            Some(error) => format!("; the last error was: {error}"),
            None => String::new(),
        };
        let text = format!("records were not acknowledged within {limit:?} ({option}){why}");
        Error::new(Kind::TimedOut, text)
    }

    /// Remembers the error for the case that the deadline passes.
    pub(super) fn set_last_error(&mut self, error: Error) {
        self.last_error = Some(error);
    }

    /// The error of [`set_last_error`](Self::set_last_error).
    pub(super) fn take_last_error(&mut self) -> Option<Error> {
        self.last_error.take()
    }

    /// For a producer without an id: fails the blocks that may have been appended,
    /// because they cannot be sent again.
    ///
    /// # Errors
    /// The producer has to end.
    pub(super) fn fail_maybe_appended(&mut self, error: &Error) -> Result<(), Error> {
        let blocks = self.window.take_maybe_appended();
        let error = error.clone().with_maybe_appended(true);
        let any = !blocks.is_empty();
        let failed = blocks.into_iter().map(|block| block.settled(Err(error.clone())));
        self.shared.settle(failed.collect());
        // The position at which the next block must be appended is now unknown.
        match any && self.settings.expected_position.is_some() {
            true => Err(error),
            false => Ok(()),
        }
    }

    /// Ends the producer: every record that is not acknowledged fails.
    pub(super) fn end(&mut self, cause: Option<Error>) {
        let error = cause.clone().unwrap_or_else(|| Error::closed("producer"));
        let unacked = self.window.drain().into_iter().map(|block| {
            let maybe_appended = match block.state {
                SendState::NotSent => false,
                SendState::SentOnThisConnection | SendState::SentEarlier => true,
            };
            block.settled(Err(error.clone().with_maybe_appended(maybe_appended)))
        });
        let never_sent = self.sealing.take().map(|block| {
            let error = error.clone().with_maybe_appended(false);
            block.settled(Err(error))
        });
        self.shared.end(cause.as_ref(), unacked.chain(never_sent).collect());
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::super::encoded::header_of;
    use super::super::settings::Options;
    use super::super::work::WorkRequest;
    use super::*;
    use crate::process::Process;

    /// The block is neither pending nor in the window at that moment.
    #[test]
    fn ack_of_a_block_whose_sealing_panics_is_settled() {
        let settings = Options::default().check("orders").expect("good options");
        let process = Process::current();
        let shared = Arc::new(ProducerShared::new(settings.limits, Duration::ZERO, true, process));
        let mut outgoing = Outgoing::new(Arc::clone(&shared), settings);
        let header = header_of(b"a").expect("small");
        let ack = shared.push(header, b"a").expect("open").expect("space");
        let request = WorkRequest { now: Instant::now(), can_send: true };
        let mut block = shared.next_work(request).block.expect("it is due");
        block.body.bytes.clear();
        let sealing = AssertUnwindSafe(|| outgoing.seal(block, Codecs::PLAIN));
        assert!(catch_unwind(sealing).is_err(), "a block without space for its header");
        outgoing.end(Some(Error::closed("test")));
        let error = ack.try_position().expect("settled").expect_err("it was not appended");
        assert!(!error.maybe_appended());
        let mut settled = Vec::new();
        shared.take_settled(&mut settled);
        assert_eq!((settled.len(), settled[0].count), (1, 1));
        let stats = shared.stats();
        assert_eq!((stats.failed_records, stats.in_flight_records), (1, 0));
    }
}
