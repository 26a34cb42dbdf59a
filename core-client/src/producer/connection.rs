//! [`serve`]: one connection of a producer, from its `101` until it ends.
//!
//! ```text
//!            ┌─ window.next ◀─ seal ◀─ next_work ◀─ shared
//! socket ◀── out: one block, heartbeat or end frame at a time, written completely
//! socket ──▶ decoder ──▶ ack ──▶ window, shared
//! ```
//! One task does all of it, so that its view of the written, the
//! acknowledged and the next blocks is always consistent.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use styx_protocol::frame::{Event, FrameDecoder, Route, encode_end, encode_heartbeat};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use super::handshake::ProducerHandshake;
use super::outgoing::{Outgoing, StopReason};
use super::work::{Intent, WorkRequest};
use crate::error::Error;
use crate::transport::{Socket, Transport, Upgraded, error_from_frame};

/// Acks are small.
const READ_BYTES: usize = 4 << 10;

/// How a connection ended.
#[derive(Debug)]
pub(super) enum ConnectionEnd {
    /// Everything was acknowledged, and both sides know that there is no more.
    Finished,
    /// The task has to stop.
    Stopped(StopReason),
    /// The connection broke, or the server closed it.
    Lost(Error),
    /// The server ended it with an error frame, which covers all unacknowledged
    /// records.
    Refused(Error),
}

struct ProducerConnection<'c> {
    outgoing: &'c mut Outgoing,
    transport: &'c Transport,
    reader: ReadHalf<Socket>,
    writer: WriteHalf<Socket>,
    decoder: FrameDecoder,
    /// The bytes that are being written.
    out: Bytes,
    out_is_block: bool,
    /// The writer may have buffered bytes.
    unflushed: bool,
    blocks_max: usize,
    handshake: ProducerHandshake,
    last_received: Instant,
    last_sent: Instant,
    /// The end frame was chosen to be written: nothing follows it.
    ending: bool,
}

/// Serves the connection until it ends. Unacknowledged blocks stay in the window.
pub(super) async fn serve(
    outgoing: &mut Outgoing,
    transport: &Transport,
    upgraded: Upgraded,
    handshake: ProducerHandshake,
) -> ConnectionEnd {
    let (reader, writer) = tokio::io::split(upgraded.socket);
    let mut decoder = FrameDecoder::new(Route::ServerToProducer, 0);
    decoder.push(&upgraded.read);
    let now = Instant::now();
    let connection = ProducerConnection {
        outgoing,
        transport,
        reader,
        writer,
        decoder,
        out: Bytes::new(),
        out_is_block: false,
        unflushed: false,
        blocks_max: handshake.blocks_max,
        handshake,
        last_received: now,
        last_sent: now,
        ending: false,
    };
    connection.serve().await
}

