//! [`Link`]: one connection of a consumer, from its `101` to its end.
//!
//! ```text
//! socket ─▶ decoder ─▶ assembler ─▶ feed
//!    ◀── heartbeats, at half the time-out that the server announced
//! ```
//! While the caller takes nothing and the feed is full, the socket is not
//! read; heartbeats go on, so that the server knows this side to be alive. The
//! time of not reading does not count as the server's silence.
//!
//! Invariant: every record before [`Assembler::next_position`] was pushed when
//! [`Link::pump`] is over.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use styx_protocol::frame::{self, Event, FrameDecoder, Route, encode_heartbeat};
use styx_protocol::limits::{BLOCK_HEADER_BYTES, FRAME_HEADER_BYTES, MAX_RECORD_SIZE_MAX};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, MissedTickBehavior};

use super::course::Settled;
use super::waiting::Feed;
use crate::batch::{Assembler, Fault};
use crate::error::Error;
use crate::transport::{Transport, of_fault};

/// Bytes to read at once, unless a large block is under way.
const READ_BYTES: usize = 128 << 10;

/// From how many missing bytes on exactly these are read, and the headers
/// behind them, so that the block after them need not be moved.
const EXACT_BYTES_MIN: usize = 32 << 10;

/// Of a record that is longer, memory is made as its bytes come.
const GROWTH_BYTES: usize = 1 << 20;

