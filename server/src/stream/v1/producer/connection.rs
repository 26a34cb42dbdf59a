//! [`Connection`]: a producer's socket after its 101.
//!
//! ```text
//! taking ─▶ settling ─▶ last words ─▶ closing
//!   └ end, half-close, fault, silence, shutdown, a newer connection
//! ```
//!
//! Invariant: blocks are offered in the order in which they came, and none after
//! one that was refused; everything offered is settled and acked before the last
//! words.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use styx_protocol::block::{Block, Header, ParseError};
use styx_protocol::frame::{self, Ack, Event, Fault};
use styx_protocol::limits::{IN_FLIGHT_BLOCKS_MAX, RECORD_HEADER_BYTES};
use styx_protocol::{Code, Codecs};
use tokio::net::TcpStream;

use super::Named;
use super::inbox::{Heard, Inbox};
use crate::app::App;
use crate::closing;
use crate::handover::Socket;
use crate::session::{Append, Error, OpenLog, Pipeline, Progress};
use crate::stream::pulse::{Due, Pulse, Timeouts, has_unread};
use crate::stream::v1::fault;
use crate::stream::v1::outbox::Outbox;

/// Bytes of blocks that are on their way at a time, unless it is one block.
const IN_FLIGHT_BYTES_MAX: usize = 16 << 20;
/// Bytes of acks that wait for a producer that does not read them: then nothing
/// more is read of it.
const OUTBOX_BYTES_MAX: usize = 64 << 10;
/// For how long memory is kept while nothing comes.
const REST_AFTER: Duration = Duration::from_secs(1);
/// Reads in a row, before others have their turn.
const READS_MAX: u32 = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct Connection {
    app: Arc<App>,
    log: OpenLog,
    timeouts: Timeouts,
    named: Option<Named>,
    codecs: Codecs,
    tcp: TcpStream,
    inbox: Inbox,
    outbox: Outbox,
    pipeline: Pipeline,
    ack: Ack,
    pulse: Pulse,
    record_bytes_max: u64,
    /// Why an offered block was refused, if one was.
    refused: Option<Fault>,
}

/// Why nothing more is taken.
#[derive(Debug)]
enum Ending {
    /// The producer said that there is no more.
    End { forget: bool },
    /// It is told why.
    Fault(Fault),
}

/// What woke the connection.
enum Woken {
    Progress(Progress),
    Ended(Error),
    Readable,
    Writable,
    Due(Due),
    Idle,
}

impl Connection {
    pub(super) fn new(
        app: Arc<App>,
        log: OpenLog,
        timeouts: Timeouts,
        named: Option<Named>,
        codecs: Codecs,
        socket: Socket,
    ) -> Connection {
        let record_bytes_max = u64::try_from(log.config().max_record_size).unwrap_or(u64::MAX);
        let reservation = app.sessions.in_flight().reservation();
        Connection {
            inbox: Inbox::new(record_bytes_max, reservation, &socket.received),
            pipeline: log.pipeline(IN_FLIGHT_BYTES_MAX, IN_FLIGHT_BLOCKS_MAX),
            app,
            log,
            timeouts,
            named,
            codecs,
            tcp: socket.tcp,
            outbox: Outbox::default(),
            ack: Ack::default(),
            pulse: Pulse::new(timeouts),
            record_bytes_max,
            refused: None,
        }
    }

    /// Serves it until it ends.
    pub(super) async fn serve(mut self) {
        if let Err(error) = self.run().await {
            tracing::debug!("a producer's connection ended: {error}");
        }
    }

    async fn run(&mut self) -> io::Result<()> {
        let ending = self.take().await?;
        self.settle().await?;
        // What was offered came before whatever ended the taking.
        match self.refused.take().map_or(ending, Ending::Fault) {
            Ending::End { forget } => {
                if let Some(named) = self.named.as_ref().filter(|_| forget) {
                    // What cannot be forgotten now will be in a week.
                    let _ = self.log.forget_producer(named.id);
                }
            }
            Ending::Fault(fault) => {
                let code = fault.code.as_str();
                tracing::debug!(code, "a producer's stream ends: {}", fault.message);
                fault.encode(self.outbox.frames());
            }
        }
        if let Some(named) = &mut self.named {
            named.claim.settle();
        }
        self.inbox.rest();
        let last_words = self.outbox.take();
        closing::close(&self.tcp, &last_words, self.timeouts.ours, &self.app.shutdown).await
    }

