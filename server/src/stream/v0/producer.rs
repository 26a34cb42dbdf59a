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

use futures_util::FutureExt;
use styx_protocol::Position;
use styx_protocol::record::Builder;
use styx_protocol::styx0::{self, Message};

use super::peer::{End, Event, IDLE_AFTER, Peer};
use crate::app::App;
use crate::session::{Append, Error, OpenLog, Pipeline, Progress, Reservation};

/// Records of one connection that are on their way to the disk.
const IN_FLIGHT_BYTES_MAX: usize = 4 << 20;
const IN_FLIGHT_APPENDS_MAX: usize = 1024;
/// What may come before memory is reserved for it.
const AHEAD_BYTES: usize = 8 << 10;
/// Who holds more must not wait for memory without end: others wait for this.
const HELD_BYTES_WAITING_MAX: usize = 64 << 10;

/// See the module.
pub(super) struct Producer {
    app: Arc<App>,
    peer: Peer,
    /// Of the server's memory for what comes in.
    reservation: Reservation,
    filling: Builder,
    pipeline: Pipeline,
    /// The position after the last durable record, and how many there are.
    durable: (Position, u64),
    ack_is_due: bool,
    /// No more is read, and how it will end.
    ending: Option<End>,
    /// An append has failed, so that nothing after it can be acked.
    is_refused: bool,
}

impl Producer {
    pub(super) fn new(peer: Peer, app: &Arc<App>, log: &OpenLog) -> Producer {
        Producer {
            app: Arc::clone(app),
            peer,
            reservation: app.sessions.in_flight().reservation(),
            filling: Builder::new(),
            pipeline: log.pipeline(IN_FLIGHT_BYTES_MAX, IN_FLIGHT_APPENDS_MAX),
            durable: (Position::ORIGIN, 0),
            ack_is_due: false,
            ending: None,
            is_refused: false,
        }
    }

    /// Appends what comes until the stream ends; `gone` resolves when there is no
    /// log any more.
    pub(super) async fn serve(mut self, gone: impl Future<Output = Error>) {
        let mut gone = pin!(gone);
        let mut was_reading = true;
        loop {
            self.decode();
            self.hand_over();
            self.say_what_is_durable();
            let is_settled = self.pipeline.is_settled() && self.filling.is_empty();
            if let Some(end) = self.ending
                && (is_settled || self.is_refused)
            {
                return self.peer.close(end).await;
            }
            let is_wanted = self.reservation.is_wanted();
            if is_wanted && is_settled {
                self.release();
            }
            // Others get their turn once this one's records are durable.
            let yields = is_wanted && !is_settled;
            let takes_more = self.ending.is_none() && self.pipeline.has_room() && !yields;
            let wanted = self.held_bytes() + self.ahead_bytes();
            let lacks_memory = takes_more && !self.has_memory(wanted);
            let read_bytes = match takes_more && !lacks_memory {
                true => self.ahead_bytes(),
                false => 0,
            };
            if read_bytes > 0 && !was_reading {
                // Until now nobody listened.
                self.peer.pulse.heard();
            }
            was_reading = read_bytes > 0;
            let has_spare_memory = is_settled && self.peer.has_spare_memory();
            tokio::select! {
                event = self.peer.event(read_bytes), if self.ending != Some(End::Lost) => {
                    self.heed(event);
                }
                progress = self.pipeline.progress(), if !is_settled => self.count(progress),
                error = &mut gone, if self.ending.is_none() => self.fail(&error),
                grown = self.reservation.grow_to(wanted), if lacks_memory && is_settled => {
                    if let Err(error) = grown {
                        self.heed_lack_of_memory(&error);
                    }
                }
                () = tokio::time::sleep(IDLE_AFTER), if has_spare_memory => self.release(),
            }
        }
    }

    /// Bytes of memory that the connection's records take.
    fn held_bytes(&mut self) -> usize {
        self.pipeline.bytes() + self.filling.len_bytes() + self.peer.held_bytes()
    }

    /// What may come before memory is reserved for it.
    fn ahead_bytes(&self) -> usize {
        self.peer.read_bytes().max(AHEAD_BYTES)
    }

