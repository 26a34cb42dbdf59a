//! [`Session`]: the keys of one connection, and the bytes between a front end and its
//! socket.
//!
//! ```text
//! socket ─▶ the thread's buffer ─decrypt─▶ front end's buffer   rest: incoming, plain
//! socket ◀─ the thread's buffer ◀─encrypt─ front end's slices   rest: outgoing
//! ```

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IoSlice};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::WriteTraffic;

use super::outgoing::{Outgoing, Via, send};
use super::records::{Received, ServerData, Step, read_bytes, starts_with_record, step};
use crate::transport::PlainSocket;

thread_local! {
    static INCOMING: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static OUTGOING: RefCell<Outgoing> = const { RefCell::new(Outgoing::new()) };
}

/// When a write is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accept {
    /// When the kernel has the ciphertext. After `WouldBlock`, the same bytes must be
    /// written again.
    WhenSent,
    /// When it is encrypted. It is sent by the next write or flush.
    WhenEncrypted,
}

/// See the module.
pub(crate) struct Session {
    connection: UnbufferedServerConnection,
    /// Ciphertext that has arrived and is not decrypted yet.
    incoming: Vec<u8>,
    /// Decrypted bytes that nobody has read yet.
    plain: Bytes,
    /// Ciphertext that the kernel has not taken yet.
    outgoing: BytesMut,
    /// How many bytes of the next write are in `outgoing` already.
    claimed: usize,
    /// A digest of these bytes, to notice a caller that writes others.
    #[cfg(debug_assertions)]
    claimed_digest: u64,
    /// The peer has closed its sending side.
    is_peer_closed: bool,
    /// The last message of this side is encrypted.
    is_closed: bool,
    failure: Option<rustls::Error>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("incoming", &self.incoming.len())
            .field("outgoing", &self.outgoing.len())
            .field("is_peer_closed", &self.is_peer_closed)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Continues after a handshake, with the bytes that arrived behind it: decrypted
    /// ones, and those that are not. The peer may have closed its side already.
    pub(super) fn new(
        connection: UnbufferedServerConnection,
        incoming: Vec<u8>,
        plain: Bytes,
        is_peer_closed: bool,
    ) -> Session {
        Session {
            connection,
            incoming,
            plain,
            outgoing: BytesMut::new(),
            claimed: 0,
            #[cfg(debug_assertions)]
            claimed_digest: 0,
            is_peer_closed,
            is_closed: false,
            failure: None,
        }
    }

    /// The result of the handshake.
    pub(crate) fn connection(&self) -> &UnbufferedServerConnection {
        &self.connection
    }

    /// Whether a read returns something without the socket.
    pub(super) fn has_input(&self) -> bool {
        !self.plain.is_empty()
            || self.is_peer_closed
            || self.failure.is_some()
            || starts_with_record(&self.incoming)
    }

