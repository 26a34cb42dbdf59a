//! [`WebSocketConnection`]: one WebSocket, from messages down to the socket.
//!
//! ```text
//! decoder ◀── receive ─── socket ◀── flush ─── out: frames, whole, one write for many
//!    └ handles pings, pongs and closes; returns messages
//! ```
//!
//! The callers bound what is queued: they encode the next frames only after
//! [all is sent](WebSocketConnection::has_sent_all). A pong replaces one that was
//! not sent yet. Every wait is cancel safe.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tungstenite::protocol::frame::coding::OpCode;

use super::close_cause::CloseCause;
use super::decoder::{DecodedMessage, MessageDecoder};
use super::frame;
use crate::handover::Socket;
use crate::peer::{self, CloseLimits, PingEvent, PingTimer};
use crate::shutdown::Shutdown;
use crate::transport::Transport;

/// How much the kernel buffers beyond the peer's window. With the usual megabytes
/// it would take long to see that a slow reader reads.
const UNSENT_BYTES_MAX: u32 = 128 << 10;
/// The close code of a peer that was silent too long; it hardly ever arrives.
const TIMED_OUT: u16 = 1011;

/// See the module.
#[derive(Debug)]
pub(super) struct WebSocketConnection {
    transport: Transport,
    timeout: Duration,
    decoder: MessageDecoder,
    /// Being sent: whole frames, except that part of the first may be sent already.
    out: Bytes,
    /// Frames to send after `out`.
    queued: Vec<u8>,
    pong: Option<BytesMut>,
    is_ping_due: bool,
    /// The kernel accepted nothing when it was last tried.
    is_blocked: bool,
    /// Something other than a ping was sent since bytes last arrived.
    has_to_read: bool,
    /// Nothing can be sent any more; what was received can still be read.
    is_write_closed: bool,
    /// The peer has closed or broken a rule: what follows is ignored.
    is_read_done: bool,
    ping: PingTimer,
}

/// The result of an attempt to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    /// This many bytes.
    Bytes(usize),
    /// Nothing can be read now.
    Nothing,
}

/// Whether the socket is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listen {
    Yes,
    /// There is no capacity or memory for more; the peer's silence does not count.
    No,
}

impl WebSocketConnection {
    pub(super) fn new(
        socket: Socket,
        timeout: Duration,
        mut decoder: MessageDecoder,
    ) -> WebSocketConnection {
        decoder.received().extend_from_slice(&socket.received);
        // A peer that does not read may stay while its kernel answers. The kernel's
        // timeout would close it, so `check_peer` decides instead.
        let options = socket.transport.socket().options();
        let _ = options.set_tcp_user_timeout(None);
        let _ = options.set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
        WebSocketConnection {
            transport: socket.transport,
            timeout,
            decoder,
            out: Bytes::new(),
            queued: Vec::new(),
            pong: None,
            is_ping_due: false,
            is_blocked: false,
            has_to_read: false,
            is_write_closed: false,
            is_read_done: false,
            ping: PingTimer::new(timeout),
        }
    }

    /// The next whole message that was received. Handles the pings and pongs before
    /// it.
    ///
    /// # Errors
    /// The peer has closed or broken a rule; after that it returns nothing.
    pub(super) fn next(&mut self) -> Result<Option<BytesMut>, CloseCause> {
        if self.is_read_done {
            return Ok(None);
        }
        let next = self.next_message();
        self.is_read_done = next.is_err();
        next
    }

    fn next_message(&mut self) -> Result<Option<BytesMut>, CloseCause> {
        loop {
            match self.decoder.next()? {
                Some(DecodedMessage::Data(payload)) => return Ok(Some(payload)),
                Some(DecodedMessage::Ping(payload)) => self.pong = Some(BytesMut::from(&*payload)),
                Some(DecodedMessage::Pong) => {}
                Some(DecodedMessage::Close(code)) => return Err(CloseCause::ByPeer(code)),
                None => return Ok(None),
            }
        }
    }

    /// Takes the arrived part of a message whose rest is missing, if the part is large; see
    /// [`MessageDecoder::take_part`].
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub(super) fn take_part(&mut self, bytes_min: usize) -> Result<Option<BytesMut>, CloseCause> {
        if self.is_read_done {
            return Ok(None);
        }
        let part = self.decoder.take_part(bytes_min);
        self.is_read_done = part.is_err();
        Ok(part?)
    }

    /// Bytes of a message that has not arrived whole yet, except the parts that were taken.
    pub(super) fn held_bytes(&self) -> usize {
        self.decoder.held_bytes()
    }

