//! [`Styx0Producer`]: appends the records of a styx/0 client, and acks them.
//!
//! ```text
//! socket ─▶ decoder ─▶ block being filled (≤ 1 MiB) ─▶ pipeline ─▶ durable
//!    ▲ while there is capacity and memory                            │
//! socket ◀─ ack: the position after them, the total count ◀──────────┘
//! ```
//!
//! A block is submitted when it is full or when the socket is empty. A large record is
//! kept in pieces while it arrives, and is an append of its own. However the
//! stream ends, the whole records before that are appended, and acked if the peer
//! is still connected. Invariant: an ack counts a prefix of the stream's records.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use styx_protocol::Position;
use styx_protocol::record::Builder;
use styx_protocol::styx0::{self, Message};

use super::super::intake::{Grant, Intake, IntakeState};
use super::connection::{IDLE_AFTER, READ_BYTES_MIN, Styx0Connection, Styx0End, Styx0Event};
use crate::app::App;
use crate::session::{
    Append, AppendProgress, Error, OpenLog, PayloadBuilder, Pipeline, ProducerMemory,
};

/// Bytes and appends of one connection that are in flight at a time.
const IN_FLIGHT_BYTES_MAX: usize = 4 << 20;
const IN_FLIGHT_APPENDS_MAX: usize = 1024;
/// A record with more missing bytes than this is large.
const LARGE_BYTES: usize = 64 << 10;
/// Bytes of a large record that are read at a time.
const LARGE_READ_BYTES: usize = 256 << 10;
/// The most memory that is reserved because of the length that a record claims.
const CLAIMED_BYTES_MAX: usize = 4 << 20;

/// What the next read needs.
struct NextRead {
    /// Memory to reserve in all.
    bytes: usize,
    /// Bytes that have arrived already.
    held_bytes: usize,
    read_bytes: usize,
    /// Whether it is the rest of one large record.
    is_large: bool,
}

/// A record of which the first part has arrived.
struct LargeRecord {
    payload: PayloadBuilder,
    missing_bytes: usize,
}

/// See the module.
pub(super) struct Styx0Producer {
    connection: Styx0Connection,
    memory: ProducerMemory,
    filling: Builder,
    /// The large record that is arriving. It follows those in `filling`.
    large: Option<LargeRecord>,
    pipeline: Pipeline,
    /// The position after the last durable record, and the count of durable records.
    durable: (Position, u64),
    ack_is_due: bool,
    /// Set when nothing more is read: how the stream will end.
    ending: Option<Styx0End>,
    /// An append has failed, so nothing after it can be acked.
    has_append_failed: bool,
}

impl LargeRecord {
    /// The size of the whole payload.
    fn bytes(&self) -> usize {
        self.payload.len_bytes() + self.missing_bytes
    }
}

impl Styx0Producer {
    pub(super) fn new(connection: Styx0Connection, app: &Arc<App>, log: &OpenLog) -> Styx0Producer {
        Styx0Producer {
            connection,
            memory: ProducerMemory::new(app.sessions.request_budget().reservation()),
            filling: Builder::new(),
            large: None,
            pipeline: log.pipeline(IN_FLIGHT_BYTES_MAX, IN_FLIGHT_APPENDS_MAX),
            durable: (Position::ORIGIN, 0),
            ack_is_due: false,
            ending: None,
            has_append_failed: false,
        }
    }