    /// Whether so much is reserved. An idle connection needs no reservation for the
    /// little that it begins with.
    fn has_memory(&mut self, wanted: usize) -> bool {
        let is_idle = wanted == AHEAD_BYTES;
        is_idle || matches!(self.reservation.grow_to(wanted).now_or_never(), Some(Ok(())))
    }

    fn heed_lack_of_memory(&mut self, error: &Error) {
        // With little of it in hand there is nobody whom waiting on could harm.
        if self.held_bytes() > HELD_BYTES_WAITING_MAX {
            self.fail(error);
        }
    }

    fn release(&mut self) {
        self.peer.release();
        self.filling = Builder::new();
        if self.peer.held_bytes() == 0 {
            self.reservation = self.app.sessions.in_flight().reservation();
        }
    }

    /// Takes messages apart while there is somewhere to put their records.
    fn decode(&mut self) {
        while self.ending.is_none() && self.pipeline.has_room() {
            match self.peer.decoder.next() {
                Ok(Some(Message::Record(payload))) => {
                    if !self.filling.push(payload) {
                        let full = self.filling.take();
                        // An empty builder takes any record.
                        let _ = self.filling.push(payload);
                        if let Err(error) = self.pipeline.offer(Append::from(full)) {
                            self.fail(&error);
                        }
                    }
                }
                Ok(Some(Message::Heartbeat)) => {}
                Ok(Some(Message::Error(code))) => {
                    tracing::debug!(code, "a styx/0 producer has failed");
                    self.ending = Some(End::Finished);
                }
                Ok(Some(Message::Ack { .. })) => {
                    tracing::debug!("a styx/0 producer sent an ack");
                    self.ending = Some(End::Failed);
                }
                Ok(None) => {
                    if self.peer.has_finished {
                        let is_cut = self.peer.decoder.is_mid_message();
                        self.ending = Some(if is_cut { End::Failed } else { End::Finished });
                    }
                    return;
                }
                Err(error) => {
                    tracing::debug!("a styx/0 producer sent no messages: {error}");
                    self.ending = Some(End::Failed);
                }
            }
        }
    }

    /// Appends what there is.
    fn hand_over(&mut self) {
        if self.filling.is_empty() || !self.pipeline.has_room() {
            return;
        }
        let records = self.filling.take();
        if let Err(error) = self.pipeline.offer(Append::from(records)) {
            self.fail(&error);
        }
    }

    fn count(&mut self, progress: Progress) {
        for appended in progress.appended {
            self.durable = (appended.end, self.durable.1 + u64::from(appended.count));
            self.ack_is_due = true;
        }
        if let Some(error) = progress.failed {
            // What follows may be appended all the same, but never acked.
            self.is_refused = true;
            self.fail(&error);
            self.say_what_is_durable();
        }
    }

    /// Takes no more; what is on its way goes on.
    fn fail(&mut self, error: &Error) {
        let _ = self.filling.take();
        if error.is_our_fault() {
            tracing::error!("a styx/0 producer cannot go on: {error}");
        } else {
            tracing::debug!("a styx/0 producer cannot go on: {error}");
        }
        self.end(End::Failed);
    }

    fn end(&mut self, end: End) {
        if self.ending != Some(End::Lost) {
            self.ending = Some(end);
        }
    }

    /// One ack a durable step; while the last one has not left, one for several.
    fn say_what_is_durable(&mut self) {
        if !self.ack_is_due || self.peer.has_unsent() || self.ending == Some(End::Lost) {
            return;
        }
        self.ack_is_due = false;
        let (position, count) = self.durable;
        styx0::encode_ack(position, count, &mut self.peer.outgoing);
        if self.peer.flush() == Some(Event::Lost) {
            self.end(End::Lost);
        }
    }

    fn heed(&mut self, event: Event) {
        let end = match event {
            Event::Received | Event::Sent => return,
            Event::Silence => {
                tracing::debug!("a styx/0 producer was silent for too long");
                End::Failed
            }
            Event::Stopping => End::Failed,
            Event::Lost => End::Lost,
        };
        // How it ends was decided already, unless there is nobody left to be told.
        if self.ending.is_none() || end == End::Lost {
            self.end(end);
        }
    }
}
