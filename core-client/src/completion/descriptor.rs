//! The descriptor of a [`CompletionQueue`]. Only on Unix.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::announcer::Announcer;
use super::{CompletionQueue, Signal};

impl CompletionQueue {
    /// A queue with a descriptor, for up to `capacity` calls that are running or were not
    /// drained. Only on Unix.
    ///
    /// # Errors
    /// The system has no free descriptor.
    pub fn new(capacity: usize) -> io::Result<CompletionQueue> {
        let signal = Signal::new()?;
        Ok(CompletionQueue::announced_by(Announcer::Descriptor(signal), capacity))
    }
}

impl AsFd for CompletionQueue {
    /// The descriptor to watch. Never read from it or close it.
    ///
    /// # Panics
    /// If the queue was made [with a notifier](CompletionQueue::with_notifier).
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.shared.announcer {
            Announcer::Descriptor(signal) => signal.as_fd(),
            Announcer::Notifier { .. } => panic!("a queue with a notifier has no descriptor"),
        }
    }
}

impl AsRawFd for CompletionQueue {
    /// As [`as_fd`](Self::as_fd).
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// Waits up to `at_most` (`None`: without limit) until the descriptor is readable, and
/// returns whether it is. A signal ends the wait early.
pub(crate) fn readable(fd: &impl AsFd, at_most: Option<Duration>) -> bool {
    // A duration that the system cannot represent means no limit.
    let timeout = at_most.and_then(|at_most| Timespec::try_from(at_most).ok());
    let mut watched = [PollFd::new(fd, PollFlags::IN)];
    matches!(poll(&mut watched, timeout.as_ref()), Ok(1..))
}