    /// Whether the kernel has everything that was encrypted.
    #[cfg(test)]
    pub(super) fn has_sent_all(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// The memory of its buffers.
    #[cfg(test)]
    pub(super) fn kept_bytes(&self) -> usize {
        self.incoming.capacity() + self.plain.len() + self.outgoing.capacity()
    }

    /// Reads from the socket, if nothing is decrypted yet, and decrypts.
    pub(super) fn read(
        &mut self,
        socket: &PlainSocket,
        buffer: &mut impl BufMut,
    ) -> io::Result<usize> {
        let read = self.read_records(socket, buffer);
        if !self.outgoing.is_empty() {
            // An alert or an answer of TLS itself. If the kernel does not take it, the next
            // write sends it.
            let _ = self.flush(socket, Via::Runtime);
        }
        read
    }

    fn read_records(
        &mut self,
        socket: &PlainSocket,
        buffer: &mut impl BufMut,
    ) -> io::Result<usize> {
        let room = buffer.chunk_mut().len();
        if room == 0 {
            return Ok(0);
        }
        if !self.plain.is_empty() {
            let count = room.min(self.plain.len());
            buffer.put_slice(&self.plain.split_to(count));
            if self.plain.is_empty() {
                // An empty slice would keep the whole record in memory.
                self.plain = Bytes::new();
            }
            return Ok(count);
        }
        let mut count = 0;
        if starts_with_record(&self.incoming) {
            let mut records = std::mem::take(&mut self.incoming);
            count = self.decrypt(&mut records, buffer, room)?;
        }
        // A record of TLS itself has no bytes for the caller.
        while count == 0 {
            self.check()?;
            if self.is_peer_closed {
                return Ok(0);
            }
            count = self.receive(socket, buffer, room)?;
        }
        Ok(count)
    }

    /// Reads once from the socket, and decrypts.
    fn receive(
        &mut self,
        socket: &PlainSocket,
        buffer: &mut impl BufMut,
        room: usize,
    ) -> io::Result<usize> {
        INCOMING.with_borrow_mut(|records| {
            let (held, wanted) = (self.incoming.len(), read_bytes(room));
            if records.len() < held + wanted {
                records.resize(held + wanted, 0);
            }
            let space = records.get_mut(held..held + wanted).unwrap_or_default();
            let count = socket.try_read(space)?;
            if count == 0 {
                // As on a plain connection, the front end decides what is missing.
                self.is_peer_closed = true;
                self.incoming = Vec::new();
                return Ok(0);
            }
            let (beginning, _) = records.split_at_mut(held);
            beginning.copy_from_slice(&self.incoming);
            let records = records.get_mut(..held + count).unwrap_or_default();
            self.decrypt(records, buffer, room)
        })
    }

    /// Decrypts into the buffer until it is full, and keeps the rest of `records`.
    fn decrypt(
        &mut self,
        records: &mut [u8],
        buffer: &mut impl BufMut,
        room: usize,
    ) -> io::Result<usize> {
        let (mut consumed, mut count) = (0, 0);
        while count < room && self.failure.is_none() {
            let rest = records.get_mut(consumed..).unwrap_or_default();
            let status = self.connection.process_tls_records(rest);
            let mut plain = Received { buffer: &mut *buffer, room: room - count, rest: None };
            let (discard, step) = step(status, &mut plain, &mut self.outgoing, None);
            count = room - plain.room;
            if let Some(rest) = plain.rest {
                self.plain = rest.freeze();
            }
            consumed += discard;
            match step {
                Ok(Step::Done) => {}
                Ok(Step::Idle) => break,
                Ok(Step::PeerClosed) => self.is_peer_closed = true,
                Err(error) => self.fail(error),
            }
        }
        let rest = records.get(consumed..).unwrap_or_default();
        if rest.is_empty() || self.failure.is_some() {
            self.incoming = Vec::new();
        } else {
            self.incoming.clear();
            self.incoming.extend_from_slice(rest);
        }
        // Bytes that were decrypted before a failure still count.
        if count == 0 { self.check().map(|()| 0) } else { Ok(count) }
    }

    /// Notes a failure, and encodes the alert about it.
    fn fail(&mut self, error: rustls::Error) {
        self.failure = Some(error);
        let mut ignored = Received { buffer: &mut BytesMut::new(), room: 0, rest: None };
        let mut nothing = [];
        while let (_, Ok(Step::Done)) = step(
            self.connection.process_tls_records(&mut nothing),
            &mut ignored,
            &mut self.outgoing,
            None,
        ) {}
    }

    fn check(&self) -> io::Result<()> {
        match &self.failure {
            Some(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error.clone())),
            None => Ok(()),
        }
    }

