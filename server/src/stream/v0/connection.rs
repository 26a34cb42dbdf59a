//! [`Styx0Connection`]: a connection's bytes in both directions, and its signs of life.
//!
//! ```text
//! socket ─▶ decoder       one buffer, grown while there is work
//! socket ◀─ outgoing      whole messages
//! ```
//!
//! Invariant: both buffers are freed when nothing has moved for a while, so an
//! idle connection holds almost no memory.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use futures_util::FutureExt;
use styx_protocol::styx0::{self, MessageDecoder};

use crate::app::App;
use crate::handover::{self, Ending, EndingBegun, Socket};
use crate::peer::{
    self, CloseLimits, HeartbeatEvent, HeartbeatTimeouts, HeartbeatTimer, TcpLiveness,
};
use crate::transport::Transport;

/// The size of the first read of a burst; it doubles while reads fill it.
pub(super) const READ_BYTES_MIN: usize = 8 << 10;
const BUFFER_BYTES_MAX: usize = 1 << 20;
/// Spare capacity that an idle buffer may keep.
const SPARE_BYTES: usize = 256;
/// The most bytes that are copied to a small buffer to free a large one.
const MOVED_BYTES_MAX: usize = 4 << 10;
/// How long without work until memory is freed.
pub(super) const IDLE_AFTER: Duration = Duration::from_millis(100);

/// How a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Styx0End {
    /// Everything is done: only the FIN follows.
    Finished,
    /// With a failure: error 0, then the FIN.
    Failed,
    /// The connection is gone, so nothing more is sent.
    Disconnected,
}

/// What happened on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Styx0Event {
    /// Bytes arrived, or the peer closed its side.
    Received,
    /// The kernel has taken everything that was queued.
    Sent,
    /// The peer was silent for its whole timeout.
    PeerSilent,
    /// The server is stopping, or the token is no longer valid.
    MustEnd,
    /// The connection is gone.
    Disconnected,
}

/// See the module.
pub(super) struct Styx0Connection {
    app: Arc<App>,
    transport: Transport,
    timeouts: HeartbeatTimeouts,
    pub(super) heartbeat: HeartbeatTimer,
    liveness: TcpLiveness,
    pub(super) decoder: MessageDecoder,
    read_bytes: usize,
    read_bytes_max: usize,
    /// The peer has closed its side. What it sent before may not be decoded yet.
    pub(super) has_finished: bool,
    pub(super) outgoing: BytesMut,
    /// How many bytes of `outgoing` were sent.
    sent: usize,
    ending: EndingBegun,
    is_ending: bool,
    /// It ends because the token is no longer valid.
    has_lost_access: bool,
}

impl Styx0Connection {
    /// Takes over a connection. The bytes that arrived with the handshake are
    /// decoded first.
    pub(super) fn new(
        app: &Arc<App>,
        socket: Socket,
        timeouts: HeartbeatTimeouts,
        payload_bytes_max: usize,
        ending: Ending,
    ) -> Styx0Connection {
        let Socket { transport, received } = socket;
        // A peer that sends heartbeats may stop reading for any time.
        #[cfg(target_os = "linux")]
        let _ = transport.socket().options().set_tcp_user_timeout(None);
        let mut decoder = MessageDecoder::new(payload_bytes_max);
        if !received.is_empty() {
            decoder.push(&received);
        }
        let app = Arc::clone(app);
        Styx0Connection {
            transport,
            timeouts,
            heartbeat: HeartbeatTimer::new(timeouts),
            liveness: TcpLiveness::new(timeouts.ours),
            decoder,
            read_bytes: READ_BYTES_MIN,
            read_bytes_max: app.config.tcp_read_buffer_size.clamp(READ_BYTES_MIN, BUFFER_BYTES_MAX),
            has_finished: false,
            outgoing: BytesMut::new(),
            sent: 0,
            ending: ending.begun(),
            is_ending: false,
            has_lost_access: false,
            app,
        }
    }

    /// The bytes in the receive buffer, and its capacity.
    pub(super) fn held_bytes(&mut self) -> (usize, usize) {
        let buffer = self.decoder.buffer();
        (buffer.len(), buffer.capacity())
    }

    /// How much to read at once: more while more arrives.
    pub(super) fn read_bytes(&self) -> usize {
        self.read_bytes
    }

    /// The next read is small again.
    pub(super) fn reset_read_bytes(&mut self) {
        self.read_bytes = READ_BYTES_MIN;
    }

