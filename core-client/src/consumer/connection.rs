//! [`ConsumerConnection`]: one connection of a consumer, from its `101` to its end.
//!
//! ```text
//! socket ─▶ decoder ─▶ assembler ─▶ sender
//!    ◀── heartbeats, at half the timeout that the server announced
//! ```
//! While the caller takes nothing and the queue is full, the socket is not read.
//! Heartbeats continue, so that the server knows that the client is alive. The
//! time without reading does not count as silence of the server.
//!
//! Invariant: when [`ConsumerConnection::pump`] returns, every record before
//! [`Assembler::next_position`] was pushed to the queue.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use styx_protocol::frame::{self, Event, FrameDecoder, Route, encode_heartbeat};
use styx_protocol::limits::{BLOCK_HEADER_BYTES, FRAME_HEADER_BYTES, MAX_RECORD_SIZE_MAX};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, MissedTickBehavior};

use super::batch_queue::BatchSender;
use super::progress::ReadRange;
use crate::batch::{Assembler, BlockError};
use crate::error::Error;
use crate::transport::{Transport, error_from_frame};

/// Bytes of one read, unless a large block is being received.
const READ_BYTES: usize = 128 << 10;

/// If at least this many bytes of a block are missing, the read asks for exactly
/// these and the headers after them. Then the next block need not be moved.
const EXACT_BYTES_MIN: usize = 32 << 10;

/// The buffer of a record longer than this grows as its bytes arrive.
const GROWTH_BYTES: usize = 1 << 20;

/// See the module.
pub(super) struct ConsumerConnection<S> {
    transport: Arc<Transport>,
    socket: S,
    decoder: FrameDecoder,
    assembler: Assembler,
    /// The interval of heartbeats.
    heartbeat: Duration,
    /// The highest end of the log that the server has reported.
    end: u64,
    heard_frames: bool,
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum PumpEnd {
    /// Every requested record was received.
    Complete,
    /// The connection broke, or the server ended it with an error.
    Failed(Error),
    /// A block is invalid: its bytes were damaged in transit or in storage.
    BadBlock(BlockError),
    /// Bytes outside of a block are invalid.
    BadFrame(frame::Error),
}

impl<S: AsyncRead + AsyncWrite + Unpin> ConsumerConnection<S> {
    /// A connection over `socket`, from which `read` was received already.
    pub(super) fn new(
        transport: Arc<Transport>,
        socket: S,
        read: &[u8],
        range: ReadRange,
        heartbeat: Duration,
    ) -> ConsumerConnection<S> {
        let mut decoder = FrameDecoder::new(Route::ServerToConsumer, MAX_RECORD_SIZE_MAX);
        decoder.push(read);
        let assembler = Assembler::new(range.log, range.next, range.until);
        let end = range.end;
        ConsumerConnection {
            transport,
            socket,
            decoder,
            assembler,
            heartbeat,
            end,
            heard_frames: false,
        }
    }

    /// The position after the last pushed record.
    pub(super) fn next_position(&self) -> u64 {
        self.assembler.next_position()
    }

    /// The highest end of the log that the server has reported.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Whether any frame was received.
    pub(super) fn heard_frames(&self) -> bool {
        self.heard_frames
    }

