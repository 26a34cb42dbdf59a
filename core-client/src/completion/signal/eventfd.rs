//! A signal made of an eventfd: a counter in the kernel, one descriptor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

/// See the module above.
#[derive(Debug)]
pub(crate) struct Signal(OwnedFd);

impl Signal {
    /// A signal that is not raised.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn new() -> io::Result<Signal> {
        Ok(Signal(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Makes the descriptor readable. One write and nothing else: a signal
    /// handler may do it.
    pub(crate) fn raise(&self) {
        // It can fail only where the counter is at its largest: raised.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Makes the descriptor unreadable.
    pub(crate) fn lower(&self) {
        // It can fail only where the counter is 0: lowered.
        let _ = rustix::io::read(&self.0, &mut [0u8; 8]);
    }
}

impl AsFd for Signal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
