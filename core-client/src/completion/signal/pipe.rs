//! A signal based on a pipe, for systems without eventfd. It needs two descriptors, and
//! is raised while the pipe contains a byte.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::ioctl_fionbio;

/// See the parent module.
#[derive(Debug)]
pub(crate) struct PipeSignal {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl PipeSignal {
    /// A signal that is not raised.
    ///
    /// # Errors
    /// The system has no free descriptor.
    pub(crate) fn new() -> io::Result<PipeSignal> {
        let (reader, writer) = io::pipe()?;
        ioctl_fionbio(&reader, true)?;
        ioctl_fionbio(&writer, true)?;
        Ok(PipeSignal { reader: reader.into(), writer: writer.into() })
    }

    /// Makes the descriptor readable. It is a single write, so a signal handler may call
    /// it.
    pub(crate) fn raise(&self) {
        // It only fails if the pipe is full, so the signal is raised.
        let _ = rustix::io::write(&self.writer, &[1]);
    }

    /// Makes the descriptor unreadable.
    pub(crate) fn lower(&self) {
        let mut bytes = [0u8; 512];
        while rustix::io::read(&self.reader, &mut bytes).is_ok_and(|read| read > 0) {}
    }
}

impl AsFd for PipeSignal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