    /// Reads about `bytes_max` at most; never waits.
    ///
    /// # Errors
    /// The peer has closed, or is gone.
    pub(super) fn receive(&mut self, bytes_max: usize) -> Result<Received, CloseCause> {
        let received = self.decoder.received();
        received.reserve(bytes_max);
        match self.transport.try_read_buf(received) {
            Ok(0) => Err(CloseCause::Gone("the peer disconnected without a close frame")),
            Ok(count) => {
                self.has_to_read = false;
                self.ping.restart();
                Ok(Received::Bytes(count))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.decoder.shrink();
                Ok(Received::Nothing)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the kernel has taken everything that was queued.
    pub(super) fn has_sent_all(&self) -> bool {
        self.out.is_empty() && self.queued.is_empty()
    }

    /// Whether nothing can be sent any more.
    pub(super) fn is_write_closed(&self) -> bool {
        self.is_write_closed
    }

    /// Sends these frames, and drops them when they are sent. Call it only while
    /// everything before is sent.
    pub(super) fn send(&mut self, frames: Bytes) {
        self.out = frames;
        self.has_to_read = true;
    }

    /// Queues a short message after what is to be sent.
    pub(super) fn queue(&mut self, opcode: OpCode, payload: &[u8]) {
        frame::encode(opcode, payload, &mut self.queued);
        self.has_to_read = true;
    }

    /// Sends what the kernel takes now; returns whether that was everything.
    fn flush(&mut self) -> bool {
        loop {
            if self.is_write_closed {
                (self.out, self.queued, self.pong) = (Bytes::new(), Vec::new(), None);
                self.is_ping_due = false;
            }
            if self.out.is_empty() {
                if let Some(payload) = self.pong.take() {
                    frame::encode(frame::PONG, &payload, &mut self.queued);
                }
                if std::mem::take(&mut self.is_ping_due) {
                    frame::encode(frame::PING, &[], &mut self.queued);
                }
                self.out = std::mem::take(&mut self.queued).into();
                if self.out.is_empty() {
                    return true;
                }
            }
            let count = match self.transport.try_write(&self.out) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_blocked = true;
                    return false;
                }
                // What the peer sent before it disconnected is still read.
                Err(_) => {
                    self.is_write_closed = true;
                    continue;
                }
            };
            if std::mem::take(&mut self.is_blocked) {
                self.ping.restart();
            }
            self.out.advance(count);
            if self.out.is_empty() {
                // An empty slice of the frames would keep all of them in memory.
                self.out = Bytes::new();
            }
        }
    }

    /// Sends, and resolves when something can be received or when everything queued
    /// has been sent. Cancel safe.
    ///
    /// # Errors
    /// The peer is gone, or was silent for too long.
    pub(super) async fn ready(&mut self, listen: Listen) -> Result<(), CloseCause> {
        let had_sent_all = self.has_sent_all();
        let listens = listen == Listen::Yes;
        loop {
            let has_sent_all = self.flush();
            if has_sent_all && !had_sent_all {
                return Ok(());
            }
            tokio::select! {
                ready = self.transport.readable(), if listens => return Ok(ready?),
                ready = self.transport.writable(), if !has_sent_all => ready?,
                due = self.ping.due(), if listens => match due {
                    PingEvent::SendPing => self.is_ping_due = true,
                    PingEvent::CheckPeer => self.check_peer()?,
                },
                // Nothing to send and nothing to read: the caller waits for something else.
                () = std::future::pending(), if !listens && has_sent_all => {}
            }
        }
    }

    /// Decides whether to keep a peer that sends nothing and reads nothing.
    ///
    /// # Errors
    /// The peer is gone, or has read everything but did not answer the ping.
    fn check_peer(&mut self) -> Result<(), CloseCause> {
        if self.transport.has_unread() {
            // The server is late, not the peer.
            self.ping.restart();
            return Ok(());
        }
        let has_sent_all = self.has_sent_all();
        if !peer::is_gone(&self.transport, self.timeout) {
            // The peer may not have read what was sent, nor the ping after it.
            let may_be_busy = has_sent_all && self.has_to_read;
            if may_be_busy || !self.ping.is_expired() {
                return Ok(());
            }
        }
        let reason = "the peer was silent for tcp_timeout and did not answer a ping";
        if has_sent_all {
            frame::encode_close(Some(TIMED_OUT), reason, &mut self.queued);
        }
        if !self.flush() {
            // A closed socket would keep the unsent bytes, and nobody reads them.
            let _ = self.transport.socket().options().set_linger(Some(Duration::ZERO));
        }
        Err(CloseCause::Gone(reason))
    }

    /// Sends what the kernel takes now, without waiting.
    pub(super) fn flush_now(&mut self) {
        let _ = self.flush();
    }

    /// The socket was not read for a while; the peer's silence did not count.
    pub(super) fn restart_ping_timer(&mut self) {
        self.ping.restart();
    }

    /// Sends what is queued and a close frame, and closes the connection.
    pub(super) async fn close(self, ended: &CloseCause, shutdown: &Shutdown) {
        let Some((code, reason)) = ended.close_frame() else { return };
        let WebSocketConnection { transport, timeout, decoder, out, queued, .. } = self;
        // Frees a partial message now, because the peer may take long to close.
        drop(decoder);
        let mut final_bytes = [&out[..], &queued].concat();
        frame::encode_close(code, &reason, &mut final_bytes);
        // A peer that disconnects first is not an error. `out` counts as response
        // memory until this is done.
        let limits = CloseLimits::silence(timeout).shorter_if(ended.has_lost_access());
        let _ = peer::close(&transport, &final_bytes, limits, shutdown).await;
    }
}