    /// Receives until the connection ends. It may be dropped at any time: the next
    /// connection requests the records that were not pushed.
    pub(super) async fn pump(&mut self, sender: &BatchSender) -> PumpEnd {
        let mut beats = tokio::time::interval_at(Instant::now() + self.heartbeat, self.heartbeat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let silence_timeout = self.transport.options().silence_timeout;
        let mut heard = Instant::now();
        let mut silence = std::pin::pin!(tokio::time::sleep(silence_timeout));
        loop {
            if let Err(end) = self.decode(sender) {
                return end;
            }
            let is_full = sender.is_full();
            tokio::select! {
                biased;
                _ = beats.tick() => if let Err(error) = self.send_heartbeat().await {
                    return PumpEnd::Failed(self.transport.broken(&error));
                },
                () = sender.wait_for_space(), if is_full => {
                    heard = Instant::now();
                    sender.activity().heard(heard.into());
                },
                read = read(&mut self.socket, &mut self.decoder), if !is_full => match read {
                    Ok(0) => return PumpEnd::Failed(self.transport.closed_by_peer()),
                    Ok(_) => {
                        heard = Instant::now();
                        sender.activity().heard(heard.into());
                    }
                    Err(error) => return PumpEnd::Failed(self.transport.broken(&error)),
                },
                () = &mut silence, if !is_full => {
                    let end = heard + silence_timeout;
                    if end <= Instant::now() {
                        return PumpEnd::Failed(self.transport.silent());
                    }
                    silence.as_mut().reset(end);
                }
            }
        }
    }

    /// Decodes the received bytes and pushes their records, until the queue is full.
    fn decode(&mut self, sender: &BatchSender) -> Result<(), PumpEnd> {
        let decoded = self.decode_events(sender);
        // Also after an error: the records before it are good.
        self.assembler.finish().for_each(|batch| sender.push(batch));
        decoded
    }

    fn decode_events(&mut self, sender: &BatchSender) -> Result<(), PumpEnd> {
        while !self.assembler.is_complete() {
            if sender.is_full() {
                return Ok(());
            }
            let event = self.decoder.next().map_err(|error| self.frame_error(error))?;
            let Some(event) = event else { return Ok(()) };
            self.heard_frames = true;
            match event {
                Event::Block(block) => {
                    self.assembler.take(block).map_err(PumpEnd::BadBlock)?;
                    self.assembler.closed().for_each(|batch| sender.push(batch));
                }
                Event::Heartbeat(Some(ends)) => {
                    self.end = self.end.max(ends.end.0);
                    sender.set_ends(ends);
                }
                Event::Heartbeat(None) | Event::Ack(_) => {}
                Event::Error(fault) => return Err(PumpEnd::Failed(error_from_frame(&fault))),
                Event::End { .. } => return Err(PumpEnd::Failed(self.transport.closed_by_peer())),
            }
        }
        Err(PumpEnd::Complete)
    }

    /// An error in a block belongs to a position of the log, any other to the stream.
    fn frame_error(&self, error: frame::Error) -> PumpEnd {
        match error {
            frame::Error::Block(error) => PumpEnd::BadBlock(BlockError {
                position: self.next_position(),
                cause: error.into(),
            }),
            error => PumpEnd::BadFrame(error),
        }
    }

    async fn send_heartbeat(&mut self) -> io::Result<()> {
        let mut heartbeat = BytesMut::with_capacity(FRAME_HEADER_BYTES);
        encode_heartbeat(None, &mut heartbeat);
        let sent = async {
            self.socket.write_all(&heartbeat).await?;
            self.socket.flush().await
        };
        // A server that does not even receive these few bytes is dead.
        match tokio::time::timeout(self.transport.options().silence_timeout, sent).await {
            Ok(sent) => sent,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Reads some bytes; 0 at the end of the stream. Nothing is lost if it is dropped.
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

    use super::super::batch_queue::{BatchQueue, QueueItem};
    use super::*;
    use crate::options::Options;
    use crate::process::Process;

    /// Given blocks that decompress to many times their size, the queue counts the
    /// decompressed bytes.
    #[test]
    fn queue_is_bounded_by_decompressed_bytes() {
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
        let queue = Arc::new(BatchQueue::new(BUFFER_BYTES, Process::current()));
        let sender = queue.replace_sender(None);
        let range = ReadRange { log: LogId(1), next: 0, until: 50, end: 50 };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(async {
            let (socket, _peer) = duplex(64);
            let heartbeat = Duration::from_secs(60);
            let transport = Arc::new(transport);
            let mut connection =
                ConsumerConnection::new(transport, socket, &stream, range, heartbeat);
            let mut pump = pin!(connection.pump(&sender));
            let mut context = Context::from_waker(Waker::noop());
            for taken in 0..50 {
                let polled = pump.as_mut().poll(&mut context);
                assert_eq!(polled.is_ready(), taken == 49, "batch {taken}");
                let Ok(Some(QueueItem::Batch(batch))) = queue.take() else {
                    panic!("batch {taken}")
                };
                assert_eq!((batch.first_position(), batch.len()), (taken, 1));
                assert!(queue.take().is_ok_and(|next| next.is_none()), "one block fills it");
            }
        });
    }
}