    /// Appends what arrives until the stream ends. `gone` resolves when the log is
    /// deleted, truncated or closed.
    pub(super) async fn serve(mut self, gone: impl Future<Output = Error>) {
        let mut gone = pin!(gone);
        let mut was_reading = true;
        let mut grant = Grant::default();
        loop {
            self.decode();
            self.submit_block();
            self.send_ack();
            if self.pipeline.is_limited() && self.memory.is_contended() {
                let error = self.pipeline.limit_error();
                self.fail(&error);
            }
            if self.ending.is_some() {
                self.pipeline.stop_waiting_for_limits();
            }
            let is_idle = self.pipeline.is_idle() && self.filling.is_empty();
            let is_limited = self.pipeline.is_limited();
            if let Some(end) = self.ending
                && (is_idle || self.has_append_failed)
            {
                return self.into_connection().close(end).await;
            }
            let state = IntakeState {
                has_capacity: self.ending.is_none() && self.pipeline.has_capacity(),
                is_contended: self.memory.is_contended(),
                is_idle,
            };
            if grant.is_freed(state) {
                self.release_memory();
            }
            let next = self.next_read();
            if let Some(large) = &self.large
                && self.ending.is_none()
                && let Err(error) = self.memory.check_record(large.bytes())
            {
                self.fail(&error);
                continue;
            }
            let intake = Intake::decide(state, || self.memory.try_reserve(next.bytes));
            let read_bytes = if intake == Intake::Listen { next.read_bytes } else { 0 };
            if read_bytes > 0 && !was_reading {
                // The peer's silence did not count while nobody read.
                self.connection.heartbeat.note_received();
            }
            was_reading = read_bytes > 0;
            let must_wait_for_memory = intake == Intake::NoMemory && is_idle;
            let is_waited_for = read_bytes > 0 && next.is_large && is_idle;
            let has_spare_memory = is_idle && self.connection.has_spare_memory();
            let window_left = self.memory.window_left();
            let wait_began = Instant::now();
            tokio::select! {
                event = self.connection.event(read_bytes), if self.ending != Some(Styx0End::Disconnected) => {
                    self.handle_event(event);
                }
                progress = self.pipeline.progress(), if !is_idle || is_limited => self.note_progress(progress),
                error = &mut gone, if self.ending.is_none() => self.fail(&error),
                reserved = self.memory.reserve(next.bytes), if must_wait_for_memory => {
                    match reserved {
                        Ok(()) => grant.given(),
                        Err(error) => self.fail(&error),
                    }
                }
                () = tokio::time::sleep(window_left), if is_waited_for => {}
                () = tokio::time::sleep(IDLE_AFTER), if has_spare_memory => self.release_memory(),
            }
            if is_waited_for {
                self.record_rate(next.held_bytes, wait_began.elapsed());
            }
        }
    }

    /// Frees everything else, because the peer may take long to close.
    fn into_connection(self) -> Styx0Connection {
        self.connection
    }

    /// What to read next, and the memory that it needs.
    fn next_read(&mut self) -> NextRead {
        let (received_bytes, capacity) = self.connection.held_bytes();
        let held_bytes = self.held_bytes();
        let coming = match &self.large {
            Some(large) => large.missing_bytes,
            None if self.connection.decoder.is_mid_message() => self.connection.decoder.missing(),
            None => 0,
        };
        let others = self.pipeline.bytes() + self.filling.len_bytes();
        if self.large.is_none() && coming <= LARGE_BYTES {
            let read_bytes = self.connection.read_bytes();
            // An idle connection reads so little at first that it needs no reservation.
            let is_unused = others + held_bytes == 0 && read_bytes == READ_BYTES_MIN;
            let bytes = if is_unused { 0 } else { others + capacity + read_bytes };
            return NextRead { bytes, held_bytes, read_bytes, is_large: false };
        }
        // A large record is read only after memory for all of it is reserved, so that
        // connections that wait hold little. Its claimed length counts step by step.
        self.connection.reset_read_bytes();
        let step = (held_bytes * 2).max(CLAIMED_BYTES_MAX);
        let bytes = others + received_bytes + LARGE_READ_BYTES + (held_bytes + coming).min(step);
        let read_bytes = coming.clamp(1, LARGE_READ_BYTES);
        NextRead { bytes, held_bytes, read_bytes, is_large: true }
    }

    /// Bytes of records that have not arrived whole, or are not decoded yet.
    fn held_bytes(&mut self) -> usize {
        let large_bytes = self.large.as_ref().map_or(0, |large| large.payload.len_bytes());
        large_bytes + self.connection.held_bytes().0
    }

    /// Ends the stream if a large record arrives too slowly while others wait for
    /// memory.
    fn record_rate(&mut self, before: usize, waited: Duration) {
        let came = self.held_bytes().saturating_sub(before) as u64;
        if let Err(error) = self.memory.record_rate(came, waited) {
            self.fail(&error);
        }
    }

    fn release_memory(&mut self) {
        self.connection.release_memory();
        self.filling = Builder::new();
        if self.held_bytes() == 0 {
            self.memory.shrink_to(0);
        }
    }

