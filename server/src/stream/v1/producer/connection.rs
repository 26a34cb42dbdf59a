//! [`Connection`]: a producer's socket after its 101.
//!
//! ```text
//! taking ─▶ settling ─▶ last words ─▶ closing
//!   └ end, half-close, fault, silence, shutdown, a newer connection
//! ```
//!
//! Invariant: blocks are offered in the order in which they came, and none after
//! one that was refused; everything offered is settled and acked before the last
//! words. Whatever it waits for, memory too, it beats, and heeds what ends it.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use styx_protocol::block::{Block, Header, ParseError};
use styx_protocol::frame::{self, Ack, Fault};
use styx_protocol::limits::{IN_FLIGHT_BLOCKS_MAX, RECORD_HEADER_BYTES};
use styx_protocol::{Code, Codecs};
use tokio::time::Instant;

use super::Named;
use super::inbox::{Heard, Inbox};
use super::peer::{Event, Peer};
use crate::app::App;
use crate::handover::Socket;
use crate::peer;
use crate::peer::HeartbeatTimeouts;
use crate::session::ProducerMemory;
use crate::session::{Append, Error, OpenLog, Pipeline, Progress};
use crate::stream::v1::fault;

/// Bytes of blocks that are on their way at a time, unless it is one block.
const IN_FLIGHT_BYTES_MAX: usize = 16 << 20;
/// Reads in a row, before others have their turn.
const READS_MAX: u32 = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct Connection {
    app: Arc<App>,
    log: OpenLog,
    timeouts: HeartbeatTimeouts,
    named: Option<Named>,
    codecs: Codecs,
    peer: Peer,
    inbox: Inbox,
    pipeline: Pipeline,
    ack: Ack,
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
    Event(Event),
    Memory(Result<(), Error>),
    Tired,
    Judgement,
}

impl Connection {
    pub(super) fn new(
        app: Arc<App>,
        log: OpenLog,
        timeouts: HeartbeatTimeouts,
        named: Option<Named>,
        codecs: Codecs,
        socket: Socket,
    ) -> Connection {
        let record_bytes_max = u64::try_from(log.config().max_record_size).unwrap_or(u64::MAX);
        let memory = ProducerMemory::new(app.sessions.request_budget().reservation());
        Connection {
            inbox: Inbox::new(record_bytes_max, memory, &socket.received),
            peer: Peer::new(socket.tcp, timeouts),
            pipeline: log.pipeline(IN_FLIGHT_BYTES_MAX, IN_FLIGHT_BLOCKS_MAX),
            app,
            log,
            timeouts,
            named,
            codecs,
            ack: Ack::default(),
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
                fault.encode(self.peer.outbox.frames());
            }
        }
        if let Some(named) = &mut self.named {
            named.claim.settle();
        }
        // Its memory is others' while the peer takes its time.
        self.inbox.end();
        let last_words = self.peer.outbox.take();
        peer::close(&self.peer.tcp, &last_words, self.timeouts.ours, &self.app.shutdown).await
    }

    /// Takes blocks until something ends that.
    async fn take(&mut self) -> io::Result<Ending> {
        let app = Arc::clone(&self.app);
        let taken_over = self.named.as_ref().map(|named| named.claim.taken_over());
        let mut ended = pin!(ended(&app, self.log.gone(), taken_over));
        let (mut was_listening, mut lacks_memory, mut reads) = (true, false, 0);
        loop {
            if let Some(fault) = &self.refused {
                return Ok(Ending::Fault(fault.clone()));
            }
            if let Some(ending) = self.offer_all() {
                return Ok(ending);
            }
            self.peer.send()?;
            let is_settled = self.pipeline.is_settled();
            let is_wanted = self.inbox.memory().is_contended();
            if is_wanted && is_settled {
                self.inbox.rest();
            }
            // Others get their turn once this one's blocks are durable.
            let yields = is_wanted && !is_settled;
            let takes_more = self.pipeline.has_room() && !self.peer.leaves_acks() && !yields;
            if lacks_memory && takes_more {
                lacks_memory = !self.inbox.has_room();
            }
            let is_listening = takes_more && !lacks_memory;
            if is_listening && !was_listening {
                // Until now nobody listened.
                self.peer.heard();
            }
            was_listening = is_listening;
            // What it has begun, and what it does not take, are its to go on with.
            let is_waited_for =
                is_settled && self.inbox.is_amid() && (is_listening || self.peer.leaves_acks());
            let judged_in = self.inbox.memory().window_left();
            let rests_at = self.inbox.rests_at().filter(|_| is_settled && !lacks_memory);
            let asked = Instant::now();
            let woken = tokio::select! {
                biased;
                progress = self.pipeline.progress() => Woken::Progress(progress),
                error = &mut ended => Woken::Ended(error),
                event = self.peer.event(is_listening) => Woken::Event(event?),
                // What is on its way gives memory back when it is durable.
                reserved = self.inbox.wait_for_memory(),
                    if lacks_memory && takes_more && is_settled => Woken::Memory(reserved),
                () = tokio::time::sleep_until(rests_at.unwrap_or(asked)), if rests_at.is_some() => {
                    Woken::Tired
                }
                () = tokio::time::sleep(judged_in), if is_waited_for => Woken::Judgement,
            };
            let waited = if is_waited_for { asked.elapsed() } else { Duration::ZERO };
            let mut came = 0;
            match woken {
                Woken::Progress(progress) => self.note(progress),
                Woken::Ended(error) => return Ok(Ending::Fault(fault::of(&error))),
                Woken::Event(Event::Readable) => {
                    lacks_memory = !self.inbox.has_room();
                    if !lacks_memory {
                        match self.read()? {
                            Ok(count) => came = count,
                            Err(ending) => return Ok(ending),
                        }
                        reads += 1;
                        if reads % READS_MAX == 0 {
                            tokio::task::yield_now().await;
                        }
                    }
                }
                Woken::Event(Event::TookAcks) | Woken::Judgement => {}
                Woken::Event(Event::Silence) => {
                    return Ok(Ending::Fault(fault::silence(self.timeouts.ours)));
                }
                Woken::Memory(Err(error)) => return Ok(Ending::Fault(fault::of(&error))),
                Woken::Memory(Ok(())) => {}
                Woken::Tired => self.inbox.rest(),
            }
            if is_waited_for
                && let Err(error) = self.inbox.memory().record_rate(came as u64, waited)
            {
                return Ok(Ending::Fault(fault::of(&error)));
            }
        }
    }

    /// Waits until what was offered is durable or has failed.
    async fn settle(&mut self) -> io::Result<()> {
        while !self.pipeline.is_settled() {
            self.peer.send()?;
            tokio::select! {
                biased;
                progress = self.pipeline.progress() => self.note(progress),
                event = self.peer.event(false) => drop(event?),
            }
        }
        Ok(())
    }

    /// Reads once, into the room that was made; says how much came.
    fn read(&mut self) -> io::Result<Result<usize, Ending>> {
        Ok(match self.inbox.read(&self.peer.tcp)? {
            Heard::Some(count) => {
                self.peer.heard();
                Ok(count)
            }
            Heard::Nothing => Ok(0),
            Heard::End => Err(match self.inbox.finish() {
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
                Ok(Some(frame::Event::Block(bytes))) => {
                    if let Err(fault) = self.offer(bytes) {
                        return Some(Ending::Fault(fault));
                    }
                }
                Ok(Some(frame::Event::End { forget })) => return Some(Ending::End { forget }),
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
        self.ack.encode(self.peer.outbox.frames());
        if let Some(error) = progress.failed {
            self.refused.get_or_insert_with(|| fault::of(&error));
        }
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
