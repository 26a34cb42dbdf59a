//! [`Deaf`]: a socket whose peer may stop listening and still have something to
//! say.
//!
//! A server that refuses a long body answers in the middle of it and closes:
//! what is written from then on fails, while its answer waits to be read. hyper
//! gives up at the failed write, so here that write, and all that follow, go
//! nowhere and succeed; the answer, or the end of the connection, is what counts.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Socket;

/// See the module.
#[derive(Debug)]
pub(super) struct Deaf {
    socket: Socket,
    /// Part of a request went out, and nothing came since.
    has_said: bool,
    is_deaf: bool,
}

impl Deaf {
    pub(super) fn new(socket: Socket) -> Deaf {
        Deaf { socket, has_said: false, is_deaf: false }
    }

    pub(super) fn into_inner(self) -> Socket {
        self.socket
    }

    /// What becomes of a write of `len` bytes.
    fn heard(&mut self, len: usize, written: io::Result<usize>) -> io::Result<usize> {
        match written {
            Err(error) if self.has_said && is_of_the_peer(&error) => {
                self.is_deaf = true;
                Ok(len)
            }
            written => {
                self.has_said |= written.is_ok();
                written
            }
        }
    }
}

fn is_of_the_peer(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionReset | ConnectionAborted)
}

impl AsyncRead for Deaf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.socket).poll_read(cx, buffer);
        if buffer.filled().len() > before && !this.is_deaf {
            this.has_said = false;
        }
        read
    }
}

impl AsyncWrite for Deaf {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_deaf {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut this.socket).poll_write(cx, bytes);
        written.map(|written| this.heard(bytes.len(), written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let len = slices.iter().map(|slice| slice.len()).sum();
        if this.is_deaf {
            return Poll::Ready(Ok(len));
        }
        let written = Pin::new(&mut this.socket).poll_write_vectored(cx, slices);
        written.map(|written| this.heard(len, written))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_deaf { Poll::Ready(Ok(())) } else { Pin::new(&mut this.socket).poll_flush(cx) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}