    /// Decodes messages while their records can be submitted.
    fn decode(&mut self) {
        while self.ending.is_none() && self.pipeline.has_capacity() {
            if self.large.is_some() {
                if self.receive_large() {
                    continue;
                }
                if self.connection.has_finished {
                    self.ending = Some(Styx0End::Failed);
                }
                return;
            }
            match self.connection.decoder.next() {
                Ok(Some(Message::Record(payload))) => {
                    if !self.filling.push(payload) {
                        let full = self.filling.take();
                        // An empty builder accepts any record.
                        let _ = self.filling.push(payload);
                        if let Err(error) = self.pipeline.submit(Append::from(full)) {
                            self.fail(&error);
                        }
                    }
                }
                Ok(Some(Message::Heartbeat)) => {}
                Ok(Some(Message::Error(code))) => {
                    tracing::debug!(code, "a styx/0 producer reported an error");
                    self.ending = Some(Styx0End::Finished);
                }
                Ok(Some(Message::Ack { .. })) => {
                    tracing::debug!(
                        "a styx/0 producer sent an ack; only records and heartbeats are allowed"
                    );
                    self.ending = Some(Styx0End::Failed);
                }
                Ok(None) => {
                    if self.begin_large() {
                        continue;
                    }
                    if self.connection.has_finished {
                        let is_cut = self.connection.decoder.is_mid_message();
                        self.ending =
                            Some(if is_cut { Styx0End::Failed } else { Styx0End::Finished });
                    }
                    return;
                }
                Err(error) => {
                    tracing::debug!("a styx/0 producer sent a malformed message: {error}");
                    self.ending = Some(Styx0End::Failed);
                }
            }
        }
    }

    /// Begins a large record if a part of one has arrived; returns whether it did.
    fn begin_large(&mut self) -> bool {
        let missing_bytes = self.connection.decoder.missing();
        if missing_bytes <= LARGE_BYTES {
            return false;
        }
        let Some(part) = self.connection.decoder.take_partial_record() else { return false };
        let mut payload = PayloadBuilder::default();
        payload.push(&part);
        self.large = Some(LargeRecord { payload, missing_bytes });
        true
    }

    /// Adds the bytes that have arrived to the large record, and submits it when it is whole, after
    /// the records before it. Returns `false` if more has to arrive first.
    fn receive_large(&mut self) -> bool {
        let Some(large) = &mut self.large else { return true };
        let buffer = self.connection.decoder.buffer();
        let arrived = buffer.split_to(buffer.len().min(large.missing_bytes));
        large.payload.push(&arrived);
        large.missing_bytes -= arrived.len();
        if large.missing_bytes > 0 {
            return false;
        }
        let append = if self.filling.is_empty() {
            let payload = large.payload.take();
            self.large = None;
            Append::Pieces { payload, expected: None, producer: None }
        } else {
            Append::from(self.filling.take())
        };
        if let Err(error) = self.pipeline.submit(append) {
            self.fail(&error);
        }
        true
    }

    /// Submits the records that have arrived.
    fn submit_block(&mut self) {
        if self.filling.is_empty() || !self.pipeline.has_capacity() {
            return;
        }
        let records = self.filling.take();
        if let Err(error) = self.pipeline.submit(Append::from(records)) {
            self.fail(&error);
        }
    }

    fn note_progress(&mut self, progress: AppendProgress) {
        for appended in progress.appended {
            self.durable = (appended.end, self.durable.1 + u64::from(appended.count));
            self.ack_is_due = true;
        }
        if let Some(error) = progress.failed {
            // Later appends may succeed, but are never acked.
            self.has_append_failed = true;
            self.fail(&error);
            self.send_ack();
        }
    }

    /// Stops reading; appends in flight continue.
    fn fail(&mut self, error: &Error) {
        let _ = self.filling.take();
        self.large = None;
        if error.is_server_fault() {
            tracing::error!("a styx/0 producer's stream failed: {error}");
        } else {
            tracing::debug!("a styx/0 producer's stream ended: {error}");
        }
        self.end(Styx0End::Failed);
    }

    fn end(&mut self, end: Styx0End) {
        if self.ending != Some(Styx0End::Disconnected) {
            self.ending = Some(end);
        }
    }

    /// Sends an ack for what became durable. While the last ack is not sent yet, the
    /// next one covers several appends.
    fn send_ack(&mut self) {
        if !self.ack_is_due
            || self.connection.has_unsent()
            || self.ending == Some(Styx0End::Disconnected)
        {
            return;
        }
        self.ack_is_due = false;
        let (position, count) = self.durable;
        styx0::encode_ack(position, count, &mut self.connection.outgoing);
        if self.connection.flush() == Some(Styx0Event::Disconnected) {
            self.end(Styx0End::Disconnected);
        }
    }

    fn handle_event(&mut self, event: Styx0Event) {
        let end = match event {
            Styx0Event::Received | Styx0Event::Sent => return,
            Styx0Event::PeerSilent => {
                tracing::debug!(
                    "a styx/0 producer sent nothing for its whole timeout; closing its connection"
                );
                Styx0End::Failed
            }
            Styx0Event::MustEnd => Styx0End::Failed,
            Styx0Event::Disconnected => Styx0End::Disconnected,
        };
        // The first end counts, unless the peer is gone.
        if self.ending.is_none() || end == Styx0End::Disconnected {
            self.end(end);
        }
    }
}
