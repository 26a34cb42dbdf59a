//! [`WebSocketProducer`]: a connection that writes; each message is one record.
//!
//! ```text
//! socket ─▶ messages ─▶ block (what has arrived, at most 1 MiB) ─▶ Pipeline ─▶ durable
//! socket ◀─ {"position":P,"count":C}, if acks are enabled ◀───────────────────────┘
//! ```
//!
//! Messages that have arrived go into one append: the block is submitted when it is
//! full or when the socket has nothing more. A large message is an append of its own, kept
//! in pieces while it arrives. While the pipeline has no capacity the socket is not read. From the first byte of a message until it is durable, its
//! memory is reserved in the request budget.
//!
//! Invariant: a message that arrived whole is appended, whatever ends the
//! connection, unless an append before it failed.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use styx_protocol::Position;
use styx_protocol::record::Builder;
use tokio::time::Instant;

use super::close_cause::CloseCause;
use super::connection::{Listen, Received, WebSocketConnection};
use super::frame;
use crate::app::App;
use crate::handover::Ending;
use crate::session::{
    Append, AppendProgress, Error, OpenLog, PAYLOAD_PIECE_BYTES, Payload, PayloadBuilder, Pipeline,
    Reservation, Sending, SlowSender, UNLIMITED_WAIT_BYTES_MAX,
};

/// Bytes and appends of one connection that are in flight at a time.
const PIPELINE_BYTES_MAX: usize = 4 << 20;
const PIPELINE_APPENDS_MAX: usize = 32;
/// The size of the first read; it grows while reads fill it, and a pause resets it.
pub(super) const READ_BYTES_MIN: usize = 4 << 10;
const READ_GROWTH: usize = 4;
/// After a read of this size the task yields to others on the same thread.
const LONG_BYTES: usize = 16 << 10;

/// Whether the peer gets acks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acks {
    Enabled,
    Disabled,
}

/// What the connection does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NextStep {
    /// Read again at once; after a long read, yield first.
    ReadMore { is_long: bool },
    /// Wait until the socket can be read.
    WaitForBytes,
    /// Wait until the pipeline takes more.
    WaitForCapacity,
    /// Wait for memory.
    WaitForMemory,
}

/// Records that are durable and not acked yet.
#[derive(Debug, Clone, Copy)]
struct Durable {
    position: Position,
    count: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct WebSocketProducer {
    app: Arc<App>,
    log: OpenLog,
    acks: Acks,
    read_bytes: usize,
    read_bytes_max: usize,
    block: Builder,
    /// The beginning of a large message that is still arriving.
    begun: PayloadBuilder,
    /// A large message that arrived whole, to be submitted after the block.
    whole: Option<Payload>,
    /// For the block, and for the message that is still arriving.
    reservation: Reservation,
    /// The rate of the message that is still arriving.
    sender: SlowSender,
    pipeline: Pipeline,
    /// The memory of each append in the pipeline.
    in_flight: VecDeque<Reservation>,
    durable: Option<Durable>,
    has_failed: bool,
}

impl WebSocketProducer {
    pub(super) fn new(
        app: Arc<App>,
        log: OpenLog,
        acks: Acks,
        read_bytes_max: usize,
    ) -> WebSocketProducer {
        WebSocketProducer {
            reservation: app.sessions.request_budget().reservation(),
            app,
            acks,
            read_bytes: READ_BYTES_MIN,
            read_bytes_max,
            block: Builder::new(),
            begun: PayloadBuilder::default(),
            whole: None,
            sender: SlowSender::new(),
            pipeline: log.pipeline(PIPELINE_BYTES_MAX, PIPELINE_APPENDS_MAX),
            in_flight: VecDeque::new(),
            durable: None,
            has_failed: false,
            log,
        }
    }

    /// Appends messages until something ends the connection, then the whole messages
    /// that arrived before that.
    pub(super) async fn serve(mut self, mut connection: WebSocketConnection, ending: Ending) {
        let Err(mut cause) = self.run(&mut connection, ending).await;
        if let Err(error) = self.finish(&mut connection).await {
            cause = error.into();
        }
        cause.log();
        // Frees the memory now, because the peer may take long to close.
        let app = self.app.clone();
        drop(self);
        connection.close(&cause, &app.shutdown).await;
    }

