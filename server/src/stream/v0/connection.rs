//! [`Styx0Connection`]: a connection's bytes in both directions, and its signs of life.
//!
//! ```text
//! socket ─▶ decoder       one buffer, grown while there is work
//! socket ◀─ outgoing      whole messages
//! ```
//!
//! Invariant: both buffers are let go when nothing has moved for a while, so that
//! an idle connection holds next to nothing.

use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use styx_protocol::styx0::{self, Decoder};
use tokio::net::TcpStream;

use crate::app::App;
use crate::handover::Socket;
use crate::peer::{
    self, HeartbeatEvent, HeartbeatTimeouts, HeartbeatTimer, TcpLiveness, has_unread_bytes,
};

/// What the first read of a burst takes; doubled while reads fill it.
pub(super) const READ_BYTES_MIN: usize = 8 << 10;
const BUFFER_BYTES_MAX: usize = 1 << 20;
/// What a buffer may have beyond what is in it for as long as it likes.
const SPARE_BYTES: usize = 256;
/// What is moved to another buffer to let go of the rest.
const MOVED_BYTES_MAX: usize = 4 << 10;
/// After how long without work memory is let go.
pub(super) const IDLE_AFTER: Duration = Duration::from_millis(100);

/// How a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Styx0End {
    /// All is done: nothing but the FIN.
    Finished,
    /// Not as it should: error 0, then the FIN.
    Failed,
    /// There is nobody left to tell.
    Disconnected,
}

/// What happened on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Styx0Event {
    /// Bytes came, or the end of them.
    Received,
    /// All that was to be sent was handed to the system.
    Sent,
    /// The peer was silent for all its time.
    PeerSilent,
    /// The server stops.
    Stopping,
    /// The connection is gone.
    Disconnected,
}

/// See the module.
pub(super) struct Styx0Connection {
    app: Arc<App>,
    tcp: TcpStream,
    timeouts: HeartbeatTimeouts,
    pub(super) heartbeat: HeartbeatTimer,
    liveness: TcpLiveness,
    pub(super) decoder: Decoder,
    read_bytes: usize,
    read_bytes_max: usize,
    /// The peer has closed its side; what it sent before may still be undecoded.
    pub(super) has_finished: bool,
    pub(super) outgoing: BytesMut,
    /// How much of it was sent.
    sent: usize,
    stopping: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_stopping: bool,
}