impl ProducerConnection<'_> {
    async fn serve(mut self) -> ConnectionEnd {
        if let Err(end) = self.receive() {
            return end;
        }
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
        loop {
            let wake_at = match self.prepare() {
                Ok(wake_at) => wake_at,
                Err(end) => return end,
            };
            // Only set to an earlier time: waking too early is harmless.
            if timer.is_elapsed() || wake_at < timer.deadline().into_std() {
                timer.as_mut().reset(wake_at.into());
            }
            self.decoder.buffer().reserve(READ_BYTES);
            tokio::select! {
                read = self.reader.read_buf(self.decoder.buffer()) => match read {
                    Ok(0) => return self.closed(),
                    Ok(_) => {
                        self.last_received = Instant::now();
                        self.outgoing.shared.activity.heard(self.last_received);
                        if let Err(end) = self.receive() {
                            return end;
                        }
                    }
                    Err(error) => return self.broken(&error),
                },
                wrote = advance(&mut self.writer, &self.out),
                    if !self.out.is_empty() || self.unflushed => match wrote {
                    Ok(bytes) => self.wrote(bytes),
                    Err(error) => return self.broken_while_writing(&error).await,
                },
                () = self.outgoing.shared.wait_for_work(), if self.out.is_empty() => {}
                () = &mut timer => {}
            }
        }
    }

    /// Decides what is written next, and how long there is nothing else to do.
    fn prepare(&mut self) -> Result<Instant, ConnectionEnd> {
        let now = Instant::now();
        let silence_timeout = self.transport.options().silence_timeout;
        if now >= self.last_received + silence_timeout {
            return Err(ConnectionEnd::Lost(self.transport.silent()));
        }
        let free = self.out.is_empty() && !self.ending;
        let unwritten = self.outgoing.window.next(self.blocks_max).is_some();
        let can_send = free && !unwritten && self.outgoing.window.len() < self.blocks_max;
        let mut work = self.outgoing.shared.next_work(WorkRequest { now, can_send });
        if let Some(block) = work.block.take() {
            self.outgoing.seal(block, self.handshake.codecs);
        }
        let stop_at = self.outgoing.check_deadlines(now, &work).map_err(ConnectionEnd::Stopped)?;
        if free {
            self.choose(work.intent);
        }
        let mut wake_at = stop_at.min(self.last_received + silence_timeout);
        wake_at = work.lingers_until.map_or(wake_at, |until| wake_at.min(until));
        // Every byte tells the server that the client is alive, so only an idle client
        // sends heartbeats.
        if self.out.is_empty() {
            let beat_at = self.last_sent + self.handshake.timeout / 2;
            if now >= beat_at {
                let mut beat = BytesMut::new();
                encode_heartbeat(None, &mut beat);
                self.put(beat.freeze(), false);
            } else {
                wake_at = wake_at.min(beat_at);
            }
        }
        Ok(wake_at)
    }

    /// Starts writing the next block, or the end frame.
    fn choose(&mut self, intent: Intent) {
        if let Some(frame) = self.outgoing.window.next(self.blocks_max) {
            self.put(frame, true);
        } else if let Intent::Close { all_settled: true, .. } = intent {
            let mut end = BytesMut::new();
            encode_end(self.outgoing.is_forgettable(), &mut end);
            self.put(end.freeze(), false);
            self.ending = true;
        }
    }

    fn put(&mut self, bytes: Bytes, is_block: bool) {
        self.out = bytes;
        self.out_is_block = is_block;
    }

    fn wrote(&mut self, bytes: usize) {
        // 0 means that a flush has completed: the writer holds no more bytes.
        self.unflushed = bytes > 0;
        if bytes > 0 {
            self.out.advance(bytes);
            self.last_sent = Instant::now();
        }
        let wrote_block = self.out.is_empty() && std::mem::take(&mut self.out_is_block);
        if wrote_block && self.outgoing.window.wrote() {
            self.outgoing.shared.activity.resent();
        }
    }

    /// Handles every received frame.
    fn receive(&mut self) -> Result<(), ConnectionEnd> {
        loop {
            let event = self.decoder.next();
            let event = event.map_err(|e| {
                // Blocks that were sent may be in the log; nobody can know.
                ConnectionEnd::Lost(self.transport.protocol_error(&e).with_maybe_appended(true))
            })?;
            match event {
                None => return Ok(()),
                Some(Event::Ack(ack)) => self.outgoing.acked(&ack).map_err(ConnectionEnd::Lost)?,
                Some(Event::Error(fault)) => return Err(self.refused(error_from_frame(&fault))),
                Some(Event::End { .. }) => return Err(self.closed()),
                Some(Event::Heartbeat(_) | Event::Block(_)) => {}
            }
        }
    }

    fn refused(&self, error: Error) -> ConnectionEnd {
        match self.ending && self.outgoing.window.is_empty() {
            true => ConnectionEnd::Finished,
            false => ConnectionEnd::Refused(error),
        }
    }

    fn closed(&self) -> ConnectionEnd {
        match self.ending && self.outgoing.window.is_empty() {
            true => ConnectionEnd::Finished,
            false => ConnectionEnd::Lost(self.transport.closed_by_peer()),
        }
    }

    fn broken(&self, error: &std::io::Error) -> ConnectionEnd {
        match self.ending && self.outgoing.window.is_empty() {
            true => ConnectionEnd::Finished,
            false => ConnectionEnd::Lost(self.transport.broken(error)),
        }
    }

    /// A server that rejects a block closes the connection, so a write fails. Its error
    /// frame may still be readable.
    async fn broken_while_writing(&mut self, error: &std::io::Error) -> ConnectionEnd {
        let limit = Duration::from_secs(1);
        let rest = tokio::time::timeout(limit, async {
            loop {
                match self.reader.read_buf(self.decoder.buffer()).await {
                    Ok(1..) => self.receive()?,
                    Ok(0) | Err(_) => return Ok::<(), ConnectionEnd>(()),
                }
            }
        });
        match rest.await {
            Ok(Err(end)) => end,
            Ok(Ok(())) | Err(_) => self.broken(error),
        }
    }
}

/// Writes some of the bytes, or flushes if there are none. Cancel safe.
async fn advance(writer: &mut WriteHalf<Socket>, bytes: &[u8]) -> std::io::Result<usize> {
    match bytes {
        [] => writer.flush().await.map(|()| 0),
        bytes => match writer.write(bytes).await {
            Ok(0) => Err(std::io::ErrorKind::WriteZero.into()),
            wrote => wrote,
        },
    }
}
