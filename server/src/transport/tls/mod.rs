//! [`Tls`]: an encrypted byte stream over a socket, by the same interface as the socket.
//!
//! ```text
//! front end ─▶ try_write ─ encrypt ─▶ records ─▶ socket
//! front end ◀─ try_read ── decrypt ◀─ records ◀─ socket
//! ```
//!
//! The records are encrypted and decrypted in buffers of the thread. A connection keeps
//! only what the kernel did not take, and the part of a record that has arrived: an idle
//! one keeps nothing, others at most one batch and one record.
//!
//! Invariant: a write is accepted when the kernel has its whole ciphertext. Until then
//! it answers `WouldBlock`, and the caller writes the same bytes again.

mod handshake;
mod outgoing;
mod records;
mod session;
#[cfg(test)]
mod tests;

use std::io::{self, IoSlice};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::BufMut;

use super::PlainSocket;
pub(crate) use handshake::{HandshakeError, begins_tls, handshake};
use outgoing::Via;
use session::Accept;
pub(super) use session::Session;

/// See the module.
#[derive(Debug)]
pub(crate) struct Tls {
    socket: PlainSocket,
    /// Locked for one operation at a time. Only a thread that sends a file shares it.
    session: Mutex<Session>,
}

impl Tls {
    /// Continues after a handshake on this socket.
    pub(crate) fn new(socket: PlainSocket, session: Session) -> Tls {
        Tls { socket, session: Mutex::new(session) }
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The socket below.
    pub(crate) fn socket(&self) -> &PlainSocket {
        &self.socket
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        if self.session().has_input() {
            return Ok(());
        }
        self.socket.readable().await
    }

    pub(super) fn try_read_buf(&self, buffer: &mut impl BufMut) -> io::Result<usize> {
        self.session().read(&self.socket, buffer)
    }

    pub(super) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.session().write(&self.socket, slices, Via::Runtime, Accept::WhenSent)
    }

    /// As `try_write`, on a thread that is not the runtime's.
    ///
    /// # Errors
    /// As `try_write`.
    pub(crate) fn write_on_thread(&self, bytes: &[u8]) -> io::Result<usize> {
        let slices = [IoSlice::new(bytes)];
        self.session().write(&self.socket, &slices, Via::Kernel, Accept::WhenSent)
    }

    pub(super) fn try_close_write(&self) -> io::Result<()> {
        self.session().close_write(&self.socket)?;
        self.socket.close_write()
    }

    pub(super) fn has_unread(&self) -> bool {
        self.session().has_input() || self.socket.has_unread()
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut impl BufMut,
    ) -> Poll<io::Result<()>> {
        let Tls { socket, session } = self;
        let session = session.get_mut().unwrap_or_else(PoisonError::into_inner);
        loop {
            match session.read(socket, buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(socket.poll_read_ready(cx))?;
                }
                read => return Poll::Ready(read.map(drop)),
            }
        }
    }

    /// Accepts bytes before the kernel has their ciphertext; [`poll_flush`](Self::poll_flush)
    /// sends it.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Tls { socket, session } = self;
        let session = session.get_mut().unwrap_or_else(PoisonError::into_inner);
        loop {
            match session.write(socket, slices, Via::Runtime, Accept::WhenEncrypted) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(socket.poll_write_ready(cx))?;
                }
                written => return Poll::Ready(written),
            }
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_sent(cx, |session, socket| session.flush(socket, Via::Runtime))
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_sent(cx, Session::close_write))?;
        Poll::Ready(self.socket.close_write())
    }

    fn poll_sent(
        &mut self,
        cx: &mut Context<'_>,
        mut send: impl FnMut(&mut Session, &PlainSocket) -> io::Result<()>,
    ) -> Poll<io::Result<()>> {
        let Tls { socket, session } = self;
        let session = session.get_mut().unwrap_or_else(PoisonError::into_inner);
        loop {
            match send(session, socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(socket.poll_write_ready(cx))?;
                }
                sent => return Poll::Ready(sent),
            }
        }
    }
}