    /// Waits until something happens, and reads at most `bytes_max`. Sends heartbeats
    /// while it waits. Cancel safe.
    pub(super) async fn event(&mut self, bytes_max: usize) -> Styx0Event {
        loop {
            let may_read = bytes_max > 0 && !self.has_finished;
            let must_write = self.has_unsent();
            let (transport, has_finished) = (&self.transport, self.has_finished);
            // Nobody is reading, or bytes arrived while this server was busy.
            let is_excused = || !has_finished && (!may_read || transport.has_unread());
            let event = tokio::select! {
                ready = self.transport.readable(), if may_read => match ready {
                    Ok(()) => self.receive(bytes_max),
                    Err(_) => Some(Styx0Event::Disconnected),
                },
                ready = self.transport.writable(), if must_write => match ready {
                    Ok(()) => self.flush(),
                    Err(_) => Some(Styx0Event::Disconnected),
                },
                error = &mut self.ending, if !self.is_ending => {
                    tracing::debug!("a styx/0 connection ends: {error}");
                    self.is_ending = true;
                    self.has_lost_access = handover::has_lost_access(error.code);
                    Some(Styx0Event::MustEnd)
                }
                due = self.heartbeat.due(is_excused) => self.due(due),
                gone = self.liveness.gone(transport) => {
                    tracing::debug!("a styx/0 connection ended: {gone}");
                    Some(Styx0Event::Disconnected)
                }
            };
            if let Some(event) = event {
                return event;
            }
        }
    }

    /// Whether the connection has to end. A connection that never waits must ask.
    pub(super) fn must_end(&mut self) -> bool {
        if !self.is_ending
            && let Some(error) = (&mut self.ending).now_or_never()
        {
            self.is_ending = true;
            self.has_lost_access = handover::has_lost_access(error.code);
        }
        self.is_ending
    }

    /// Reads until the socket is empty or `bytes_max` bytes have arrived.
    fn receive(&mut self, bytes_max: usize) -> Option<Styx0Event> {
        let mut received = 0;
        while received < bytes_max {
            let room = (bytes_max - received).min(BUFFER_BYTES_MAX);
            let buffer = self.decoder.buffer();
            buffer.reserve(room);
            match self.transport.try_read_buf(&mut buffer.limit(room)) {
                Ok(0) => {
                    self.has_finished = true;
                    self.heartbeat.note_received();
                    return Some(Styx0Event::Received);
                }
                Ok(count) => received += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => {
                    tracing::debug!("a styx/0 connection ended: {error}");
                    return Some(Styx0Event::Disconnected);
                }
            }
        }
        if received == 0 {
            return None;
        }
        if received >= self.read_bytes {
            self.read_bytes = (self.read_bytes * 2).min(self.read_bytes_max);
        }
        self.heartbeat.note_received();
        Some(Styx0Event::Received)
    }

    /// Sends what the kernel takes now.
    pub(super) fn flush(&mut self) -> Option<Styx0Event> {
        while let Some(rest) = self.outgoing.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.transport.try_write(rest) {
                Ok(count) => {
                    self.sent += count;
                    self.heartbeat.note_sent();
                    if self.has_finished {
                        // Reading is the only sign of life that this peer has left.
                        self.heartbeat.note_received();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) => {
                    tracing::debug!("a styx/0 connection ended: {error}");
                    return Some(Styx0Event::Disconnected);
                }
            }
        }
        self.outgoing.clear();
        self.sent = 0;
        Some(Styx0Event::Sent)
    }

    /// Whether something is queued to be sent.
    pub(super) fn has_unsent(&self) -> bool {
        !self.outgoing.is_empty()
    }

    fn due(&mut self, due: HeartbeatEvent) -> Option<Styx0Event> {
        match due {
            HeartbeatEvent::SendHeartbeat => {
                self.heartbeat.note_sent();
                // A heartbeat would arrive no sooner than what is queued.
                if self.has_unsent() {
                    return None;
                }
                styx0::encode_heartbeat(&mut self.outgoing);
                self.flush().filter(|event| *event == Styx0Event::Disconnected)
            }
            HeartbeatEvent::PeerSilent => Some(Styx0Event::PeerSilent),
        }
    }

    /// Whether it holds unused memory.
    pub(super) fn has_spare_memory(&mut self) -> bool {
        is_mostly_empty(self.decoder.buffer())
            || (!self.has_unsent() && self.outgoing.capacity() > 0)
    }

    /// Frees unused memory.
    pub(super) fn release_memory(&mut self) {
        self.reset_read_bytes();
        let buffer = self.decoder.buffer();
        if is_mostly_empty(buffer) {
            *buffer = BytesMut::from(&**buffer);
        }
        if !self.has_unsent() {
            self.outgoing = BytesMut::new();
        }
    }

    /// Sends what is queued, then closes the connection.
    pub(super) async fn close(mut self, end: Styx0End) {
        match end {
            Styx0End::Disconnected => return,
            Styx0End::Failed => styx0::encode_error(&mut self.outgoing),
            Styx0End::Finished => {}
        }
        *self.decoder.buffer() = BytesMut::new();
        let final_bytes = self.outgoing.get(self.sent..).unwrap_or_default();
        let limits = CloseLimits::silence(self.timeouts.ours).shorter_if(self.has_lost_access);
        let closed = peer::close(&self.transport, final_bytes, limits, &self.app.shutdown).await;
        if let Err(error) = closed {
            tracing::debug!("a styx/0 connection was not closed by its peer: {error}");
        }
    }
}

fn is_mostly_empty(buffer: &BytesMut) -> bool {
    buffer.len() <= MOVED_BYTES_MAX && buffer.capacity() > buffer.len() + SPARE_BYTES
}