    /// Encrypts and sends a batch of the slices' bytes.
    pub(super) fn write(
        &mut self,
        socket: &PlainSocket,
        slices: &[IoSlice<'_>],
        via: Via,
        accept: Accept,
    ) -> io::Result<usize> {
        self.flush(socket, via)?;
        let claimed = std::mem::take(&mut self.claimed);
        if claimed > 0 {
            let offered: usize = slices.iter().map(|slice| slice.len()).sum();
            if offered < claimed {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            #[cfg(debug_assertions)]
            assert_eq!(digest(slices, claimed), self.claimed_digest, "other bytes were written");
            return Ok(claimed);
        }
        self.check()?;
        OUTGOING.with_borrow_mut(|buffers| {
            let (count, bytes) = self.encrypt(slices, buffers)?;
            let ciphertext = buffers.ciphertext.get(..bytes).unwrap_or_default();
            let sent = send(socket, ciphertext, via)?;
            if sent == bytes {
                return Ok(count);
            }
            self.outgoing.extend_from_slice(ciphertext.get(sent..).unwrap_or_default());
            if accept == Accept::WhenEncrypted {
                return Ok(count);
            }
            self.claimed = count;
            #[cfg(debug_assertions)]
            {
                self.claimed_digest = digest(slices, count);
            }
            Err(io::ErrorKind::WouldBlock.into())
        })
    }

    /// Sends ciphertext that waits.
    ///
    /// # Errors
    /// `WouldBlock` if the kernel does not take all of it.
    pub(super) fn flush(&mut self, socket: &PlainSocket, via: Via) -> io::Result<()> {
        if self.outgoing.is_empty() {
            return Ok(());
        }
        let sent = send(socket, &self.outgoing, via)?;
        self.outgoing.advance(sent);
        if !self.outgoing.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.outgoing = BytesMut::new();
        Ok(())
    }

    /// Sends what waits and the last message of this side.
    ///
    /// # Errors
    /// `WouldBlock` if the kernel does not take all of it.
    pub(super) fn close_write(&mut self, socket: &PlainSocket) -> io::Result<()> {
        if !std::mem::replace(&mut self.is_closed, true) && self.failure.is_none() {
            OUTGOING.with_borrow_mut(|buffers| {
                let close = |traffic: &mut WriteTraffic<'_, _>, buffers: &mut Outgoing| {
                    buffers.encode(0, |space| traffic.queue_close_notify(space))
                };
                let bytes = self.with_keys(buffers, close)?;
                self.outgoing
                    .extend_from_slice(buffers.ciphertext.get(..bytes).unwrap_or_default());
                Ok::<_, io::Error>(())
            })?;
        }
        self.flush(socket, Via::Runtime)
    }

    /// Encrypts a batch; returns its plain bytes and the bytes of its ciphertext.
    fn encrypt(
        &mut self,
        slices: &[IoSlice<'_>],
        buffers: &mut Outgoing,
    ) -> io::Result<(usize, usize)> {
        self.with_keys(buffers, |traffic, buffers| buffers.encrypt(traffic, slices))
    }

    /// Calls `work` when the connection can send, which it can after its handshake.
    fn with_keys<R>(
        &mut self,
        buffers: &mut Outgoing,
        work: impl FnOnce(&mut WriteTraffic<'_, ServerData>, &mut Outgoing) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut records = std::mem::take(&mut self.incoming);
        let (mut consumed, mut result) = (0, None);
        let mut received = BytesMut::from(std::mem::take(&mut self.plain));
        let mut work = Some(work);
        while result.is_none() && self.failure.is_none() {
            let rest = records.get_mut(consumed..).unwrap_or_default();
            let status = self.connection.process_tls_records(rest);
            let mut ready = |traffic: &mut WriteTraffic<'_, ServerData>| {
                result = work.take().map(|work| work(traffic, buffers));
            };
            let mut plain = Received { buffer: &mut received, room: usize::MAX, rest: None };
            let (discard, step) = step(status, &mut plain, &mut self.outgoing, Some(&mut ready));
            consumed += discard;
            match step {
                Ok(Step::Done) => {}
                Ok(Step::Idle) => break,
                Ok(Step::PeerClosed) => self.is_peer_closed = true,
                Err(error) => self.fail(error),
            }
        }
        records.drain(..consumed.min(records.len()));
        self.incoming = records;
        self.plain = received.freeze();
        match result {
            Some(result) => result,
            None => self.check().and(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

/// A digest of the first `count` bytes.
#[cfg(debug_assertions)]
fn digest(slices: &[IoSlice<'_>], mut count: usize) -> u64 {
    use std::hash::Hasher as _;
    let mut hasher = std::hash::DefaultHasher::new();
    for byte in slices.iter().flat_map(|slice| slice.iter()) {
        if count == 0 {
            break;
        }
        hasher.write_u8(*byte);
        count -= 1;
    }
    hasher.finish()
}