    async fn run(
        &mut self,
        connection: &mut WebSocketConnection,
        ending: Ending,
    ) -> Result<Infallible, CloseCause> {
        let mut ending = ending.begun();
        let mut gone = pin!(self.log.gone());
        let mut was_listening = true;
        loop {
            let next = self.receive_and_append(connection)?;
            if matches!(next, NextStep::ReadMore { is_long: true }) {
                tokio::task::yield_now().await;
            }
            let listen = if next == NextStep::WaitForBytes { Listen::Yes } else { Listen::No };
            if listen == Listen::Yes && !was_listening {
                connection.restart_ping_timer();
            }
            was_listening = matches!(next, NextStep::WaitForBytes | NextStep::ReadMore { .. });
            self.acknowledge(connection);
            connection.flush_now();
            let has_rest = matches!(next, NextStep::ReadMore { .. });
            let bytes = self.bytes_needed(connection);
            let wait_began = (next == NextStep::WaitForBytes && self.is_mid_message(connection))
                .then(Instant::now);
            tokio::select! {
                biased;
                progress = self.pipeline.progress() => self.note_progress(progress)?,
                error = &mut ending => return Err(error.into()),
                error = &mut gone => return Err(error.into()),
                () = tokio::task::coop::consume_budget(), if has_rest => {}
                ready = connection.ready(listen), if !has_rest => ready?,
                reserved = self.reservation.grow_to(bytes), if next == NextStep::WaitForMemory => {
                    self.check_reserved(reserved, connection)?;
                }
                () = tokio::time::sleep(self.sender.window_left()), if wait_began.is_some() => {}
            }
            if let Some(wait_began) = wait_began {
                self.record_rate(0, wait_began.elapsed())?;
            }
        }
    }

    /// Puts received messages into blocks, then receives more.
    fn receive_and_append(
        &mut self,
        connection: &mut WebSocketConnection,
    ) -> Result<NextStep, CloseCause> {
        if self.pipeline.is_limited() && self.reservation.is_contended() {
            return Err(self.pipeline.limit_error().into());
        }
        if self.append_whole_messages(connection)? {
            self.receive(connection)
        } else {
            Ok(NextStep::WaitForCapacity)
        }
    }

    /// Puts received messages into blocks while the pipeline has capacity; returns
    /// whether that was all of them.
    fn append_whole_messages(
        &mut self,
        connection: &mut WebSocketConnection,
    ) -> Result<bool, CloseCause> {
        while self.pipeline.has_capacity() {
            if let Some(payload) = self.whole.take() {
                let append = Append::Pieces { payload, expected: None, producer: None };
                let bytes = append.len_bytes();
                self.submit(append, bytes)?;
                continue;
            }
            let Some(message) = connection.next()? else {
                if let Some(part) = connection.take_part(PAYLOAD_PIECE_BYTES)? {
                    self.begun.push(&part);
                }
                return Ok(true);
            };
            if !self.begun.is_empty() {
                self.begun.push(&message);
                self.whole = Some(self.begun.take());
                self.submit_block()?;
                continue;
            }
            if !self.block.push(&message) {
                self.submit_block()?;
                // An empty block accepts any message.
                let _ = self.block.push(&message);
            }
        }
        Ok(false)
    }

    fn receive(&mut self, connection: &mut WebSocketConnection) -> Result<NextStep, CloseCause> {
        self.reservation.check_record(self.begun.len_bytes() + connection.held_bytes())?;
        let bytes = self.bytes_needed(connection);
        match self.reservation.grow_to(bytes).now_or_never() {
            Some(reserved) => reserved?,
            None => return Ok(NextStep::WaitForMemory),
        }
        match connection.receive(self.read_bytes)? {
            Received::Bytes(count) => {
                self.record_rate(count as u64, Duration::ZERO)?;
                if count >= self.read_bytes {
                    self.read_bytes = (self.read_bytes * READ_GROWTH).min(self.read_bytes_max);
                }
                Ok(NextStep::ReadMore { is_long: count >= LONG_BYTES })
            }
            Received::Nothing => {
                self.read_bytes = READ_BYTES_MIN;
                self.submit_block()?;
                if !self.is_mid_message(connection) {
                    self.reservation = self.app.sessions.request_budget().reservation();
                    self.sender = SlowSender::new();
                }
                Ok(NextStep::WaitForBytes)
            }
        }
    }

