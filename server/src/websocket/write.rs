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

use styx_protocol::record::Builder;
use styx_protocol::{Code, Position};

use super::ended::Ended;
use super::frame;
use super::line::{Line, Listen, Received};
use super::pace::Pace;
use crate::app::App;
use crate::session::{Error, OpenLog, Pipeline, Progress, Reservation};

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
    pace: Pace,
    pipeline: Pipeline,
    /// For each append in the pipeline.
    on_their_way: VecDeque<Reservation>,
    durable: Option<Durable>,
    has_failed: bool,
}

impl Producer {
    pub(super) fn new(app: Arc<App>, log: OpenLog, acks: Acks, read_bytes_max: usize) -> Producer {
        Producer {
            reservation: app.sessions.in_flight().reservation(),
            app,
            acks,
            read_bytes: READ_BYTES_MIN,
            read_bytes_max,
            block: Builder::new(),
            pace: Pace::new(),
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
        loop {
            let listen = if self.pipeline.has_room() { Listen::Yes } else { Listen::No };
            let mut has_more = false;
            if listen == Listen::Yes {
                match self.take_in(line).await? {
                    Received::Bytes(count) => {
                        has_more = true;
                        if count >= LONG_BYTES {
                            tokio::task::yield_now().await;
                        }
                    }
                    Received::Nothing => self.pause(line)?,
                }
            }
            self.acknowledge(line);
            line.send_some();
            let is_coming = line.held_bytes() > 0 && !has_more;
            tokio::select! {
                biased;
                progress = self.pipeline.progress() => {
                    self.settle(progress)?;
                    if listen == Listen::No && self.pipeline.has_room() {
                        line.forgive();
                    }
                }
                () = &mut stopping => return Err(Ended::stopping()),
                error = &mut gone => return Err(error.into()),
                () = tokio::task::coop::consume_budget(), if has_more => {}
                ready = line.ready(listen), if !has_more => ready?,
                () = tokio::time::sleep_until(self.pace.look_again_at()), if is_coming => {
                    self.check_pace()?;
                }
            }
        }
    }

    /// There is nothing more for now: what is there is appended.
    fn pause(&mut self, line: &Line) -> Result<(), Error> {
        self.hand_over()?;
        if line.held_bytes() == 0 {
            self.reservation = self.app.sessions.in_flight().reservation();
        }
        Ok(())
    }

    /// Puts what was received into blocks, and receives more.
    async fn take_in(&mut self, line: &mut Line) -> Result<Received, Ended> {
        while let Some(message) = line.next()? {
            if !self.block.push(&message) {
                self.hand_over()?;
                // An empty block takes any message.
                let _ = self.block.push(&message);
                if !self.pipeline.has_room() {
                    return Ok(Received::Bytes(0));
                }
            }
        }
        if line.held_bytes() > 0 {
            self.check_pace()?;
        }
        self.reserve(line).await?;
        let received = line.receive(self.read_bytes)?;
        match received {
            Received::Bytes(count) => {
                self.pace.note(count);
                if count >= self.read_bytes {
                    self.read_bytes = (self.read_bytes * READ_GROWTH).min(self.read_bytes_max);
                }
            }
            Received::Nothing => self.read_bytes = READ_BYTES_MIN,
        }
        Ok(received)
    }

    /// Makes room in the budget for what is held and is to be read.
    async fn reserve(&mut self, line: &mut Line) -> Result<(), Ended> {
        let bytes = self.block.len_bytes() + line.held_bytes() + self.read_bytes;
        loop {
            tokio::select! {
                biased;
                reserved = self.reservation.grow_to(bytes) => return Ok(reserved?),
                // Durable appends give back what they hold.
                progress = self.pipeline.progress() => self.settle(progress)?,
            }
        }
    }

    /// Gives up a message that comes too slowly to keep the memory that it needs.
    fn check_pace(&mut self) -> Result<(), Error> {
        if self.pace.is_slow() && self.reservation.is_wanted() {
            let message = "the server is short of memory, and a message comes too slowly to keep \
                           some: send it again, faster";
            return Err(Error::new(Code::Overloaded, message));
        }
        Ok(())
    }

    /// Begins to append the block, if there is something in it.
    fn hand_over(&mut self) -> Result<(), Error> {
        if self.block.is_empty() {
            return Ok(());
        }
        let records = std::mem::take(&mut self.block).take();
        let unused = self.app.sessions.in_flight().reservation();
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

    /// Appends what is left and waits until all of it is durable.
    ///
    /// # Errors
    /// An append failed now.
    async fn finish(&mut self, line: &mut Line) -> Result<(), Error> {
        while !self.has_failed {
            if self.pipeline.has_room() {
                self.hand_over()?;
            }
            if self.pipeline.is_settled() {
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
