//! [`ProducerConnection`]: a producer's socket after its 101.
//!
//! ```text
//! receiving ─▶ draining ─▶ final frame ─▶ closing
//!   └ end, half-close, error, silence, shutdown, a newer connection
//! ```
//!
//! Invariant: blocks are submitted in the order in which they arrived, and none
//! after one that was refused. Everything submitted is finished and acked before the
//! final frame. During every wait, also for memory, heartbeats are sent and the
//! reasons to end are noticed.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use styx_protocol::block::{Block, Codec, Header, ParseError};
use styx_protocol::frame::{self, Ack, Fault};
use styx_protocol::limits::{IN_FLIGHT_BLOCKS_MAX, RECORD_HEADER_BYTES};
use styx_protocol::{Code, Codecs};
use tokio::time::Instant;

use super::ProducerIdentity;
use super::receive_buffer::{ReadOutcome, ReceiveBuffer};
use super::socket::{ProducerEvent, ProducerSocket};
use crate::app::App;
use crate::handover::{self, Ending, Socket};
use crate::peer::{self, CloseLimits, HeartbeatTimeouts};
use crate::session::ProducerMemory;
use crate::session::{Append, AppendProgress, Error, OpenLog, Pipeline};
use crate::stream::intake::{Grant, Intake, IntakeState};
use crate::stream::v1::error_frame;

/// Bytes of blocks that are in flight at a time. A single block may be larger.
const IN_FLIGHT_BYTES_MAX: usize = 16 << 20;
/// Reads in a row before the task yields to others.
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
    /// Why a submitted block was refused, if one was.
    refused: Option<Fault>,
    /// There was no memory to read into when it was last tried.
    lacks_memory: bool,
    grant: Grant,
    /// Whether the socket was read before the last wait.
    was_listening: bool,
    reads: u32,
}

/// Why nothing more is received.
#[derive(Debug)]
enum ProducerEnd {
    /// The producer sent its end.
    Finished { forget: bool },
    /// With an error frame.
    Failed(Fault),
}

/// Why a wait ended.
enum Wakeup {
    Progress(AppendProgress),
    MustEnd(Error),
    Event(ProducerEvent),
    Memory(Result<(), Error>),
    ReleaseMemory,
    RateWindowOver,
}

