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

use super::ended::Ended;
use super::frame;
use super::line::{Line, Listen, Received};
use crate::app::App;
use crate::session::{
    Error, OpenLog, Pipeline, Progress, Reservation, Sending, SlowSender, UNLIMITED_WAIT_BYTES_MAX,
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
    Asked,
    Unasked,
}

/// What a producer's connection goes on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// There may be more at once; so much came that others are to have their turn.
    Rest { is_long: bool },
    /// More, once it comes.
    More,
    /// Room in the pipeline.
    Room,
    /// Memory.
    Memory,
}

/// Durable, and not told yet.
#[derive(Debug, Clone, Copy)]
struct Durable {
    position: Position,
    count: u64,
}

/// A producer.
#[derive(Debug)]
pub(super) struct Producer {
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
    on_their_way: VecDeque<Reservation>,
    durable: Option<Durable>,
    has_failed: bool,
}

impl Producer {
    pub(super) fn new(app: Arc<App>, log: OpenLog, acks: Acks, read_bytes_max: usize) -> Producer {
        Producer {
            reservation: app.sessions.request_budget().reservation(),
            app,
            acks,
            read_bytes: READ_BYTES_MIN,
            read_bytes_max,
            block: Builder::new(),
            sender: SlowSender::new(),
            pipeline: log.pipeline(PIPELINE_BYTES_MAX, PIPELINE_APPENDS_MAX),
            on_their_way: VecDeque::new(),
            durable: None,
            has_failed: false,
            log,
        }
    }

    /// Appends messages until something ends the connection, and then those that
    /// came before that.
    pub(super) async fn serve(mut self, mut line: Line) {
        let Err(mut ended) = self.run(&mut line).await;
        if let Err(error) = self.finish(&mut line).await {
            ended = error.into();
        }
        ended.report();
        // Its memory is others' while the peer takes its time.
        let app = self.app.clone();
        drop(self);
        line.close(&ended, &app.shutdown).await;
    }

    async fn run(&mut self, line: &mut Line) -> Result<Infallible, Ended> {
        let app = self.app.clone();
        let mut stopping = pin!(app.shutdown.begun());
        let mut gone = pin!(self.log.gone());
        let mut was_listening = true;
        loop {
            let next = self.take_in(line)?;
            if matches!(next, Next::Rest { is_long: true }) {
                tokio::task::yield_now().await;
            }
            let listen = if next == Next::More { Listen::Yes } else { Listen::No };
            if listen == Listen::Yes && !was_listening {
                line.forgive();
            }
            was_listening = matches!(next, Next::More | Next::Rest { .. });
            self.acknowledge(line);
            line.send_some();
            let has_rest = matches!(next, Next::Rest { .. });
            let bytes = self.wanted_bytes(line);
            let asked = (next == Next::More && line.held_bytes() > 0).then(Instant::now);
            tokio::select! {
                biased;
                progress = self.pipeline.progress() => self.settle(progress)?,
                () = &mut stopping => return Err(Ended::stopping()),
                error = &mut gone => return Err(error.into()),
                () = tokio::task::coop::consume_budget(), if has_rest => {}
                ready = line.ready(listen), if !has_rest => ready?,
                reserved = self.reservation.grow_to(bytes), if next == Next::Memory => {
                    self.check_reserved(reserved, line)?;
                }
                () = tokio::time::sleep(self.sender.window_left()), if asked.is_some() => {}
            }
            if let Some(asked) = asked {
                self.record_rate(0, asked.elapsed())?;
            }
        }
    }

    /// Puts what was received into blocks, and receives more.
    fn take_in(&mut self, line: &mut Line) -> Result<Next, Ended> {
        if self.take_whole(line)? { self.receive(line) } else { Ok(Next::Room) }
    }

