//! [`ReadAfterWriteError`]: a socket that can still be read after a write has failed.
//!
//! A server that rejects a long body responds in the middle of it and closes the
//! connection. Later writes fail, while the response is still to be read. hyper gives up
//! at the failed write. So this socket discards that write and all later ones and
//! reports success. Then hyper reads the response, or the end of the connection.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Socket;

/// See the module.
#[derive(Debug)]
pub(super) struct ReadAfterWriteError {
    socket: Socket,
    /// A part of a request was sent, and nothing was received since.
    request_started: bool,
    /// A write has failed: later ones are discarded.
    writes_fail: bool,
}

impl ReadAfterWriteError {
    pub(super) fn new(socket: Socket) -> ReadAfterWriteError {
        ReadAfterWriteError { socket, request_started: false, writes_fail: false }
    }

    pub(super) fn into_inner(self) -> Socket {
        self.socket
    }

    /// The result of a write of `len` bytes.
    fn written(&mut self, len: usize, written: io::Result<usize>) -> io::Result<usize> {
        match written {
            Err(error) if self.request_started && is_closed_by_peer(&error) => {
                self.writes_fail = true;
                Ok(len)
            }
            written => {
                self.request_started |= written.is_ok();
                written
            }
        }
    }
}

fn is_closed_by_peer(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionReset | ConnectionAborted)
}

impl AsyncRead for ReadAfterWriteError {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.socket).poll_read(cx, buffer);
        if buffer.filled().len() > before && !this.writes_fail {
            this.request_started = false;
        }
        read
    }
}

impl AsyncWrite for ReadAfterWriteError {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.writes_fail {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut this.socket).poll_write(cx, bytes);
        written.map(|written| this.written(bytes.len(), written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let len = slices.iter().map(|slice| slice.len()).sum();
        if this.writes_fail {
            return Poll::Ready(Ok(len));
        }
        let written = Pin::new(&mut this.socket).poll_write_vectored(cx, slices);
        written.map(|written| this.written(len, written))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.writes_fail {
            Poll::Ready(Ok(()))
        } else {
            Pin::new(&mut this.socket).poll_flush(cx)
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}
