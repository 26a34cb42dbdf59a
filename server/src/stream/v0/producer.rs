//! A producer's side of a styx/0 connection: records into a log, acks back.
//!
//! ```text
//! socket ─▶ decoder ─▶ block being filled (≤ 1 MiB) ─▶ pipeline ─▶ durable
//!    ▲ while there is room and memory                                │
//! socket ◀─ ack: the position after, the count of them all ◀─────────┘
//! ```
//!
//! A block goes on its way when it is full or the socket is empty. However the
//! stream ends, the whole records before that are appended, and acked if anyone
//! is there to be told. Invariant: an ack counts a prefix of the stream's records.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use styx_protocol::Position;
use styx_protocol::record::Builder;
use styx_protocol::styx0::{self, Message};

use super::super::intake::{Intake, IntakeState};
use super::connection::{IDLE_AFTER, READ_BYTES_MIN, Styx0Connection, Styx0End, Styx0Event};
use crate::app::App;
use crate::session::ProducerMemory;
use crate::session::{Append, AppendProgress, Error, OpenLog, Pipeline};

/// Records of one connection that are on their way to the disk.
const IN_FLIGHT_BYTES_MAX: usize = 4 << 20;
const IN_FLIGHT_APPENDS_MAX: usize = 1024;
/// From here on a record is large.
const LARGE_BYTES: usize = 64 << 10;
/// As often it is in memory: in a buffer that doubles, and in a block.
const LARGE_COPIES: usize = 3;
/// Up to here memory is reserved because a record says that it is so large.
const CLAIMED_BYTES_MAX: usize = 4 << 20;

/// What the next read takes.
struct NextRead {
    /// To be reserved in all.
    bytes: usize,
    /// Bytes that are there already.
    held_bytes: usize,
    read_bytes: usize,
    /// Of one large record.
    is_large: bool,
}

/// See the module.
pub(super) struct Styx0Producer {
    connection: Styx0Connection,
    memory: ProducerMemory,
    filling: Builder,
    pipeline: Pipeline,
    /// The position after the last durable record, and how many there are.
    durable: (Position, u64),
    ack_is_due: bool,
    /// No more is read, and how it will end.
    ending: Option<Styx0End>,
    /// An append has failed, so that nothing after it can be acked.
    has_append_failed: bool,
}

impl Styx0Producer {
    pub(super) fn new(connection: Styx0Connection, app: &Arc<App>, log: &OpenLog) -> Styx0Producer {
        Styx0Producer {
            connection,
            memory: ProducerMemory::new(app.sessions.request_budget().reservation()),
            filling: Builder::new(),
            pipeline: log.pipeline(IN_FLIGHT_BYTES_MAX, IN_FLIGHT_APPENDS_MAX),
            durable: (Position::ORIGIN, 0),
            ack_is_due: false,
            ending: None,
            has_append_failed: false,
        }
    }

    /// Appends what comes until the stream ends; `gone` resolves when there is no
    /// log any more.
    pub(super) async fn serve(mut self, gone: impl Future<Output = Error>) {
        let mut gone = pin!(gone);
        let mut was_reading = true;
        loop {
            self.decode();
            self.submit_block();
            self.send_ack();
            let is_idle = self.pipeline.is_idle() && self.filling.is_empty();
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
            if state.is_contended && is_idle {
                self.release_memory();
            }
            let next = self.next_read();
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
            let asked = Instant::now();
            tokio::select! {
                event = self.connection.event(read_bytes), if self.ending != Some(Styx0End::Disconnected) => {
                    self.handle_event(event);
                }
                progress = self.pipeline.progress(), if !is_idle => self.note_progress(progress),
                error = &mut gone, if self.ending.is_none() => self.fail(&error),
                reserved = self.memory.reserve(next.bytes), if must_wait_for_memory => {
                    if let Err(error) = reserved {
                        self.fail(&error);
                    }
                }
                () = tokio::time::sleep(window_left), if is_waited_for => {}
                () = tokio::time::sleep(IDLE_AFTER), if has_spare_memory => self.release_memory(),
            }
            if is_waited_for {
                self.record_rate(next.held_bytes, asked.elapsed());
            }
        }
    }

    /// Lets everything else go: a peer may take its time to close.
    fn into_connection(self) -> Styx0Connection {
        self.connection
    }