    /// Puts what was received into blocks while there is room for them; says whether
    /// that was all of it.
    fn take_whole(&mut self, line: &mut Line) -> Result<bool, Ended> {
        while self.pipeline.has_room() {
            let Some(message) = line.next()? else { return Ok(true) };
            if !self.block.push(&message) {
                self.hand_over()?;
                // An empty block takes any message.
                let _ = self.block.push(&message);
            }
        }
        Ok(false)
    }

    fn receive(&mut self, line: &mut Line) -> Result<Next, Ended> {
        let bytes = self.wanted_bytes(line);
        match self.reservation.grow_to(bytes).now_or_never() {
            Some(reserved) => reserved?,
            None => return Ok(Next::Memory),
        }
        match line.receive(self.read_bytes)? {
            Received::Bytes(count) => {
                self.record_rate(count as u64, Duration::ZERO)?;
                if count >= self.read_bytes {
                    self.read_bytes = (self.read_bytes * READ_GROWTH).min(self.read_bytes_max);
                }
                Ok(Next::Rest { is_long: count >= LONG_BYTES })
            }
            Received::Nothing => {
                self.read_bytes = READ_BYTES_MIN;
                self.hand_over()?;
                if line.held_bytes() == 0 {
                    self.reservation = self.app.sessions.request_budget().reservation();
                    self.sender = SlowSender::new();
                }
                Ok(Next::More)
            }
        }
    }

    /// What is held and is to be read.
    fn wanted_bytes(&self, line: &Line) -> usize {
        self.block.len_bytes() + line.held_bytes() + self.read_bytes
    }

    /// Who holds much cannot wait for more without end: others wait for that.
    fn check_reserved(&self, reserved: Result<(), Error>, line: &Line) -> Result<(), Error> {
        let held = self.block.len_bytes() + line.held_bytes();
        if held > UNLIMITED_WAIT_BYTES_MAX { reserved } else { Ok(()) }
    }

    /// Takes note of what came and how long it was waited for, and gives up a
    /// message that comes too slowly to keep the memory that it needs.
    fn record_rate(&mut self, bytes: u64, waited: Duration) -> Result<(), Error> {
        self.sender.record(bytes, waited);
        self.sender.check(&self.reservation, Sending::Message)
    }

    /// Begins to append the block, if there is something in it.
    fn hand_over(&mut self) -> Result<(), Error> {
        if self.block.is_empty() {
            return Ok(());
        }
        let records = std::mem::take(&mut self.block).take();
        let unused = self.app.sessions.request_budget().reservation();
        self.on_their_way.push_back(std::mem::replace(&mut self.reservation, unused));
        self.pipeline.offer(records.into()).inspect_err(|_| self.has_failed = true)
    }

    /// Takes note of what has become of appends.
    fn settle(&mut self, progress: Progress) -> Result<(), Error> {
        for appended in &progress.appended {
            self.on_their_way.pop_front();
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
    fn acknowledge(&mut self, line: &mut Line) {
        if line.is_free() {
            self.put_ack(line);
        }
    }

    fn put_ack(&mut self, line: &mut Line) {
        if let (Some(durable), Acks::Asked) = (self.durable.take(), self.acks) {
            let Durable { position, count } = durable;
            let ack = format!("{{\"position\":{},\"count\":{count}}}", position.0);
            line.put(frame::TEXT, ack.as_bytes());
        }
    }

    /// Appends what is left of what was received, and waits until all of it is
    /// durable.
    ///
    /// # Errors
    /// An append failed now.
    async fn finish(&mut self, line: &mut Line) -> Result<(), Error> {
        while !self.has_failed {
            let is_all = match self.take_whole(line) {
                Ok(is_all) => is_all,
                Err(Ended::Fault(error)) => return Err(error),
                // Why it is over was settled before.
                Err(_) => true,
            };
            if self.pipeline.has_room() {
                self.hand_over()?;
            }
            if is_all && self.pipeline.is_settled() {
                break;
            }
            self.acknowledge(line);
            line.send_some();
            let progress = self.pipeline.progress().await;
            self.settle(progress)?;
        }
        self.put_ack(line);
        Ok(())
    }
}