    /// Whether a part of a message has arrived, but not all of it.
    fn is_mid_message(&self, connection: &WebSocketConnection) -> bool {
        connection.held_bytes() > 0 || !self.begun.is_empty()
    }

    /// The memory for what is held.
    fn held_bytes(&self, connection: &WebSocketConnection) -> usize {
        self.block.len_bytes() + self.begun.len_bytes() + connection.held_bytes()
    }

    /// The memory for what is held and for the next read.
    fn bytes_needed(&self, connection: &WebSocketConnection) -> usize {
        self.held_bytes(connection) + self.read_bytes
    }

    /// A connection that holds much may not wait for more without limit, because
    /// others may wait for what it holds.
    fn check_reserved(
        &self,
        reserved: Result<(), Error>,
        connection: &WebSocketConnection,
    ) -> Result<(), Error> {
        let held = self.held_bytes(connection);
        if held > UNLIMITED_WAIT_BYTES_MAX { reserved } else { Ok(()) }
    }

    /// Records how many bytes arrived and how long the server waited for them.
    ///
    /// # Errors
    /// `overloaded` if the message arrives too slowly while others wait for memory.
    fn record_rate(&mut self, bytes: u64, waited: Duration) -> Result<(), Error> {
        self.sender.record(bytes, waited);
        self.sender.check(&self.reservation, Sending::Message)
    }

    /// Submits the block if it is not empty.
    fn submit_block(&mut self) -> Result<(), Error> {
        if self.block.is_empty() {
            return Ok(());
        }
        let records = std::mem::take(&mut self.block).take();
        // A large message keeps its memory.
        let is_all = self.begun.is_empty() && self.whole.is_none();
        let bytes = if is_all { usize::MAX } else { records.bytes().len() };
        self.submit(records.into(), bytes)
    }

    /// Submits an append, with up to `bytes` of the memory that is reserved.
    fn submit(&mut self, append: Append, bytes: usize) -> Result<(), Error> {
        self.in_flight.push_back(self.reservation.split_off(bytes));
        self.pipeline.submit(append).inspect_err(|_| self.has_failed = true)
    }

    /// Handles finished appends.
    ///
    /// # Errors
    /// One of them failed.
    fn note_progress(&mut self, progress: AppendProgress) -> Result<(), Error> {
        for appended in &progress.appended {
            self.in_flight.pop_front();
            let before = self.durable.map_or(0, |durable| durable.count);
            let count = before + u64::from(appended.count);
            self.durable = Some(Durable { position: appended.end, count });
        }
        match progress.failed {
            Some(error) => {
                self.has_failed = true;
                Err(error)
            }
            None => Ok(()),
        }
    }

    /// Acks what is durable. If the last ack is not sent yet, this one is merged with
    /// the next.
    fn acknowledge(&mut self, connection: &mut WebSocketConnection) {
        if connection.has_sent_all() {
            self.put_ack(connection);
        }
    }

    fn put_ack(&mut self, connection: &mut WebSocketConnection) {
        if let (Some(durable), Acks::Enabled) = (self.durable.take(), self.acks) {
            let Durable { position, count } = durable;
            let ack = format!("{{\"position\":{},\"count\":{count}}}", position.0);
            connection.queue(frame::TEXT, ack.as_bytes());
        }
    }

    /// Appends the whole messages that are left, and waits until all are durable.
    ///
    /// # Errors
    /// An append failed.
    async fn finish(&mut self, connection: &mut WebSocketConnection) -> Result<(), Error> {
        self.pipeline.stop_waiting_for_limits();
        while !self.has_failed {
            let is_all = match self.append_whole_messages(connection) {
                Ok(is_all) => is_all,
                Err(CloseCause::Fault(error)) => return Err(error),
                // The cause of the end is known already.
                Err(_) => true,
            };
            if self.pipeline.has_capacity() {
                self.submit_block()?;
            }
            if is_all && self.pipeline.is_idle() {
                break;
            }
            self.acknowledge(connection);
            connection.flush_now();
            let progress = self.pipeline.progress().await;
            self.note_progress(progress)?;
        }
        self.put_ack(connection);
        Ok(())
    }
}