    /// Takes blocks until something ends that.
    async fn take(&mut self) -> io::Result<Ending> {
        let app = Arc::clone(&self.app);
        let taken_over = self.named.as_ref().map(|named| named.claim.taken_over());
        let mut ended = pin!(ended(&app, self.log.gone(), taken_over));
        let (mut was_reading, mut reads) = (true, 0);
        loop {
            if let Some(ending) = self.offer_all() {
                return Ok(ending);
            }
            self.send()?;
            let is_reading = self.pipeline.has_room() && self.outbox.len() < OUTBOX_BYTES_MAX;
            if is_reading && !std::mem::replace(&mut was_reading, is_reading) {
                self.pulse.heard();
            }
            let tcp = &self.tcp;
            let may_rest = self.inbox.holds_memory() && self.pipeline.is_settled();
            let woken = tokio::select! {
                biased;
                progress = self.pipeline.progress() => Woken::Progress(progress),
                error = &mut ended => Woken::Ended(error),
                readable = self.tcp.readable(), if is_reading => readable.map(|()| Woken::Readable)?,
                writable = self.tcp.writable(), if !self.outbox.is_empty() => {
                    writable.map(|()| Woken::Writable)?
                }
                due = self.pulse.due(|| !is_reading || has_unread(tcp)) => Woken::Due(due),
                () = tokio::time::sleep(REST_AFTER), if may_rest => Woken::Idle,
            };
            match woken {
                Woken::Progress(progress) => {
                    self.note(progress);
                    if let Some(fault) = &self.refused {
                        return Ok(Ending::Fault(fault.clone()));
                    }
                }
                Woken::Ended(error) => return Ok(Ending::Fault(fault::of(&error))),
                Woken::Readable => {
                    if let Some(ending) = self.read().await? {
                        return Ok(ending);
                    }
                    reads += 1;
                    if reads % READS_MAX == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                Woken::Writable => {}
                Woken::Due(Due::Silence) => {
                    return Ok(Ending::Fault(fault::silence(self.timeouts.ours)));
                }
                Woken::Due(Due::Heartbeat) => self.beat(),
                Woken::Idle => self.inbox.rest(),
            }
        }
    }

    /// Waits until what was offered is durable or has failed.
    async fn settle(&mut self) -> io::Result<()> {
        while !self.pipeline.is_settled() {
            self.send()?;
            tokio::select! {
                biased;
                progress = self.pipeline.progress() => self.note(progress),
                writable = self.tcp.writable(), if !self.outbox.is_empty() => writable?,
                // Nobody listens: only a heartbeat can be due.
                _ = self.pulse.due(|| true) => self.beat(),
            }
        }
        Ok(())
    }

    /// Reads once, when there is memory for it.
    async fn read(&mut self) -> io::Result<Option<Ending>> {
        let room = tokio::select! {
            biased;
            room = self.inbox.make_room() => room,
            progress = self.pipeline.progress() => {
                self.note(progress);
                return Ok(None);
            }
        };
        if let Err(error) = room {
            return Ok(Some(Ending::Fault(fault::of(&error))));
        }
        Ok(match self.inbox.read(&self.tcp)? {
            Heard::Some => {
                self.pulse.heard();
                None
            }
            Heard::Nothing => None,
            Heard::End => Some(match self.inbox.finish() {
                Ok(()) => Ending::End { forget: false },
                Err(error) => Ending::Fault(fault::malformed(&error)),
            }),
        })
    }

    /// Offers the blocks that are there, while there is room for them.
    fn offer_all(&mut self) -> Option<Ending> {
        while self.pipeline.has_room() {
            match self.inbox.next() {
                Ok(None) => return None,
                Ok(Some(Event::Block(bytes))) => {
                    if let Err(fault) = self.offer(bytes) {
                        return Some(Ending::Fault(fault));
                    }
                }
                Ok(Some(Event::End { forget })) => return Some(Ending::End { forget }),
                // Of the others a producer sends heartbeats alone.
                Ok(Some(_)) => {}
                Err(error) => return Some(Ending::Fault(fault::malformed(&error))),
            }
        }
        None
    }

    fn offer(&mut self, bytes: Bytes) -> Result<(), Fault> {
        let (block, _) = Block::parse(bytes, self.record_bytes_max).map_err(unusable)?;
        self.check_agreed(block.header())?;
        let record_bytes_max = usize::try_from(self.record_bytes_max).unwrap_or(usize::MAX);
        let payload_bytes_max = record_bytes_max.saturating_sub(RECORD_HEADER_BYTES);
        let checked = block.into_checked(payload_bytes_max).map_err(unusable)?;
        self.pipeline.offer(Append::from(checked)).map_err(|error| fault::of(&error))
    }

    /// Whether a block is one that the handshake speaks of.
    fn check_agreed(&self, header: &Header) -> Result<(), Fault> {
        let (id, epoch) = self.named.as_ref().map_or((0, 0), |named| (named.id, named.epoch));
        let is_of = (header.producer_id, header.producer_epoch);
        let message = if is_of != (id, epoch) {
            format!(
                "the block names producer {} with epoch {}, the handshake {id} with {epoch}",
                is_of.0, is_of.1,
            )
        } else if id == 0 && header.sequence != 0 {
            format!("the block has sequence {}, the handshake no producer", header.sequence)
        } else if !self.codecs.contains(header.codec) {
            let codec = header.codec;
            let message = format!("the block is packed as {codec}, which the 101 does not name");
            return Err(fault::of(&Error::new(Code::MalformedRecords, message)));
        } else {
            return Ok(());
        };
        Err(fault::of(&Error::new(Code::InvalidParams, message)))
    }

    /// Acks what is durable, in one frame.
    fn note(&mut self, progress: Progress) {
        for appended in &progress.appended {
            // Of a block either all is new or all was there.
            self.ack.add(appended.base, appended.count + appended.repeated);
        }
        self.ack.encode(self.outbox.frames());
        if let Some(error) = progress.failed {
            self.refused.get_or_insert_with(|| fault::of(&error));
        }
    }

    fn beat(&mut self) {
        frame::encode_heartbeat(None, self.outbox.frames());
        // Bytes that a peer does not take are no reason to make more of them.
        self.pulse.said();
    }

    fn send(&mut self) -> io::Result<()> {
        if self.outbox.send(&self.tcp)? {
            self.pulse.said();
        }
        Ok(())
    }
}

/// Resolves when the connection has to end for a reason of ours.
async fn ended(
    app: &App,
    gone: impl Future<Output = Error>,
    taken_over: Option<impl Future<Output = ()>>,
) -> Error {
    let taken_over = async {
        match taken_over {
            Some(taken_over) => taken_over.await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = taken_over => crate::session::taken_over(),
        () = app.shutdown.begun() => fault::shutting_down(),
        error = gone => error,
    }
}

fn unusable(error: ParseError) -> Fault {
    fault::of(&Error::new(error.code(), error.to_string()))
}
