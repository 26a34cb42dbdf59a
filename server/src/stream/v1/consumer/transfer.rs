//! [`Transfer`]: sends a part of a file to a socket, inside the kernel or encrypted.
//!
//! ```text
//! run, on a blocking thread: sendfile ──────▶ socket full ─▶ a short wait ─▶ still full: return
//!                     TLS: read, encrypt ─▶
//! ```
//!
//! It needs a blocking thread because the file may have to be read from the disk.

use std::io;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::sendfile;
use rustix::io::{Errno, pread};
use tokio::io::Interest;

use crate::session::Span;
use crate::transport::{PlainSocket, Tls, Transport};

/// How long the thread waits for a full socket, in nanoseconds.
const PATIENCE_NS: i64 = 5_000_000;
/// Bytes of the file that are read at a time to encrypt them.
const PIECE_BYTES: usize = 256 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Transfer {
    span: Span,
    transport: Arc<Transport>,
    sent: u64,
}

impl Transfer {
    /// Will send `span` to `transport`.
    pub(super) fn new(span: Span, transport: Arc<Transport>) -> Transfer {
        Transfer { span, transport, sent: 0 }
    }

    /// Whether everything was sent.
    pub(super) fn is_done(&self) -> bool {
        self.sent >= self.span.len()
    }

    /// Sends until everything is sent or the socket accepts nothing for 5 ms. May
    /// wait for the disk.
    ///
    /// # Errors
    /// The connection is gone, or the file has become shorter.
    pub(super) fn run(&mut self) -> io::Result<()> {
        let transport = Arc::clone(&self.transport);
        match &*transport {
            Transport::Plain(socket) => self.send_in_kernel(socket),
            Transport::Tls(tls) => self.send_encrypted(tls),
        }
    }

    fn send_in_kernel(&mut self, socket: &PlainSocket) -> io::Result<()> {
        while !self.is_done() {
            let mut offset = self.span.offset() + self.sent;
            let left = usize::try_from(self.span.len() - self.sent).unwrap_or(usize::MAX);
            match sendfile(socket, &self.span, Some(&mut offset), left) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(sent) => self.sent += sent as u64,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if takes_more(socket, PATIENCE_NS)? => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads the file in pieces, and encrypts them on this thread. Nothing of a piece is
    /// kept while the socket is full: it is read again.
    fn send_encrypted(&mut self, tls: &Tls) -> io::Result<()> {
        let mut piece = vec![0; PIECE_BYTES];
        while !self.is_done() {
            let left = usize::try_from(self.span.len() - self.sent).unwrap_or(usize::MAX);
            let space = piece.get_mut(..left.min(PIECE_BYTES)).unwrap_or_default();
            let mut rest = match pread(&self.span, &mut *space, self.span.offset() + self.sent) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => piece.get(..read).unwrap_or_default(),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            while !rest.is_empty() {
                match tls.write_on_thread(rest) {
                    Ok(count) => {
                        self.sent += count as u64;
                        rest = rest.get(count..).unwrap_or_default();
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        if !takes_more(tls.socket(), PATIENCE_NS)? {
                            return Ok(());
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

/// Resolves when a full socket accepts bytes again. Cancel safe.
///
/// # Errors
/// The connection is gone.
pub(super) async fn takes_something(transport: &Transport) -> io::Result<()> {
    let socket = transport.socket();
    loop {
        socket.writable().await?;
        // The runtime's knowledge of the socket is older than the transfer.
        let looked = socket.try_io(Interest::WRITABLE, || match takes_more(socket, 0)? {
            true => Ok(()),
            false => Err(io::ErrorKind::WouldBlock.into()),
        });
        match looked {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            looked => return looked,
        }
    }
}

/// Whether the socket accepts bytes now or within this time.
fn takes_more(socket: &PlainSocket, at_most_ns: i64) -> io::Result<bool> {
    let mut sockets = [PollFd::new(socket, PollFlags::OUT)];
    let time = Timespec { tv_sec: 0, tv_nsec: at_most_ns };
    Ok(poll(&mut sockets, Some(&time))? > 0)
}
