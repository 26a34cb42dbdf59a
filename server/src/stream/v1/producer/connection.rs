//! [`ProducerConnection`]: a producer's socket after its 101.
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

use super::ProducerIdentity;
use super::receive_buffer::{ReadOutcome, ReceiveBuffer};
use super::socket::{ProducerEvent, ProducerSocket};
use crate::app::App;
use crate::handover::Socket;
use crate::peer;
use crate::peer::HeartbeatTimeouts;
use crate::session::ProducerMemory;
use crate::session::{Append, AppendProgress, Error, OpenLog, Pipeline};
use crate::stream::v1::error_frame;

/// Bytes of blocks that are on their way at a time, unless it is one block.
const IN_FLIGHT_BYTES_MAX: usize = 16 << 20;
/// Reads in a row, before others have their turn.
const READS_MAX: u32 = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct ProducerConnection {
    app: Arc<App>,
    log: OpenLog,
    timeouts: HeartbeatTimeouts,
    identity: Option<ProducerIdentity>,
    codecs: Codecs,
    socket: ProducerSocket,
    receive_buffer: ReceiveBuffer,
    pipeline: Pipeline,
    ack: Ack,
    record_bytes_max: u64,
    /// Why an offered block was refused, if one was.
    refused: Option<Fault>,
}

/// Why nothing more is taken.
#[derive(Debug)]
enum ProducerEnd {
    /// The producer said that there is no more.
    Finished { forget: bool },
    /// It is told why.
    Failed(Fault),
}

/// What woke the connection.
enum Wakeup {
    Progress(AppendProgress),
    MustEnd(Error),
    Event(ProducerEvent),
    Memory(Result<(), Error>),
    ReleaseMemory,
    RateWindowOver,
}

