//! [`serve`]: one connection of a producer, from its 101 until it ends.
//!
//! ```text
//!            ┌─ window.next ◀─ turn ◀─ shared
//! socket ◀── out: one block, heartbeat or end at a time, written whole
//! socket ──▶ decoder ──▶ ack ──▶ window, shared
//! ```
//! One task does all of it, so that what was written, what is acked and what is
//! sent next are never out of step.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use styx_protocol::frame::{Event, FrameDecoder, Route, encode_end, encode_heartbeat};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use super::handshake::Welcome;
use super::link::{Link, Stop};
use super::shared::{Asked, Wish};
use crate::error::Error;
use crate::transport::{Socket, Upgraded, of_fault};

/// Acks are small.
const READ_BYTES: usize = 4 << 10;

/// How a connection ended.
#[derive(Debug)]
pub(super) enum End {
    /// Everything was acked, and both sides know that there is no more.
    Finished,
    /// The link has to stop.
    Stopped(Stop),
    /// It broke, or the server ended it.
    Lost(Error),
    /// The server ended it with an error frame, which speaks of all that is
    /// unacked.
    Refused(Error),
}

struct Connection<'l> {
    link: &'l mut Link,
    reader: ReadHalf<Socket>,
    writer: WriteHalf<Socket>,
    decoder: FrameDecoder,
    /// What is being written.
    out: Bytes,
    out_is_block: bool,
    /// The writer may hold bytes back.
    unflushed: bool,
    blocks_max: usize,
    welcome: Welcome,
    heard: Instant,
    said: Instant,
    /// The end frame is on its way.
    ending: bool,
}

/// Serves the connection; what is unacked is in the link's window afterwards.
pub(super) async fn serve(link: &mut Link, upgraded: Upgraded, welcome: Welcome) -> End {
    let (reader, writer) = tokio::io::split(upgraded.socket);
    let mut decoder = FrameDecoder::new(Route::ServerToProducer, 0);
    decoder.push(&upgraded.read);
    let now = Instant::now();
    let connection = Connection {
        link,
        reader,
        writer,
        decoder,
        out: Bytes::new(),
        out_is_block: false,
        unflushed: false,
        blocks_max: welcome.blocks_max,
        welcome,
        heard: now,
        said: now,
        ending: false,
    };
    connection.serve().await
}

impl Connection<'_> {
    async fn serve(mut self) -> End {
        if let Err(end) = self.hear() {
            return end;
        }
        let timer = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(timer);
        loop {
            let wake_at = match self.prepare() {
                Ok(wake_at) => wake_at,
                Err(end) => return end,
            };
            // An earlier time only: one that comes too early finds nothing to do.
            if timer.is_elapsed() || wake_at < timer.deadline().into_std() {
                timer.as_mut().reset(wake_at.into());
            }
            self.decoder.buffer().reserve(READ_BYTES);
            tokio::select! {
                read = self.reader.read_buf(self.decoder.buffer()) => match read {
                    Ok(0) => return self.closed(),
                    Ok(_) => {
                        self.heard = Instant::now();
                        if let Err(end) = self.hear() {
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
                () = self.link.shared.news(), if self.out.is_empty() => {}
                () = &mut timer => {}
            }
        }
    }

    /// Decides what is written next and until when there is nothing to do.
    fn prepare(&mut self) -> Result<Instant, End> {
        let now = Instant::now();
        let silence = self.link.transport.options().silence_timeout;
        if now >= self.heard + silence {
            return Err(End::Lost(self.link.transport.silent()));
        }
        let free = self.out.is_empty() && !self.ending;
        let unwritten = self.link.window.next(self.blocks_max).is_some();
        let can_send = free && !unwritten && self.link.window.len() < self.blocks_max;
        let mut turn = self.link.shared.turn(Asked { now, can_send });
        if let Some(filled) = turn.block.take() {
            self.link.take(filled, self.welcome.codecs);
        }
        let stop_at = self.link.look(now, &turn).map_err(End::Stopped)?;
        if free {
            self.choose(turn.wish);
        }
        let mut wake_at = stop_at.min(self.heard + silence);
        wake_at = turn.lingers_until.map_or(wake_at, |until| wake_at.min(until));
        // Any byte counts as heard, so that only who is idle needs a heartbeat.
        if self.out.is_empty() {
            let beat_at = self.said + self.welcome.timeout / 2;
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

    /// The next block, or the end.
    fn choose(&mut self, wish: Wish) {
        if let Some(frame) = self.link.window.next(self.blocks_max) {
            self.put(frame, true);
        } else if let Wish::Close { all_settled: true, .. } = wish {
            let mut end = BytesMut::new();
            encode_end(self.link.is_forgettable(), &mut end);
            self.put(end.freeze(), false);
            self.ending = true;
        }
    }

    fn put(&mut self, bytes: Bytes, is_block: bool) {
        self.out = bytes;
        self.out_is_block = is_block;
    }

    fn wrote(&mut self, bytes: usize) {
        // Nothing was left to write: what was written has left the writer.
        self.unflushed = bytes > 0;
        if bytes > 0 {
            self.out.advance(bytes);
            self.said = Instant::now();
        }
        if self.out.is_empty() && std::mem::take(&mut self.out_is_block) {
            self.link.window.wrote();
        }
    }

    /// Takes in all that has come.
    fn hear(&mut self) -> Result<(), End> {
        loop {
            let event = self.decoder.next();
            let event = event.map_err(|e| {
                // What was sent may be there: nobody can say any more.
                End::Lost(self.link.transport.confused(&e).with_maybe_appended(true))
            })?;
            match event {
                None => return Ok(()),
                Some(Event::Ack(ack)) => self.link.acked(&ack).map_err(End::Lost)?,
                Some(Event::Error(fault)) => return Err(self.refused(of_fault(&fault))),
                Some(Event::End { .. }) => return Err(self.closed()),
                Some(Event::Heartbeat(_) | Event::Block(_)) => {}
            }
        }
    }

    fn refused(&self, error: Error) -> End {
        match self.ending && self.link.window.is_empty() {
            true => End::Finished,
            false => End::Refused(error),
        }
    }

    fn closed(&self) -> End {
        match self.ending && self.link.window.is_empty() {
            true => End::Finished,
            false => End::Lost(self.link.transport.closed_by_peer()),
        }
    }

    fn broken(&self, error: &std::io::Error) -> End {
        match self.ending && self.link.window.is_empty() {
            true => End::Finished,
            false => End::Lost(self.link.transport.broken(error)),
        }
    }

    /// A server that refuses a block closes its side: the reason may be here.
    async fn broken_while_writing(&mut self, error: &std::io::Error) -> End {
        let patience = Duration::from_secs(1);
        let rest = tokio::time::timeout(patience, async {
            loop {
                match self.reader.read_buf(self.decoder.buffer()).await {
                    Ok(1..) => self.hear()?,
                    Ok(0) | Err(_) => return Ok::<(), End>(()),
                }
            }
        });
        match rest.await {
            Ok(Err(end)) => end,
            Ok(Ok(())) | Err(_) => self.broken(error),
        }
    }
}

/// Writes some of these bytes, or flushes when there are none. Cancel safe.
async fn advance(writer: &mut WriteHalf<Socket>, bytes: &[u8]) -> std::io::Result<usize> {
    match bytes {
        [] => writer.flush().await.map(|()| 0),
        bytes => match writer.write(bytes).await {
            Ok(0) => Err(std::io::ErrorKind::WriteZero.into()),
            wrote => wrote,
        },
    }
}