/// See the module.
pub(super) struct Link<S> {
    transport: Arc<Transport>,
    socket: S,
    decoder: FrameDecoder,
    assembler: Assembler,
    /// How often to send a heartbeat.
    heartbeat: Duration,
    /// The furthest end that the server has told of.
    end: u64,
    heard_frames: bool,
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum Over {
    /// All that was asked for has come.
    Complete,
    /// The connection broke, or the server ended it with an error.
    Failed(Error),
    /// Something came that cannot be right: bytes were damaged on their way or
    /// where they are stored.
    Faulty(Fault),
    /// As `Faulty`, outside of any block.
    Garbled(frame::Error),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// For a socket on which `read` has come already.
    pub(super) fn new(
        transport: Arc<Transport>,
        socket: S,
        read: &[u8],
        settled: Settled,
        heartbeat: Duration,
    ) -> Link<S> {
        let mut decoder = FrameDecoder::new(Route::ServerToConsumer, MAX_RECORD_SIZE_MAX);
        decoder.push(read);
        let assembler = Assembler::new(settled.log, settled.next, settled.until);
        let end = settled.end;
        Link { transport, socket, decoder, assembler, heartbeat, end, heard_frames: false }
    }

    /// The position after the last record that was pushed.
    pub(super) fn next_position(&self) -> u64 {
        self.assembler.next_position()
    }

    /// The furthest end that the server has told of.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Whether anything came.
    pub(super) fn heard_frames(&self) -> bool {
        self.heard_frames
    }

    /// Receives until the connection is over. To be dropped at any time:
    /// records that were not pushed will come again.
    pub(super) async fn pump(&mut self, feed: &Feed) -> Over {
        let mut beats = tokio::time::interval_at(Instant::now() + self.heartbeat, self.heartbeat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let patience = self.transport.options().silence_timeout;
        let mut heard = Instant::now();
        let mut silence = std::pin::pin!(tokio::time::sleep(patience));
        loop {
            if let Err(over) = self.decode(feed) {
                return over;
            }
            let is_full = feed.is_full();
            tokio::select! {
                biased;
                _ = beats.tick() => if let Err(error) = self.send_heartbeat().await {
                    return Over::Failed(self.transport.broken(&error));
                },
                () = feed.room(), if is_full => heard = Instant::now(),
                read = read(&mut self.socket, &mut self.decoder), if !is_full => match read {
                    Ok(0) => return Over::Failed(self.transport.closed_by_peer()),
                    Ok(_) => heard = Instant::now(),
                    Err(error) => return Over::Failed(self.transport.broken(&error)),
                },
                () = &mut silence, if !is_full => {
                    let end = heard + patience;
                    if end <= Instant::now() {
                        return Over::Failed(self.transport.silent());
                    }
                    silence.as_mut().reset(end);
                }
            }
        }
    }

    /// Decodes what is there and pushes it, until the feed is full.
    fn decode(&mut self, feed: &Feed) -> Result<(), Over> {
        let decoded = self.decode_events(feed);
        // Also before a fault: these are good.
        self.assembler.finish().for_each(|batch| feed.push(batch));
        decoded
    }

    fn decode_events(&mut self, feed: &Feed) -> Result<(), Over> {
        while !self.assembler.is_complete() {
            if feed.is_full() {
                return Ok(());
            }
            let event = self.decoder.next().map_err(|error| self.garbled(error))?;
            let Some(event) = event else { return Ok(()) };
            self.heard_frames = true;
            match event {
                Event::Block(block) => {
                    self.assembler.take(block).map_err(Over::Faulty)?;
                    self.assembler.closed().for_each(|batch| feed.push(batch));
                }
                Event::Heartbeat(Some(ends)) => {
                    self.end = self.end.max(ends.end.0);
                    feed.heard(ends);
                }
                Event::Heartbeat(None) | Event::Ack(_) => {}
                Event::Error(fault) => return Err(Over::Failed(of_fault(&fault))),
                Event::End { .. } => return Err(Over::Failed(self.transport.closed_by_peer())),
            }
        }
        Err(Over::Complete)
    }

    /// A block's fault is one of the log's position; others are the stream's.
    fn garbled(&self, error: frame::Error) -> Over {
        match error {
            frame::Error::Block(error) => {
                Over::Faulty(Fault { position: self.next_position(), cause: error.into() })
            }
            error => Over::Garbled(error),
        }
    }

    async fn send_heartbeat(&mut self) -> io::Result<()> {
        let mut heartbeat = BytesMut::with_capacity(FRAME_HEADER_BYTES);
        encode_heartbeat(None, &mut heartbeat);
        let sent = async {
            self.socket.write_all(&heartbeat).await?;
            self.socket.flush().await
        };
        // A server that takes not even this is not there.
        match tokio::time::timeout(self.transport.options().silence_timeout, sent).await {
            Ok(sent) => sent,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Reads some of what comes; 0 at the end. Nothing is lost when it is dropped.
async fn read(
    socket: &mut (impl AsyncRead + Unpin),
    decoder: &mut FrameDecoder,
) -> io::Result<usize> {
    let missing = decoder.missing();
    let buffer = decoder.buffer();
    let bytes = if missing < EXACT_BYTES_MIN {
        READ_BYTES
    } else {
        (missing + FRAME_HEADER_BYTES + BLOCK_HEADER_BYTES).min(GROWTH_BYTES.max(buffer.len()))
    };
    let spare = buffer.capacity() - buffer.len();
    let is_worth_moving = buffer.len() < EXACT_BYTES_MIN && spare < EXACT_BYTES_MIN;
    if spare < missing || is_worth_moving {
        buffer.reserve(bytes);
    }
    socket.read_buf(&mut buffer.limit(bytes)).await
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use styx_protocol::block::{self, Codec, Header, Origin};
    use styx_protocol::limits::BLOCK_RAW_BYTES_MAX;
    use styx_protocol::{LogId, Records, frame};
    use tokio::io::duplex;

    use super::super::waiting::{Taken, Waiting};
    use super::*;
    use crate::options::Options;

    /// Blocks that unpack to many times their size: what waits is bounded by
    /// what they unpack to, not by what came.
    #[test]
    fn what_waits_is_bounded_unpacked() {
        const BUFFER_BYTES: usize = 64 << 10;
        let raw = vec![7u8; BLOCK_RAW_BYTES_MAX - 8];
        let sent = block::build_with(Codec::Zstd, None, &Records::one(&raw), Origin::default());
        let (header, _) = Header::decode(&sent).expect("is good");
        let mut stream = Vec::new();
        for base_position in 0..50 {
            stream.extend_from_slice(&frame::blocks_header(sent.len()));
            stream.extend_from_slice(&Header { base_position, ..header }.encode().0);
            stream.extend_from_slice(&sent[BLOCK_HEADER_BYTES..]);
        }
        let address = "styx://localhost:1".parse().expect("an address");
        let transport = Transport::new(address, Options::default()).expect("good options");
        let waiting = Arc::new(Waiting::new(BUFFER_BYTES));
        let feed = waiting.begin();
        let settled = Settled { log: LogId(1), next: 0, until: 50, end: 50 };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(async {
            let (socket, _peer) = duplex(64);
            let heartbeat = Duration::from_secs(60);
            let mut link = Link::new(Arc::new(transport), socket, &stream, settled, heartbeat);
            let mut pump = pin!(link.pump(&feed));
            let mut context = Context::from_waker(Waker::noop());
            for taken in 0..50 {
                let polled = pump.as_mut().poll(&mut context);
                assert_eq!(polled.is_ready(), taken == 49, "batch {taken}");
                let Some(Taken::Batch(batch)) = waiting.take() else { panic!("batch {taken}") };
                assert_eq!((batch.first_position(), batch.len()), (taken, 1));
                assert!(waiting.is_empty(), "one block is over the bound already");
            }
        });
    }
}
