//! [`WebSocketConnection`]: a WebSocket's connection, from messages down to the socket.
//!
//! ```text
//! decoder ◀── receive ─── socket ◀── flush ─── out: frames, whole, one write for many
//!    └ pings, pongs, closes are dealt with here; messages are given out
//! ```
//!
//! What is to be sent is bounded by who sends: the next is encoded only once the
//! line [is free](WebSocketConnection::has_sent_all); a pong replaces one that was not sent yet. Each
//! wait is cancel safe.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::net::TcpStream;
use tungstenite::protocol::frame::coding::OpCode;

use super::close_cause::CloseCause;
use super::decoder::{DecodedMessage, MessageDecoder};
use super::frame;
use crate::handover::Socket;
use crate::peer::{self, PingEvent, PingTimer};
use crate::shutdown::Shutdown;

/// What the system takes beyond what the peer has room for: with its usual
/// megabytes it would be long before a slow reader is seen to read.
const UNSENT_BYTES_MAX: u32 = 128 << 10;
/// The code of a close for a reason that no peer is likely to hear.
const TIMED_OUT: u16 = 1011;

/// See the module.
#[derive(Debug)]
pub(super) struct WebSocketConnection {
    tcp: TcpStream,
    timeout: Duration,
    decoder: MessageDecoder,
    /// What is being sent: whole frames, but for what of the first is sent already.
    out: Bytes,
    /// Frames that come behind it.
    queued: Vec<u8>,
    pong: Option<BytesMut>,
    is_ping_due: bool,
    /// The system took nothing of it when it was last asked.
    is_blocked: bool,
    /// The peer was sent something, pings apart, since it was last heard.
    has_to_read: bool,
    /// Nothing can be sent any more; what was received before can be read.
    is_write_closed: bool,
    /// The peer has said its last, or what it must not: nothing behind that counts.
    is_read_done: bool,
    ping: PingTimer,
}

/// What came of an attempt to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    /// So many bytes.
    Bytes(usize),
    /// Nothing is there now.
    Nothing,
}

/// Whether the peer is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listen {
    Yes,
    /// There is no room for what it says; its silence does not count.
    No,
}

impl WebSocketConnection {
    pub(super) fn new(
        socket: Socket,
        timeout: Duration,
        mut decoder: MessageDecoder,
    ) -> WebSocketConnection {
        decoder.received().extend_from_slice(&socket.received);
        // Who does not read may stay while it is heard of, and the system would close
        // its connection: here that is for `look`.
        let system = socket2::SockRef::from(&socket.tcp);
        let _ = system.set_tcp_user_timeout(None);
        let _ = system.set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
        WebSocketConnection {
            tcp: socket.tcp,
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

    /// The next whole message of what was received; pings and pongs on the way to
    /// it are dealt with.
    ///
    /// # Errors
    /// The peer has closed, or has broken the rules; from then on there is nothing.
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

    /// Bytes of a message that is not whole yet.
    pub(super) fn held_bytes(&self) -> usize {
        self.decoder.held_bytes()
    }

    /// Reads what is there, at most about so much; never waits.
    ///
    /// # Errors
    /// The peer has closed, or is gone.
    pub(super) fn receive(&mut self, bytes_max: usize) -> Result<Received, CloseCause> {
        let received = self.decoder.received();
        received.reserve(bytes_max);
        match self.tcp.try_read_buf(received) {
            Ok(0) => Err(CloseCause::Gone("the peer ended the connection without a close")),
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

    /// Whether all that was to be sent has been handed to the system.
    pub(super) fn has_sent_all(&self) -> bool {
        self.out.is_empty() && self.queued.is_empty()
    }

    /// Whether the peer can be told nothing any more.
    pub(super) fn is_write_closed(&self) -> bool {
        self.is_write_closed
    }

    /// Sends these frames; only to be called while the line is free. They are let
    /// go of once they are sent.
    pub(super) fn send(&mut self, frames: Bytes) {
        self.out = frames;
        self.has_to_read = true;
    }

    /// Puts a short message behind what is to be sent.
    pub(super) fn queue(&mut self, opcode: OpCode, payload: &[u8]) {
        frame::encode(opcode, payload, &mut self.queued);
        self.has_to_read = true;
    }

    /// Sends what the system takes now; says whether that was all.
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
            let count = match self.tcp.try_write(&self.out) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_blocked = true;
                    return false;
                }
                // What the peer sent before it went is still to be read.
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
                // Not what is left of them, which would keep all of it.
                self.out = Bytes::new();
            }
        }
    }

    /// Sends, and resolves when something can be received, or when what was to be
    /// sent has been. Cancel safe.
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
                ready = self.tcp.readable(), if listens => return Ok(ready?),
                ready = self.tcp.writable(), if !has_sent_all => ready?,
                due = self.ping.due(), if listens => match due {
                    PingEvent::SendPing => self.is_ping_due = true,
                    PingEvent::CheckPeer => self.check_peer()?,
                },
                // Nothing to send and nobody to listen to: something else ends this.
                () = std::future::pending(), if !listens && has_sent_all => {}
            }
        }
    }

    /// Whether to go on with a peer that says nothing and takes nothing.
    fn check_peer(&mut self) -> Result<(), CloseCause> {
        if peer::has_unread_bytes(&self.tcp) {
            // It is this side that is late.
            self.ping.restart();
            return Ok(());
        }
        let has_sent_all = self.has_sent_all();
        if !peer::is_gone(&self.tcp, self.timeout) {
            // All that it was sent may lie unread where it is, the ping behind it.
            let may_be_busy = has_sent_all && self.has_to_read;
            if may_be_busy || !self.ping.is_expired() {
                return Ok(());
            }
        }
        let reason = "nothing came for tcp_timeout, not even an answer to a ping";
        if has_sent_all {
            frame::encode_close(Some(TIMED_OUT), reason, &mut self.queued);
        }
        if !self.flush() {
            // What is left to send would be kept for nobody.
            let _ = socket2::SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
        }
        Err(CloseCause::Gone(reason))
    }

    /// Sends what the system takes now, without waiting.
    pub(super) fn flush_now(&mut self) {
        let _ = self.flush();
    }

    /// The peer was not listened to for a while, through no fault of its own.
    pub(super) fn restart_ping_timer(&mut self) {
        self.ping.restart();
    }

    /// Says why it is over, after what was to be sent before, and ends the
    /// connection.
    pub(super) async fn close(self, ended: &CloseCause, shutdown: &Shutdown) {
        let Some((code, reason)) = ended.close_frame() else { return };
        let WebSocketConnection { tcp, timeout, decoder, out, queued, .. } = self;
        // Of a part of a message nothing is kept while the peer takes its time.
        drop(decoder);
        let mut final_bytes = [&out[..], &queued].concat();
        frame::encode_close(code, &reason, &mut final_bytes);
        // A peer that goes away before it has heard is not worth a word. What counts
        // `out`'s memory counts it until then.
        let _ = peer::close(&tcp, &final_bytes, timeout, shutdown).await;
    }
}
