//! [`CompletionQueue`]: how a language binding learns that calls are done. The contract
//! is in [`bindings`](crate::bindings), which makes these types public.
//!
//! ```text
//! Ticket::complete ─┐
//! Source::ready    ─┼─▶ queue ─▶ descriptor readable ─▶ drain
//! wakeup           ─┘
//! ```
//!
//! Invariant: the queue is bounded and loses nothing. A ticket takes its place in the
//! queue when it is made, so completing it never waits and never fails. A ticket that
//! is dropped completes with `closed`.

mod signal;
#[cfg(test)]
mod tests;
mod ticket;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

pub(crate) use signal::Signal;
use ticket::SourceState;
pub use ticket::{Source, Ticket};

use crate::{Error, Kind};

/// The result of one call.
#[derive(Debug, Clone)]
pub struct Completion {
    /// The token of the call's [`Ticket`] or [`Source`].
    pub token: u64,
    /// The result.
    pub result: Result<Outcome, Error>,
}

/// The result of a call that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Records are durable; this is the position of the first one.
    Position(u64),
    /// A flush or a close is done.
    Done,
    /// A [`Source`] has something new: take until nothing is left.
    Ready,
}

/// What [`drain`](CompletionQueue::drain) found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Drained {
    /// The number of completions.
    pub completions: usize,
    /// Whether [`wakeup`](CompletionQueue::wakeup) was called since the last
    /// drain.
    pub woken: bool,
}

/// A bounded queue of completions, and a descriptor that is readable while the queue has
/// any. Clones share the queue. All methods may be called from any thread.
#[derive(Debug, Clone)]
pub struct CompletionQueue {
    shared: Arc<CompletionShared>,
}

#[derive(Debug)]
struct CompletionShared {
    queue: Mutex<Queue>,
    /// Raised while `queue` has an entry or `woken` is set. Changed under the lock of
    /// `queue`, except by `wakeup`.
    signal: Signal,
    woken: AtomicBool,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Entry>,
    /// Open tickets, and completions of tickets that were not drained.
    places_taken: usize,
}

#[derive(Debug)]
enum Entry {
    Once(Completion),
    Ready(Arc<SourceState>),
}

impl CompletionQueue {
    /// A queue for up to `capacity` calls that are running or were not drained.
    ///
    /// # Errors
    /// The system has no free descriptor.
    pub fn new(capacity: usize) -> io::Result<CompletionQueue> {
        let shared = CompletionShared {
            queue: Mutex::default(),
            signal: Signal::new()?,
            woken: AtomicBool::new(false),
            capacity,
        };
        Ok(CompletionQueue { shared: Arc::new(shared) })
    }

    /// Reserves a place in the queue for one call.
    ///
    /// # Errors
    /// `would_block` if all places are taken: drain, then retry.
    pub fn ticket(&self, token: u64) -> Result<Ticket, Error> {
        let mut queue = self.shared.lock();
        if queue.places_taken >= self.shared.capacity {
            let message = format!(
                "all {} places of the completion queue are taken: drain it first",
                self.shared.capacity
            );
            return Err(Error::new(Kind::WouldBlock, message));
        }
        queue.places_taken += 1;
        Ok(Ticket::new(token, Arc::clone(&self.shared)))
    }

    /// A source for repeated notifications, such as those of a consumer. It has at most
    /// one entry in the queue at a time, in addition to the capacity for tickets.
    #[must_use]
    pub fn source(&self, token: u64) -> Source {
        Source::new(token, Arc::clone(&self.shared))
    }

    /// Moves up to `max` completions to the end of `into`, in the order in which they were
    /// queued. Never waits. It also takes a wake-up; see [`Drained::woken`].
    pub fn drain(&self, max: usize, into: &mut Vec<Completion>) -> Drained {
        let mut queue = self.shared.lock();
        let completions = queue.waiting.len().min(max);
        into.reserve(completions);
        let mut places = 0;
        for entry in queue.waiting.drain(..completions) {
            into.push(match entry {
                Entry::Once(completion) => {
                    places += 1;
                    completion
                }
                Entry::Ready(state) => state.take(),
            });
        }
        queue.places_taken -= places;
        if queue.waiting.is_empty() {
            self.shared.signal.lower();
        }
        // Checked after the signal was lowered. A wake-up whose signal was lowered with
        // it is seen here. One that comes in between is seen here too, and leaves the
        // signal raised for one empty drain.
        let woken = self.shared.woken.swap(false, Ordering::SeqCst);
        Drained { completions, woken }
    }

    /// Makes the descriptor readable and sets [`Drained::woken`] of the next
    /// [`drain`](Self::drain). It takes no lock and allocates nothing, so a signal
    /// handler may call it.
    pub fn wakeup(&self) {
        if !self.shared.woken.swap(true, Ordering::SeqCst) {
            self.shared.signal.raise();
        }
    }

    /// Waits up to `at_most` until there is something to drain, and returns whether there
    /// is. A signal handler that runs meanwhile ends the wait early. This is for bindings
    /// without an event loop, which wait in short slices and check for signals between
    /// them.
    #[must_use]
    pub fn wait(&self, at_most: Duration) -> bool {
        readable(self.as_fd(), Some(at_most))
    }
}

impl AsFd for CompletionQueue {
    /// The descriptor to watch. Never read from it or close it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.signal.as_fd()
    }
}

impl AsRawFd for CompletionQueue {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl CompletionShared {
    /// No code panics under this lock, and the state is consistent between any two
    /// statements. So a poisoned lock can be used.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, entry: Entry) {
        let mut queue = self.lock();
        if queue.waiting.is_empty() {
            // Under the lock, because otherwise a drain could happen in between. This
            // never waits.
            self.signal.raise();
        }
        queue.waiting.push_back(entry);
    }
}

/// Waits up to `at_most` (`None`: without limit) until the descriptor is readable, and
/// returns whether it is. A signal ends the wait early.
pub(crate) fn readable(fd: BorrowedFd<'_>, at_most: Option<Duration>) -> bool {
    // A duration that the system cannot represent means no limit.
    let timeout = at_most.and_then(|at_most| Timespec::try_from(at_most).ok());
    let mut watched = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    matches!(poll(&mut watched, timeout.as_ref()), Ok(1..))
}
