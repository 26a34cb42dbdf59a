//! [`Connection`]: a consumer's socket after its 101.
//!
//! ```text
//! read blocks ─▶ frame ─▶ outbox ─▶ socket
//!      ▲            caught up: heartbeat │
//!      └────────────── all sent ◀────────┘
//! ```
//!
//! Invariant: the next blocks are read only when all before them were sent, so
//! that a consumer that stalls costs no more than one frame.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use styx_protocol::{Position, frame};

use super::peer::{Peer, Stop};
use crate::app::App;
use crate::handover::Socket;
use crate::peer;
use crate::peer::HeartbeatTimeouts;
use crate::session::{BlockReading, OpenLog, Stretch};

/// Frames in a row, before others have their turn.
const FRAMES_MAX: u32 = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct Connection {
    app: Arc<App>,
    log: OpenLog,
    timeouts: HeartbeatTimeouts,
    /// Where the asked range ends; `None` when it goes on for ever.
    until: Option<Position>,
    reading: BlockReading,
    peer: Peer,
}

impl Connection {
    pub(super) fn new(
        app: Arc<App>,
        log: OpenLog,
        timeouts: HeartbeatTimeouts,
        until: Option<Position>,
        reading: BlockReading,
        socket: Socket,
    ) -> Connection {
        let peer = Peer::new(Arc::clone(&app), log.clone(), timeouts, socket);
        Connection { app, log, timeouts, until, reading, peer }
    }

    /// Serves it until it ends.
    pub(super) async fn serve(mut self) {
        if let Err(error) = self.run().await {
            tracing::debug!("a consumer's connection ended: {error}");
        }
    }

    async fn run(&mut self) -> io::Result<()> {
        match self.send_all().await {
            Ok(()) => {
                self.reading.sent();
                frame::encode_end(false, self.peer.outbox.frames());
            }
            Err(Stop::Fault(fault)) => {
                let code = fault.code.as_str();
                tracing::debug!(code, "a consumer's stream ends: {}", fault.message);
                fault.encode(self.peer.outbox.frames());
            }
            Err(Stop::Gone(error)) => return Err(error),
        }
        let last_words = self.peer.outbox.take();
        let tcp = &self.peer.tcp;
        peer::close(tcp, &last_words, self.timeouts.ours, &self.app.shutdown).await
    }

    /// Sends blocks until there are no more to send.
    async fn send_all(&mut self) -> Result<(), Stop> {
        let mut frames = 0;
        let mut is_told = false;
        loop {
            let position = self.reading.position();
            if !std::mem::replace(&mut is_told, true) && position >= self.log.end_position() {
                self.peer.beat();
            }
            self.peer.flush().await?;
            if self.until.is_some_and(|until| position >= until) {
                return Ok(());
            }
            match self.peer.attend(self.reading.next()).await?? {
                Some(stretch) => {
                    self.send(stretch).await?;
                    is_told = false;
                }
                None => self.peer.attend(self.reading.wait()).await??,
            }
            frames += 1;
            if frames % FRAMES_MAX == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Puts blocks into a frame; those in memory are sent with what follows.
    async fn send(&mut self, stretch: Stretch) -> Result<(), Stop> {
        match stretch {
            Stretch::Parts(parts) => {
                let bytes = parts.iter().map(Bytes::len).sum();
                let outbox = &mut self.peer.outbox;
                outbox.frames().extend_from_slice(&frame::blocks_header(bytes));
                parts.into_iter().for_each(|part| outbox.push(part));
                Ok(())
            }
            Stretch::Span(span) => self.peer.send_span(span).await,
        }
    }
}