impl Styx0Connection {
    /// Takes a connection over; what came with the handshake is there to be
    /// decoded.
    pub(super) fn new(
        app: &Arc<App>,
        socket: Socket,
        timeouts: HeartbeatTimeouts,
        payload_bytes_max: usize,
    ) -> Styx0Connection {
        let Socket { tcp, received } = socket;
        // Who still sends heartbeats may stop reading for as long as it likes.
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&tcp).set_tcp_user_timeout(None);
        let mut decoder = Decoder::new(payload_bytes_max);
        if !received.is_empty() {
            decoder.push(&received);
        }
        let (app, waiter) = (Arc::clone(app), Arc::clone(app));
        Styx0Connection {
            tcp,
            timeouts,
            heartbeat: HeartbeatTimer::new(timeouts),
            liveness: TcpLiveness::new(timeouts.ours),
            decoder,
            read_bytes: READ_BYTES_MIN,
            read_bytes_max: app.config.tcp_read_buffer_size.clamp(READ_BYTES_MIN, BUFFER_BYTES_MAX),
            has_finished: false,
            outgoing: BytesMut::new(),
            sent: 0,
            stopping: Box::pin(async move { waiter.shutdown.begun().await }),
            is_stopping: false,
            app,
        }
    }

    /// Bytes in the buffer that it reads into, and how many that could hold.
    pub(super) fn held_bytes(&mut self) -> (usize, usize) {
        let buffer = self.decoder.buffer();
        (buffer.len(), buffer.capacity())
    }

    /// How much to read at once: more while more comes.
    pub(super) fn read_bytes(&self) -> usize {
        self.read_bytes
    }

    /// Begins with little again.
    pub(super) fn reset_read_bytes(&mut self) {
        self.read_bytes = READ_BYTES_MIN;
    }

    /// Waits until something happens; of what the peer sends, at most `bytes_max`
    /// is read. Heartbeats are sent on the way. Cancel safe.
    pub(super) async fn event(&mut self, bytes_max: usize) -> Styx0Event {
        loop {
            let may_read = bytes_max > 0 && !self.has_finished;
            let must_write = self.has_unsent();
            let (tcp, has_finished) = (&self.tcp, self.has_finished);
            // Nobody listens, or it came while this server was held up.
            let is_excused = || !has_finished && (!may_read || has_unread_bytes(tcp));
            let event = tokio::select! {
                ready = self.tcp.readable(), if may_read => match ready {
                    Ok(()) => self.receive(bytes_max),
                    Err(_) => Some(Styx0Event::Disconnected),
                },
                ready = self.tcp.writable(), if must_write => match ready {
                    Ok(()) => self.flush(),
                    Err(_) => Some(Styx0Event::Disconnected),
                },
                () = self.stopping.as_mut(), if !self.is_stopping => {
                    self.is_stopping = true;
                    Some(Styx0Event::Stopping)
                }
                due = self.heartbeat.due(is_excused) => self.due(due),
                gone = self.liveness.gone(tcp) => {
                    tracing::debug!("a styx/0 connection ended: {gone}");
                    Some(Styx0Event::Disconnected)
                }
            };
            if let Some(event) = event {
                return event;
            }
        }
    }

    /// Reads until the socket is empty or so much has come.
    fn receive(&mut self, bytes_max: usize) -> Option<Styx0Event> {
        let mut received = 0;
        while received < bytes_max {
            let room = (bytes_max - received).min(BUFFER_BYTES_MAX);
            let buffer = self.decoder.buffer();
            buffer.reserve(room);
            match self.tcp.try_read_buf(&mut buffer.limit(room)) {
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

    /// Sends what the system takes of what is to be sent.
    pub(super) fn flush(&mut self) -> Option<Styx0Event> {
        while let Some(rest) = self.outgoing.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.tcp.try_write(rest) {
                Ok(count) => {
                    self.sent += count;
                    self.heartbeat.note_sent();
                    if self.has_finished {
                        // It has no other way left to show that it is there.
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

    /// Whether something waits to be sent.
    pub(super) fn has_unsent(&self) -> bool {
        !self.outgoing.is_empty()
    }

    fn due(&mut self, due: HeartbeatEvent) -> Option<Styx0Event> {
        match due {
            HeartbeatEvent::SendHeartbeat => {
                self.heartbeat.note_sent();
                // Behind something else it would come no sooner than that.
                if self.has_unsent() {
                    return None;
                }
                styx0::encode_heartbeat(&mut self.outgoing);
                self.flush().filter(|event| *event == Styx0Event::Disconnected)
            }
            HeartbeatEvent::PeerSilent => Some(Styx0Event::PeerSilent),
        }
    }

    /// Whether memory is held that nothing is in.
    pub(super) fn has_spare_memory(&mut self) -> bool {
        is_mostly_empty(self.decoder.buffer())
            || (!self.has_unsent() && self.outgoing.capacity() > 0)
    }

    /// Lets go of memory that nothing is in.
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

    /// Ends the connection; what was to be sent is sent first.
    pub(super) async fn close(mut self, end: Styx0End) {
        match end {
            Styx0End::Disconnected => return,
            Styx0End::Failed => styx0::encode_error(&mut self.outgoing),
            Styx0End::Finished => {}
        }
        *self.decoder.buffer() = BytesMut::new();
        let final_bytes = self.outgoing.get(self.sent..).unwrap_or_default();
        let closed =
            peer::close(&self.tcp, final_bytes, self.timeouts.ours, &self.app.shutdown).await;
        if let Err(error) = closed {
            tracing::debug!("a styx/0 connection was not closed by its peer: {error}");
        }
    }
}

fn is_mostly_empty(buffer: &BytesMut) -> bool {
    buffer.len() <= MOVED_BYTES_MAX && buffer.capacity() > buffer.len() + SPARE_BYTES
}
