//! [`Quiet`]: a socket that never raises SIGPIPE.
//!
//! A write to a socket whose peer has gone raises SIGPIPE, which ends a program that does not
//! ignore it, such as most programs in C. The standard library prevents that for one buffer on
//! TCP only. This one sends everything with `MSG_NOSIGNAL`, so the write fails with
//! `BrokenPipe`.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// Other systems have no such flag for one write.
#[cfg(target_os = "linux")]
const FLAGS: SendFlags = SendFlags::NOSIGNAL;
#[cfg(not(target_os = "linux"))]
const FLAGS: SendFlags = SendFlags::empty();

/// The most buffers that the kernel takes at once (IOV_MAX).
const SLICES_MAX: usize = 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Quiet<S>(pub(super) S);

/// The operations of both kinds of sockets.
pub(super) trait Writable: AsFd + AsyncRead + AsyncWrite + Unpin {
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Tries an operation that writes, and notes its `WouldBlock` for the runtime.
    fn try_write_io(&self, write: impl FnOnce() -> io::Result<usize>) -> io::Result<usize>;
}

macro_rules! writable {
    ($($socket:ty),*) => { $(
        impl Writable for $socket {
            fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_write_ready(cx)
            }

            fn try_write_io(
                &self,
                write: impl FnOnce() -> io::Result<usize>,
            ) -> io::Result<usize> {
                self.try_io(Interest::WRITABLE, write)
            }
        }
    )* };
}
writable!(TcpStream, UnixStream);

impl<S: Writable> AsyncRead for Quiet<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buffer)
    }
}

impl<S: Writable> AsyncWrite for Quiet<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = &self.0;
        let slices = slices.get(..SLICES_MAX).unwrap_or(slices);
        loop {
            ready!(socket.poll_writable(cx))?;
            let sent = socket.try_write_io(|| {
                let mut control = SendAncillaryBuffer::default();
                Ok(sendmsg(socket, slices, &mut control, FLAGS)?)
            });
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return Poll::Ready(sent),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}
