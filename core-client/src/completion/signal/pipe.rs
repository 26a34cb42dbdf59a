//! A signal made of a pipe, for systems without eventfd: two descriptors, and
//! raised while there is a byte in it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::ioctl_fionbio;

/// See the module above.
#[derive(Debug)]
pub(crate) struct Signal {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Signal {
    /// A signal that is not raised.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn new() -> io::Result<Signal> {
        let (reader, writer) = io::pipe()?;
        ioctl_fionbio(&reader, true)?;
        ioctl_fionbio(&writer, true)?;
        Ok(Signal { reader: reader.into(), writer: writer.into() })
    }

    /// Makes the descriptor readable. One write and nothing else: a signal
    /// handler may do it.
    pub(crate) fn raise(&self) {
        // It can fail only where the pipe is full: raised.
        let _ = rustix::io::write(&self.writer, &[1]);
    }

    /// Makes the descriptor unreadable.
    pub(crate) fn lower(&self) {
        let mut bytes = [0u8; 512];
        while rustix::io::read(&self.reader, &mut bytes).is_ok_and(|read| read > 0) {}
    }
}

impl AsFd for Signal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
