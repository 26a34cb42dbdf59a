//! A consumer's events.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::Source;
use crate::consumer::Consumer;

/// For language bindings: see [`bindings`](crate::bindings).
impl Consumer {
    /// From now on, notifies `source` whenever a call no longer has to wait. It replaces
    /// an earlier source. After a notification, call
    /// [`try_next_batch`](Self::try_next_batch) until it returns nothing.
    ///
    /// If a call would not have to wait now, it notifies `source` at once.
    pub fn notify(&self, source: Source) {
        self.queue().notify(source);
    }

    /// A descriptor that is readable exactly while a batch, the end of the read or a
    /// wake-up can be taken without waiting. It is for level-triggered watching; never
    /// read from it or close it. The first call creates it.
    ///
    /// # Errors
    /// The system has no free descriptor.
    pub fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        self.queue().signal().map(AsFd::as_fd)
    }
}
