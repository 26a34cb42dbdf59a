//! A producer's connection: one message is one record.
//!
//! ```text
//! socket ─▶ messages ─▶ block (what is there, at most 1 MiB) ─▶ Pipeline ─▶ durable
//! socket ◀─ {"position":P,"count":C}, if asked for ◀────────────────────────┘
//! ```
//!
//! Messages that are there already go into one append: the block is handed over
//! when it is full or the socket has nothing more. While the pipeline has no room
//! the socket is not read. What is held in memory, from the first byte of a message
//! until it is durable, is reserved in the budget of all connections.
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
use crate::session::{
    AppendProgress, Error, OpenLog, Pipeline, Reservation, Sending, SlowSender,
    UNLIMITED_WAIT_BYTES_MAX,
};

/// Bytes and appends of one connection that are on their way at a time.
const PIPELINE_BYTES_MAX: usize = 4 << 20;
const PIPELINE_APPENDS_MAX: usize = 32;
/// A read grows from this while it is filled, and is this again after a pause.
pub(super) const READ_BYTES_MIN: usize = 4 << 10;
const READ_GROWTH: usize = 4;
/// After a read of this size others on the same thread have their turn.
const LONG_BYTES: usize = 16 << 10;

/// Whether the peer hears of what is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acks {
    Enabled,
    Disabled,
}

/// What a producer's connection goes on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NextStep {
    /// There may be more at once; so much came that others are to have their turn.
    ReadMore { is_long: bool },
    /// More, once it comes.
    WaitForBytes,
    /// Room in the pipeline.
    WaitForCapacity,
    /// Memory.
    WaitForMemory,
}

/// Durable, and not told yet.
#[derive(Debug, Clone, Copy)]
struct Durable {
    position: Position,
    count: u64,
}

/// A producer.
#[derive(Debug)]
pub(super) struct WebSocketProducer {
    app: Arc<App>,
    log: OpenLog,
    acks: Acks,
    read_bytes: usize,
    read_bytes_max: usize,
    block: Builder,
    /// For the block, and the message that is still coming.
    reservation: Reservation,
    /// Of the message that is still coming.
    sender: SlowSender,
    pipeline: Pipeline,
    /// For each append in the pipeline.
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
            sender: SlowSender::new(),
            pipeline: log.pipeline(PIPELINE_BYTES_MAX, PIPELINE_APPENDS_MAX),
            in_flight: VecDeque::new(),
            durable: None,
            has_failed: false,
            log,
        }
    }

    /// Appends messages until something ends the connection, and then those that
    /// came before that.
    pub(super) async fn serve(mut self, mut connection: WebSocketConnection) {
        let Err(mut cause) = self.run(&mut connection).await;
        if let Err(error) = self.finish(&mut connection).await {
            cause = error.into();
        }
        cause.log();
        // Its memory is others' while the peer takes its time.
        let app = self.app.clone();
        drop(self);
        connection.close(&cause, &app.shutdown).await;
    }

    async fn run(
        &mut self,
        connection: &mut WebSocketConnection,
    ) -> Result<Infallible, CloseCause> {
        let app = self.app.clone();
        let mut stopping = pin!(app.shutdown.begun());
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
            let asked =
                (next == NextStep::WaitForBytes && connection.held_bytes() > 0).then(Instant::now);
            tokio::select! {
                biased;
                progress = self.pipeline.progress() => self.note_progress(progress)?,
                () = &mut stopping => return Err(CloseCause::stopping()),
                error = &mut gone => return Err(error.into()),
                () = tokio::task::coop::consume_budget(), if has_rest => {}
                ready = connection.ready(listen), if !has_rest => ready?,
                reserved = self.reservation.grow_to(bytes), if next == NextStep::WaitForMemory => {
                    self.check_reserved(reserved, connection)?;
                }
                () = tokio::time::sleep(self.sender.window_left()), if asked.is_some() => {}
            }
            if let Some(asked) = asked {
                self.record_rate(0, asked.elapsed())?;
            }
        }
    }

    /// Puts what was received into blocks, and receives more.
    fn receive_and_append(
        &mut self,
        connection: &mut WebSocketConnection,
    ) -> Result<NextStep, CloseCause> {
        if self.append_whole_messages(connection)? {
            self.receive(connection)
        } else {
            Ok(NextStep::WaitForCapacity)
        }
    }

    /// Puts what was received into blocks while there is room for them; says whether
    /// that was all of it.
    fn append_whole_messages(
        &mut self,
        connection: &mut WebSocketConnection,
    ) -> Result<bool, CloseCause> {
        while self.pipeline.has_capacity() {
            let Some(message) = connection.next()? else { return Ok(true) };
            if !self.block.push(&message) {
                self.submit_block()?;
                // An empty block takes any message.
                let _ = self.block.push(&message);
            }
        }
        Ok(false)
    }

    fn receive(&mut self, connection: &mut WebSocketConnection) -> Result<NextStep, CloseCause> {
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
                if connection.held_bytes() == 0 {
                    self.reservation = self.app.sessions.request_budget().reservation();
                    self.sender = SlowSender::new();
                }
                Ok(NextStep::WaitForBytes)
            }
        }
    }

    /// What is held and is to be read.
    fn bytes_needed(&self, connection: &WebSocketConnection) -> usize {
        self.block.len_bytes() + connection.held_bytes() + self.read_bytes
    }

    /// Who holds much cannot wait for more without end: others wait for that.
    fn check_reserved(
        &self,
        reserved: Result<(), Error>,
        connection: &WebSocketConnection,
    ) -> Result<(), Error> {
        let held = self.block.len_bytes() + connection.held_bytes();
        if held > UNLIMITED_WAIT_BYTES_MAX { reserved } else { Ok(()) }
    }

    /// Takes note of what came and how long it was waited for, and gives up a
    /// message that comes too slowly to keep the memory that it needs.
    fn record_rate(&mut self, bytes: u64, waited: Duration) -> Result<(), Error> {
        self.sender.record(bytes, waited);
        self.sender.check(&self.reservation, Sending::Message)
    }

    /// Begins to append the block, if there is something in it.
    fn submit_block(&mut self) -> Result<(), Error> {
        if self.block.is_empty() {
            return Ok(());
        }
        let records = std::mem::take(&mut self.block).take();
        let unused = self.app.sessions.request_budget().reservation();
        self.in_flight.push_back(std::mem::replace(&mut self.reservation, unused));
        self.pipeline.submit(records.into()).inspect_err(|_| self.has_failed = true)
    }

    /// Takes note of what has become of appends.
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

    /// Tells the peer what is durable, unless it has yet to take what it was told
    /// before: then that becomes one with what follows.
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

    /// Appends what is left of what was received, and waits until all of it is
    /// durable.
    ///
    /// # Errors
    /// An append failed now.
    async fn finish(&mut self, connection: &mut WebSocketConnection) -> Result<(), Error> {
        while !self.has_failed {
            let is_all = match self.append_whole_messages(connection) {
                Ok(is_all) => is_all,
                Err(CloseCause::Fault(error)) => return Err(error),
                // Why it is over was settled before.
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
