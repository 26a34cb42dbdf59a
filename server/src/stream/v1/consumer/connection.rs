//! [`ConsumerConnection`]: a consumer's socket after its 101.
//!
//! ```text
//! read blocks ─▶ frame ─▶ send queue ─▶ socket
//!      ▲           at the end: heartbeat   │
//!      └─────────────── all sent ◀─────────┘
//! ```
//!
//! Invariant: the next blocks are read only after all before them were sent. So a
//! consumer that does not read costs at most one frame.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use styx_protocol::{Position, frame};

use super::socket::{ConsumerEnd, ConsumerSocket};
use crate::app::App;
use crate::handover;
use crate::peer::{self, CloseLimits, HeartbeatTimeouts};
use crate::session::{BlockReader, OpenLog, StoredBlocks};

/// Frames in a row before the task yields to others, if they are small.
const FRAMES_MAX: u32 = 8;
/// Bytes in a row before it yields, at the end of a frame: 256 KiB. Others on its thread wait for as
/// long as it takes to send them.
const TURN_BYTES_MAX: usize = 256 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct ConsumerConnection {
    app: Arc<App>,
    log: OpenLog,
    timeouts: HeartbeatTimeouts,
    /// The end of the requested range; `None` to follow the log.
    until: Option<Position>,
    reader: BlockReader,
    socket: ConsumerSocket,
}

impl ConsumerConnection {
    pub(super) fn new(
        app: Arc<App>,
        log: OpenLog,
        timeouts: HeartbeatTimeouts,
        until: Option<Position>,
        reader: BlockReader,
        socket: ConsumerSocket,
    ) -> ConsumerConnection {
        ConsumerConnection { app, log, timeouts, until, reader, socket }
    }

    /// Serves the connection until it ends.
    pub(super) async fn serve(mut self) {
        if let Err(error) = self.run().await {
            tracing::debug!("a consumer's connection ended: {error}");
        }
    }

    async fn run(&mut self) -> io::Result<()> {
        let mut has_lost_access = false;
        match self.send_all().await {
            Ok(()) => {
                self.reader.sent();
                frame::encode_end(false, self.socket.send_queue.frames());
            }
            Err(ConsumerEnd::Failed(fault)) => {
                has_lost_access = handover::has_lost_access(fault.code);
                let code = fault.code.as_str();
                tracing::debug!(code, "a consumer's stream ends: {}", fault.message);
                fault.encode(self.socket.send_queue.frames());
            }
            Err(ConsumerEnd::Disconnected(error)) => return Err(error),
        }
        let final_bytes = self.socket.send_queue.take();
        let transport = &self.socket.transport;
        let limits = CloseLimits::silence(self.timeouts.ours).shorter_if(has_lost_access);
        peer::close(transport, &final_bytes, limits, &self.app.shutdown).await
    }

    /// Sends blocks until there are no more to send.
    async fn send_all(&mut self) -> Result<(), ConsumerEnd> {
        let (mut frames, mut bytes) = (0, 0);
        let mut is_told = false;
        loop {
            let position = self.reader.position();
            if !std::mem::replace(&mut is_told, true) && position >= self.log.end_position() {
                self.socket.queue_heartbeat();
            }
            self.socket.flush().await?;
            if self.until.is_some_and(|until| position >= until) {
                return Ok(());
            }
            match self.socket.run_while_serving(self.reader.next()).await?? {
                Some(blocks) => {
                    bytes += self.send(blocks).await?;
                    is_told = false;
                }
                None => self.socket.run_while_serving(self.reader.wait()).await??,
            }
            frames += 1;
            if frames >= FRAMES_MAX || bytes >= TURN_BYTES_MAX {
                (frames, bytes) = (0, 0);
                self.socket.check_ending()?;
                tokio::task::yield_now().await;
            }
        }
    }

    /// Puts blocks into a frame. Blocks in memory are sent together with what
    /// follows. Returns their bytes, without those that another thread has sent.
    async fn send(&mut self, blocks: StoredBlocks) -> Result<usize, ConsumerEnd> {
        match blocks {
            StoredBlocks::Parts(parts) => {
                let bytes = parts.iter().map(Bytes::len).sum();
                let send_queue = &mut self.socket.send_queue;
                send_queue.frames().extend_from_slice(&frame::blocks_header(bytes));
                parts.into_iter().for_each(|part| send_queue.push(part));
                Ok(bytes)
            }
            StoredBlocks::Span(span) => self.socket.send_span(span).await.map(|()| 0),
        }
    }
}
