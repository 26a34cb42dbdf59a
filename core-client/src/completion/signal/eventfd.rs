//! A signal based on an eventfd: a counter in the kernel, with one descriptor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

/// See the parent module.
#[derive(Debug)]
pub(crate) struct EventfdSignal(OwnedFd);

impl EventfdSignal {
    /// A signal that is not raised.
    ///
    /// # Errors
    /// The system has no free descriptor.
    pub(crate) fn new() -> io::Result<EventfdSignal> {
        Ok(EventfdSignal(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Makes the descriptor readable. It is a single write, so a signal handler may call
    /// it.
    pub(crate) fn raise(&self) {
        // It only fails if the counter is at its maximum, so the signal is raised.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Makes the descriptor unreadable.
    pub(crate) fn lower(&self) {
        // It only fails if the counter is 0, so the signal is lowered.
        let _ = rustix::io::read(&self.0, &mut [0u8; 8]);
    }
}

impl AsFd for EventfdSignal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