impl ProducerEnd {
    fn failed(error: &Error) -> ProducerEnd {
        ProducerEnd::Failed(error_frame::of(error))
    }
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
            socket: ProducerSocket::new(socket.transport, timeouts),
            pipeline: log.pipeline(IN_FLIGHT_BYTES_MAX, IN_FLIGHT_BLOCKS_MAX),
            app,
            log,
            timeouts,
            identity,
            codecs,
            ack: Ack::default(),
            record_bytes_max,
            refused: None,
            lacks_memory: false,
            grant: Grant::default(),
            was_listening: true,
            reads: 0,
        }
    }

    /// Serves the connection until it ends.
    pub(super) async fn serve(mut self, ending: Ending) {
        if let Err(error) = self.run(ending).await {
            tracing::debug!("a producer's connection ended: {error}");
        }
    }

    async fn run(&mut self, ending: Ending) -> io::Result<()> {
        let end = self.receive(ending).await?;
        self.drain().await?;
        let mut has_lost_access = false;
        // A refused block was submitted before whatever ended the receiving.
        match self.refused.take().map_or(end, ProducerEnd::Failed) {
            ProducerEnd::Finished { forget } => {
                if let Some(identity) = self.identity.as_ref().filter(|_| forget) {
                    // If this fails, the producer is forgotten after a week.
                    let _ = self.log.forget_producer(identity.id);
                }
            }
            ProducerEnd::Failed(fault) => {
                has_lost_access = handover::has_lost_access(fault.code);
                let code = fault.code.as_str();
                tracing::debug!(code, "a producer's stream ends: {}", fault.message);
                fault.encode(self.socket.send_queue.frames());
            }
        }
        if let Some(identity) = &mut self.identity {
            identity.claim.release();
        }
        // Frees the memory now, because the peer may take long to close.
        self.receive_buffer.end();
        let final_bytes = self.socket.send_queue.take();
        let transport = &self.socket.transport;
        let limits = CloseLimits::silence(self.timeouts.ours).shorter_if(has_lost_access);
        peer::close(transport, &final_bytes, limits, &self.app.shutdown).await
    }

    /// Receives blocks until something ends that.
    async fn receive(&mut self, ending: Ending) -> io::Result<ProducerEnd> {
        let taken_over = self.identity.as_ref().map(|identity| identity.claim.taken_over());
        let mut must_end = pin!(must_end(ending, self.log.gone(), taken_over));
        loop {
            if let Some(fault) = &self.refused {
                return Ok(ProducerEnd::Failed(fault.clone()));
            }
            if let Some(end) = self.submit_all() {
                return Ok(end);
            }
            if self.pipeline.is_limited() && self.receive_buffer.memory().is_contended() {
                return Ok(ProducerEnd::failed(&self.pipeline.limit_error()));
            }
            if self.pipeline.has_capacity()
                && let Err(error) = self.receive_buffer.check_partial_frame()
            {
                return Ok(ProducerEnd::failed(&error));
            }
            self.socket.send()?;
            let intake = self.next_intake();
            let is_waited_for = self.is_waiting_for_peer(intake);
            let began = Instant::now();
            let wakeup = self.wait(intake, is_waited_for, must_end.as_mut()).await?;
            let waited = if is_waited_for { began.elapsed() } else { Duration::ZERO };
            let received = match self.handle(wakeup).await? {
                Ok(received) => received,
                Err(end) => return Ok(end),
            };
            if is_waited_for {
                let memory = self.receive_buffer.memory();
                if let Err(error) = memory.record_rate(received as u64, waited) {
                    return Ok(ProducerEnd::failed(&error));
                }
            }
        }
    }

    /// Whether to read the socket next, or what to wait for before that.
    fn next_intake(&mut self) -> Intake {
        let state = IntakeState {
            has_capacity: self.pipeline.has_capacity() && !self.socket.is_ack_backlog_full(),
            is_contended: self.receive_buffer.memory().is_contended(),
            is_idle: self.pipeline.is_idle(),
        };
        if self.grant.is_freed(state) {
            self.receive_buffer.shrink();
        }
        let lacked_memory = self.lacks_memory;
        let intake = Intake::decide(state, || !lacked_memory || self.receive_buffer.ensure_space());
        match intake {
            Intake::Listen => self.lacks_memory = false,
            Intake::NoMemory => self.lacks_memory = true,
            Intake::NoRoom | Intake::Yield => {}
        }
        let is_listening = intake == Intake::Listen;
        if is_listening && !self.was_listening {
            // The peer's silence did not count while nobody read.
            self.socket.note_received();
        }
        self.was_listening = is_listening;
        intake
    }

    /// Whether only the peer can make progress: it has to send the rest of a frame,
    /// and this side reads it or waits for the peer to read its acks.
    fn is_waiting_for_peer(&mut self, intake: Intake) -> bool {
        self.pipeline.is_idle()
            && self.receive_buffer.has_partial_frame()
            && (intake == Intake::Listen || self.socket.is_ack_backlog_full())
    }

    /// Waits for the next thing to handle.
    async fn wait(
        &mut self,
        intake: Intake,
        is_waited_for: bool,
        must_end: Pin<&mut impl Future<Output = Error>>,
    ) -> io::Result<Wakeup> {
        let is_idle = self.pipeline.is_idle();
        // If appends are in flight, they free memory when they are durable.
        let must_wait_for_memory = intake == Intake::NoMemory && is_idle;
        let window_left = self.receive_buffer.memory().window_left();
        let lacks_memory = self.lacks_memory;
        let shrinks_at = self.receive_buffer.shrinks_at().filter(|_| is_idle && !lacks_memory);
        Ok(tokio::select! {
            biased;
            progress = self.pipeline.progress() => Wakeup::Progress(progress),
            error = must_end => Wakeup::MustEnd(error),
            event = self.socket.event(intake == Intake::Listen) => Wakeup::Event(event?),
            reserved = self.receive_buffer.wait_for_memory(), if must_wait_for_memory => {
                Wakeup::Memory(reserved)
            }
            () = sleep_until(shrinks_at), if shrinks_at.is_some() => Wakeup::ReleaseMemory,
            () = tokio::time::sleep(window_left), if is_waited_for => Wakeup::RateWindowOver,
        })
    }

    /// Does what a wakeup asks for. Returns how many bytes were read, or how the
    /// stream ends.
    async fn handle(&mut self, wakeup: Wakeup) -> io::Result<Result<usize, ProducerEnd>> {
        match wakeup {
            Wakeup::Progress(progress) => self.note_progress(progress),
            Wakeup::Event(ProducerEvent::Readable) => {
                self.lacks_memory = !self.receive_buffer.ensure_space();
                if !self.lacks_memory {
                    let read = self.read()?;
                    self.reads = self.reads.wrapping_add(1);
                    if read.is_ok() && self.reads.is_multiple_of(READS_MAX) {
                        tokio::task::yield_now().await;
                    }
                    return Ok(read);
                }
            }
            Wakeup::Event(ProducerEvent::PeerSilent) => {
                let fault = error_frame::silence(self.timeouts.ours);
                return Ok(Err(ProducerEnd::Failed(fault)));
            }
            Wakeup::MustEnd(error) | Wakeup::Memory(Err(error)) => {
                return Ok(Err(ProducerEnd::failed(&error)));
            }
            Wakeup::Memory(Ok(())) => self.grant.given(),
            Wakeup::Event(ProducerEvent::AckBacklogDrained) | Wakeup::RateWindowOver => {}
            Wakeup::ReleaseMemory => self.receive_buffer.shrink(),
        }
        Ok(Ok(0))
    }

    /// Waits until every submitted block is durable or has failed.
    async fn drain(&mut self) -> io::Result<()> {
        self.pipeline.stop_waiting_for_limits();
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

    /// Reads once, into the space that was made; returns how many bytes arrived.
    fn read(&mut self) -> io::Result<Result<usize, ProducerEnd>> {
        Ok(match self.receive_buffer.read(&self.socket.transport)? {
            ReadOutcome::Bytes(count) => {
                self.socket.note_received();
                Ok(count)
            }
            ReadOutcome::WouldBlock => Ok(0),
            ReadOutcome::Closed => Err(match self.receive_buffer.finish() {
                Ok(()) => ProducerEnd::Finished { forget: false },
                Err(error) => ProducerEnd::Failed(error_frame::malformed(&error)),
            }),
        })
    }

    /// Submits the blocks that have arrived while the pipeline has capacity.
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
                // The only other frames of a producer are heartbeats.
                Ok(Some(_)) => {}
                Err(error) => return Some(ProducerEnd::Failed(error_frame::malformed(&error))),
            }
        }
        None
    }

    fn submit(&mut self, bytes: Bytes) -> Result<(), Fault> {
        let (block, _) = Block::parse(bytes, self.record_bytes_max).map_err(invalid_block)?;
        self.check_agreed(block.header())?;
        let header = block.header();
        if header.codec != Codec::None {
            let (body_bytes, raw_bytes) = (header.body_size as usize, header.raw_size as usize);
            let reserved = self.receive_buffer.reserve_to_decompress(body_bytes, raw_bytes);
            reserved.map_err(|error| error_frame::of(&error))?;
        }
        let record_bytes_max = usize::try_from(self.record_bytes_max).unwrap_or(usize::MAX);
        let payload_bytes_max = record_bytes_max.saturating_sub(RECORD_HEADER_BYTES);
        let checked = block.into_checked(payload_bytes_max).map_err(invalid_block)?;
        self.pipeline.submit(Append::from(checked)).map_err(|error| error_frame::of(&error))
    }

    /// Whether a block has the producer and codec of the handshake.
    fn check_agreed(&self, header: &Header) -> Result<(), Fault> {
        let (id, epoch) =
            self.identity.as_ref().map_or((0, 0), |identity| (identity.id, identity.epoch));
        let is_of = (header.producer_id, header.producer_epoch);
        let message = if is_of != (id, epoch) {
            format!(
                "the block has producer {} with epoch {}, but the handshake {id} with {epoch}",
                is_of.0, is_of.1,
            )
        } else if id == 0 && header.sequence != 0 {
            format!(
                "the block has sequence {}, but the handshake named no producer",
                header.sequence
            )
        } else if !self.codecs.contains(header.codec) {
            let codec = header.codec;
            let message = format!("the block has the codec {codec}, which the 101 did not grant");
            return Err(error_frame::of(&Error::new(Code::MalformedRecords, message)));
        } else {
            return Ok(());
        };
        Err(error_frame::of(&Error::new(Code::InvalidParams, message)))
    }

    /// Queues one ack frame for everything that became durable.
    fn note_progress(&mut self, progress: AppendProgress) {
        for appended in &progress.appended {
            // A block is either all new or all a repetition.
            self.ack.add(appended.base, appended.count + appended.repeated);
        }
        self.ack.encode(self.socket.send_queue.frames());
        if let Some(error) = progress.failed {
            self.refused.get_or_insert_with(|| error_frame::of(&error));
        }
    }
}

/// Resolves when the server has to end the connection.
async fn must_end(
    ending: Ending,
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
        error = ending.begun() => error,
        error = gone => error,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn invalid_block(error: ParseError) -> Fault {
    error_frame::of(&Error::new(error.code(), error.to_string()))
}
