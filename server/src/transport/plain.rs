//! [`PlainSocket`]: a TCP or Unix socket, by the same interface.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::Shutdown as Side;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BufMut;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// See the module.
#[derive(Debug)]
pub(crate) enum PlainSocket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Calls the same method of whichever socket it is.
macro_rules! of_socket {
    ($socket:expr, $stream:ident => $call:expr) => {
        match $socket {
            PlainSocket::Tcp($stream) => $call,
            PlainSocket::Unix($stream) => $call,
        }
    };
}

impl PlainSocket {
    pub(super) async fn readable(&self) -> io::Result<()> {
        of_socket!(self, stream => stream.readable().await)
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        of_socket!(self, stream => stream.writable().await)
    }

    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_socket!(self, stream => stream.poll_read_ready(cx))
    }

    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_socket!(self, stream => stream.poll_write_ready(cx))
    }

    pub(super) fn try_read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        of_socket!(self, stream => stream.try_read(bytes))
    }

    pub(super) fn try_read_buf<B: BufMut>(&self, buffer: &mut B) -> io::Result<usize> {
        of_socket!(self, stream => stream.try_read_buf(buffer))
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        of_socket!(self, stream => stream.try_write(bytes))
    }

    pub(super) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        of_socket!(self, stream => stream.try_write_vectored(slices))
    }

    /// Tries an operation of the kernel, and notes its `WouldBlock` for the runtime.
    ///
    /// # Errors
    /// Those of the operation.
    pub(crate) fn try_io<R>(
        &self,
        interest: Interest,
        operation: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        of_socket!(self, stream => stream.try_io(interest, operation))
    }

    /// The error that the kernel has noted, such as a reset by the peer.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        of_socket!(self, stream => stream.take_error())
    }

    /// The options of the socket.
    pub(crate) fn options(&self) -> SockRef<'_> {
        SockRef::from(self)
    }

    /// The TCP socket, for what only TCP has.
    pub(crate) fn tcp(&self) -> Option<&TcpStream> {
        match self {
            PlainSocket::Tcp(stream) => Some(stream),
            PlainSocket::Unix(_) => None,
        }
    }

    pub(super) fn close_write(&self) -> io::Result<()> {
        self.options().shutdown(Side::Write)
    }

    /// Asks the kernel, because the runtime only knows what it was told.
    pub(super) fn has_unread(&self) -> bool {
        self.options().peek(&mut [MaybeUninit::uninit()]).is_ok()
    }
}

impl AsFd for PlainSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        of_socket!(self, stream => stream.as_fd())
    }
}

impl AsyncRead for PlainSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        of_socket!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for PlainSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        of_socket!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        of_socket!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_socket!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_socket!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::Transport;
    use super::*;

    #[tokio::test]
    async fn unix_socket_reads_writes_and_closes_like_a_tcp_socket() {
        let (ours, mut peer) = UnixStream::pair().expect("sockets");
        let transport = Transport::from(ours);
        assert!(!transport.has_unread());
        let blocked = transport.try_read(&mut [0; 9]).expect_err("nothing has arrived");
        assert_eq!(blocked.kind(), io::ErrorKind::WouldBlock);
        peer.write_all(b"from the peer").await.expect("write");
        transport.readable().await.expect("it is there");
        assert!(transport.has_unread());
        let mut received = Vec::new();
        assert_eq!(transport.try_read_buf(&mut received).expect("read"), 13);
        let slices = [IoSlice::new(b"to the "), IoSlice::new(b"peer")];
        transport.writable().await.expect("it is there");
        assert_eq!(transport.try_write_vectored(&slices).expect("write"), 11);
        transport.try_close_write().expect("it can");
        received.clear();
        peer.read_to_end(&mut received).await.expect("read");
        assert_eq!(received, b"to the peer");
        assert!(transport.socket().tcp().is_none());
    }
}