impl ProducerConnection {
    pub(super) fn new(
        app: Arc<App>,
        log: OpenLog,
        timeouts: HeartbeatTimeouts,
        identity: Option<ProducerIdentity>,
        codecs: Codecs,
        socket: Socket,
    ) -> ProducerConnection {
        let record_bytes_max = u64::try_from(log.config().max_record_size).unwrap_or(u64::MAX);
        let memory = ProducerMemory::new(app.sessions.request_budget().reservation());
        ProducerConnection {
            receive_buffer: ReceiveBuffer::new(record_bytes_max, memory, &socket.received),
            socket: ProducerSocket::new(socket.tcp, timeouts),
            pipeline: log.pipeline(IN_FLIGHT_BYTES_MAX, IN_FLIGHT_BLOCKS_MAX),
            app,
            log,
            timeouts,
            identity,
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
        let ending = self.receive().await?;
        self.settle().await?;
        // What was offered came before whatever ended the taking.
        match self.refused.take().map_or(ending, ProducerEnd::Failed) {
            ProducerEnd::Finished { forget } => {
                if let Some(identity) = self.identity.as_ref().filter(|_| forget) {
                    // What cannot be forgotten now will be in a week.
                    let _ = self.log.forget_producer(identity.id);
                }
            }
            ProducerEnd::Failed(fault) => {
                let code = fault.code.as_str();
                tracing::debug!(code, "a producer's stream ends: {}", fault.message);
                fault.encode(self.socket.send_queue.frames());
            }
        }
        if let Some(identity) = &mut self.identity {
            identity.claim.release();
        }
        // Its memory is others' while the peer takes its time.
        self.receive_buffer.end();
        let final_bytes = self.socket.send_queue.take();
        peer::close(&self.socket.tcp, &final_bytes, self.timeouts.ours, &self.app.shutdown).await
    }

    /// Takes blocks until something ends that.
    async fn receive(&mut self) -> io::Result<ProducerEnd> {
        let app = Arc::clone(&self.app);
        let taken_over = self.identity.as_ref().map(|identity| identity.claim.taken_over());
        let mut ended = pin!(ended(&app, self.log.gone(), taken_over));
        let (mut was_listening, mut lacks_memory, mut reads) = (true, false, 0);
        loop {
            if let Some(fault) = &self.refused {
                return Ok(ProducerEnd::Failed(fault.clone()));
            }
            if let Some(ending) = self.submit_all() {
                return Ok(ending);
            }
            self.socket.send()?;
            let is_settled = self.pipeline.is_idle();
            let is_wanted = self.receive_buffer.memory().is_contended();
            if is_wanted && is_settled {
                self.receive_buffer.shrink();
            }
            // Others get their turn once this one's blocks are durable.
            let yields = is_wanted && !is_settled;
            let takes_more =
                self.pipeline.has_capacity() && !self.socket.is_ack_backlog_full() && !yields;
            if lacks_memory && takes_more {
                lacks_memory = !self.receive_buffer.ensure_space();
            }
            let is_listening = takes_more && !lacks_memory;
            if is_listening && !was_listening {
                // Until now nobody listened.
                self.socket.heard();
            }
            was_listening = is_listening;
            // What it has begun, and what it does not take, are its to go on with.
            let is_waited_for = is_settled
                && self.receive_buffer.has_partial_frame()
                && (is_listening || self.socket.is_ack_backlog_full());
            let judged_in = self.receive_buffer.memory().window_left();
            let shrinks_at =
                self.receive_buffer.shrinks_at().filter(|_| is_settled && !lacks_memory);
            let asked = Instant::now();
            let woken = tokio::select! {
                biased;
                progress = self.pipeline.progress() => Wakeup::Progress(progress),
                error = &mut ended => Wakeup::MustEnd(error),
                event = self.socket.event(is_listening) => Wakeup::Event(event?),
                // What is on its way gives memory back when it is durable.
                reserved = self.receive_buffer.wait_for_memory(),
                    if lacks_memory && takes_more && is_settled => Wakeup::Memory(reserved),
                () = tokio::time::sleep_until(shrinks_at.unwrap_or(asked)), if shrinks_at.is_some() => {
                    Wakeup::ReleaseMemory
                }
                () = tokio::time::sleep(judged_in), if is_waited_for => Wakeup::RateWindowOver,
            };
            let waited = if is_waited_for { asked.elapsed() } else { Duration::ZERO };
            let mut came = 0;
            match woken {
                Wakeup::Progress(progress) => self.note_progress(progress),
                Wakeup::MustEnd(error) => return Ok(ProducerEnd::Failed(error_frame::of(&error))),
                Wakeup::Event(ProducerEvent::Readable) => {
                    lacks_memory = !self.receive_buffer.ensure_space();
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
                Wakeup::Event(ProducerEvent::AckBacklogDrained) | Wakeup::RateWindowOver => {}
                Wakeup::Event(ProducerEvent::PeerSilent) => {
                    return Ok(ProducerEnd::Failed(error_frame::silence(self.timeouts.ours)));
                }
                Wakeup::Memory(Err(error)) => {
                    return Ok(ProducerEnd::Failed(error_frame::of(&error)));
                }
                Wakeup::Memory(Ok(())) => {}
                Wakeup::ReleaseMemory => self.receive_buffer.shrink(),
            }
            if is_waited_for
                && let Err(error) = self.receive_buffer.memory().record_rate(came as u64, waited)
            {
                return Ok(ProducerEnd::Failed(error_frame::of(&error)));
            }
        }
    }

    /// Waits until what was offered is durable or has failed.
    async fn settle(&mut self) -> io::Result<()> {
        while !self.pipeline.is_idle() {
            self.socket.send()?;
            tokio::select! {
                biased;
                progress = self.pipeline.progress() => self.note_progress(progress),
                event = self.socket.event(false) => drop(event?),
            }
        }
        Ok(())
    }

    /// Reads once, into the room that was made; says how much came.
    fn read(&mut self) -> io::Result<Result<usize, ProducerEnd>> {
        Ok(match self.receive_buffer.read(&self.socket.tcp)? {
            ReadOutcome::Bytes(count) => {
                self.socket.heard();
                Ok(count)
            }
            ReadOutcome::WouldBlock => Ok(0),
            ReadOutcome::Closed => Err(match self.receive_buffer.finish() {
                Ok(()) => ProducerEnd::Finished { forget: false },
                Err(error) => ProducerEnd::Failed(error_frame::malformed(&error)),
            }),
        })
    }

    /// Offers the blocks that are there, while there is room for them.
    fn submit_all(&mut self) -> Option<ProducerEnd> {
        while self.pipeline.has_capacity() {
            match self.receive_buffer.next() {
                Ok(None) => return None,
                Ok(Some(frame::Event::Block(bytes))) => {
                    if let Err(fault) = self.submit(bytes) {
                        return Some(ProducerEnd::Failed(fault));
                    }
                }
                Ok(Some(frame::Event::End { forget })) => {
                    return Some(ProducerEnd::Finished { forget });
                }
                // Of the others a producer sends heartbeats alone.
                Ok(Some(_)) => {}
                Err(error) => return Some(ProducerEnd::Failed(error_frame::malformed(&error))),
            }
        }
        None
    }

    fn submit(&mut self, bytes: Bytes) -> Result<(), Fault> {
        let (block, _) = Block::parse(bytes, self.record_bytes_max).map_err(invalid_block)?;
        self.check_agreed(block.header())?;
        let record_bytes_max = usize::try_from(self.record_bytes_max).unwrap_or(usize::MAX);
        let payload_bytes_max = record_bytes_max.saturating_sub(RECORD_HEADER_BYTES);
        let checked = block.into_checked(payload_bytes_max).map_err(invalid_block)?;
        self.pipeline.submit(Append::from(checked)).map_err(|error| error_frame::of(&error))
    }

    /// Whether a block is one that the handshake speaks of.
    fn check_agreed(&self, header: &Header) -> Result<(), Fault> {
        let (id, epoch) =
            self.identity.as_ref().map_or((0, 0), |identity| (identity.id, identity.epoch));
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
            return Err(error_frame::of(&Error::new(Code::MalformedRecords, message)));
        } else {
            return Ok(());
        };
        Err(error_frame::of(&Error::new(Code::InvalidParams, message)))
    }

    /// Acks what is durable, in one frame.
    fn note_progress(&mut self, progress: AppendProgress) {
        for appended in &progress.appended {
            // Of a block either all is new or all was there.
            self.ack.add(appended.base, appended.count + appended.repeated);
        }
        self.ack.encode(self.socket.send_queue.frames());
        if let Some(error) = progress.failed {
            self.refused.get_or_insert_with(|| error_frame::of(&error));
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
        () = app.shutdown.begun() => error_frame::shutting_down(),
        error = gone => error,
    }
}

fn invalid_block(error: ParseError) -> Fault {
    error_frame::of(&Error::new(error.code(), error.to_string()))
}