    /// What is to be read, and the memory that it takes.
    fn next_read(&mut self) -> NextRead {
        let (held_bytes, capacity) = self.connection.held_bytes();
        let coming = match self.connection.decoder.is_mid_message() {
            true => self.connection.decoder.missing(),
            false => 0,
        };
        let others = self.pipeline.bytes() + self.filling.len_bytes();
        if coming <= LARGE_BYTES {
            let read_bytes = self.connection.read_bytes();
            // An idle connection needs no reservation for the little it begins with.
            let is_unused = others + held_bytes == 0 && read_bytes == READ_BYTES_MIN;
            let bytes = if is_unused { 0 } else { others + capacity + read_bytes };
            return NextRead { bytes, held_bytes, read_bytes, is_large: false };
        }
        // Of a large record nothing is read before there is memory for all of it, so
        // that those who wait hold little. What it claims is believed step by step.
        self.connection.reset_read_bytes();
        let step = (held_bytes * 2).max(CLAIMED_BYTES_MAX);
        let bytes = others + (held_bytes + coming).min(step) * LARGE_COPIES;
        NextRead { bytes, held_bytes, read_bytes: coming, is_large: true }
    }

    /// Gives up a large record that comes too slowly to keep memory that others
    /// wait for.
    fn record_rate(&mut self, before: usize, waited: Duration) {
        let (now, _) = self.connection.held_bytes();
        let came = now.saturating_sub(before) as u64;
        if let Err(error) = self.memory.record_rate(came, waited) {
            self.fail(&error);
        }
    }

    fn release_memory(&mut self) {
        self.connection.release_memory();
        self.filling = Builder::new();
        if self.connection.held_bytes().0 == 0 {
            self.memory.shrink_to(0);
        }
    }

    /// Takes messages apart while there is somewhere to put their records.
    fn decode(&mut self) {
        while self.ending.is_none() && self.pipeline.has_capacity() {
            match self.connection.decoder.next() {
                Ok(Some(Message::Record(payload))) => {
                    if !self.filling.push(payload) {
                        let full = self.filling.take();
                        // An empty builder takes any record.
                        let _ = self.filling.push(payload);
                        if let Err(error) = self.pipeline.submit(Append::from(full)) {
                            self.fail(&error);
                        }
                    }
                }
                Ok(Some(Message::Heartbeat)) => {}
                Ok(Some(Message::Error(code))) => {
                    tracing::debug!(code, "a styx/0 producer has failed");
                    self.ending = Some(Styx0End::Finished);
                }
                Ok(Some(Message::Ack { .. })) => {
                    tracing::debug!("a styx/0 producer sent an ack");
                    self.ending = Some(Styx0End::Failed);
                }
                Ok(None) => {
                    if self.connection.has_finished {
                        let is_cut = self.connection.decoder.is_mid_message();
                        self.ending =
                            Some(if is_cut { Styx0End::Failed } else { Styx0End::Finished });
                    }
                    return;
                }
                Err(error) => {
                    tracing::debug!("a styx/0 producer sent no messages: {error}");
                    self.ending = Some(Styx0End::Failed);
                }
            }
        }
    }

    /// Appends what there is.
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
            // What follows may be appended all the same, but never acked.
            self.has_append_failed = true;
            self.fail(&error);
            self.send_ack();
        }
    }

    /// Takes no more; what is on its way goes on.
    fn fail(&mut self, error: &Error) {
        let _ = self.filling.take();
        if error.is_server_fault() {
            tracing::error!("a styx/0 producer cannot go on: {error}");
        } else {
            tracing::debug!("a styx/0 producer cannot go on: {error}");
        }
        self.end(Styx0End::Failed);
    }

    fn end(&mut self, end: Styx0End) {
        if self.ending != Some(Styx0End::Disconnected) {
            self.ending = Some(end);
        }
    }

    /// One ack a durable step; while the last one has not left, one for several.
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
                tracing::debug!("a styx/0 producer was silent for too long");
                Styx0End::Failed
            }
            Styx0Event::Stopping => Styx0End::Failed,
            Styx0Event::Disconnected => Styx0End::Disconnected,
        };
        // How it ends was decided already, unless there is nobody left to be told.
        if self.ending.is_none() || end == Styx0End::Disconnected {
            self.end(end);
        }
    }
}
