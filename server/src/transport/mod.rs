//! [`Transport`]: the byte stream below HTTP and the other front ends.
//!
//! ```text
//! HTTP (hyper)     ─ AsyncRead, AsyncWrite ──────────┐
//! styx/0, styx/1,  ─ readable, writable, try_read, … ┴▶ Transport ─▶ TCP or Unix socket
//! WebSocket                                              └▶ Tls ─▶ TCP or Unix socket
//! ```
//!
//! Invariant: a write is accepted only when the kernel has all of it, so a front end
//! that has nothing left to write has sent everything. The plain path costs one match,
//! and an idle connection holds no buffer.

mod connection_info;
mod plain;
mod tls;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

pub(crate) use connection_info::{ConnectionInfo, PeerAddress};
pub(crate) use plain::PlainSocket;
pub(crate) use tls::{HandshakeError, Tls, begins_tls, handshake};

/// A connection's byte stream. All operations of the readiness interface take `&self`;
/// one task reads and writes.
#[derive(Debug)]
pub(crate) enum Transport {
    /// Bytes as the peer sends them.
    Plain(PlainSocket),
    /// Encrypted. Boxed, so that a plain connection is small.
    Tls(Box<Tls>),
}

impl From<TcpStream> for Transport {
    fn from(stream: TcpStream) -> Transport {
        Transport::Plain(PlainSocket::Tcp(stream))
    }
}

impl From<UnixStream> for Transport {
    fn from(stream: UnixStream) -> Transport {
        Transport::Plain(PlainSocket::Unix(stream))
    }
}

impl Transport {
    /// Resolves when a read may return something: bytes, the end, or an error. Cancel
    /// safe.
    ///
    /// # Errors
    /// The connection is gone.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Transport::Plain(socket) => socket.readable().await,
            Transport::Tls(tls) => tls.readable().await,
        }
    }

    /// Resolves when a write may accept something. Cancel safe.
    ///
    /// # Errors
    /// The connection is gone.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Transport::Plain(socket) => socket.writable().await,
            Transport::Tls(tls) => tls.socket().writable().await,
        }
    }

    /// Reads what has arrived; 0 bytes mean that the peer has closed its sending side.
    ///
    /// # Errors
    /// `WouldBlock` if nothing has arrived; another error if the connection is gone.
    pub(crate) fn try_read(&self, mut bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(socket) => socket.try_read(bytes),
            Transport::Tls(tls) => tls.try_read_buf(&mut bytes),
        }
    }

    /// As [`try_read`](Self::try_read), to the end of a buffer.
    ///
    /// # Errors
    /// As [`try_read`](Self::try_read).
    pub(crate) fn try_read_buf<B: BufMut>(&self, buffer: &mut B) -> io::Result<usize> {
        match self {
            Transport::Plain(socket) => socket.try_read_buf(buffer),
            Transport::Tls(tls) => tls.try_read_buf(buffer),
        }
    }

    /// Writes as much as the kernel takes now. After `WouldBlock`, the caller must write
    /// the same bytes again, possibly followed by others.
    ///
    /// # Errors
    /// `WouldBlock` if it takes nothing; another error if the connection is gone.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Plain(socket) => socket.try_write(bytes),
            Transport::Tls(tls) => tls.try_write_vectored(&[IoSlice::new(bytes)]),
        }
    }

    /// As [`try_write`](Self::try_write), for several slices in a row.
    ///
    /// # Errors
    /// As [`try_write`](Self::try_write).
    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Transport::Plain(socket) => socket.try_write_vectored(slices),
            Transport::Tls(tls) => tls.try_write_vectored(slices),
        }
    }

    /// Closes the sending side.
    ///
    /// # Errors
    /// `WouldBlock` if the end cannot be sent yet: call it again when the transport is
    /// writable. Another error if the connection is gone.
    pub(crate) fn try_close_write(&self) -> io::Result<()> {
        match self {
            Transport::Plain(socket) => socket.close_write(),
            Transport::Tls(tls) => tls.try_close_write(),
        }
    }

    /// Sends a few bytes on a connection that nobody has used yet, without waiting.
    /// They may be lost.
    pub(crate) fn send_blindly(&self, bytes: &[u8]) {
        // Not `try_write`: tokio does not know yet that a new socket is writable.
        match self {
            Transport::Plain(socket) => drop(socket.options().send(bytes)),
            Transport::Tls(tls) => drop(tls.write_on_thread(bytes)),
        }
    }

    /// Whether the peer has sent something that nobody has read, or has closed its
    /// sending side.
    pub(crate) fn has_unread(&self) -> bool {
        match self {
            Transport::Plain(socket) => socket.has_unread(),
            Transport::Tls(tls) => tls.has_unread(),
        }
    }

    /// The socket below.
    pub(crate) fn socket(&self) -> &PlainSocket {
        match self {
            Transport::Plain(socket) => socket,
            Transport::Tls(tls) => tls.socket(),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Transport::Tls(tls) => tls.poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Transport::Tls(tls) => tls.poll_write(cx, &[IoSlice::new(bytes)]),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Transport::Tls(tls) => tls.poll_write(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Transport::Tls(tls) => tls.poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Transport::Tls(tls) => tls.poll_shutdown(cx),
        }
    }
}
