//! [`CompletionQueue`]: how a language binding learns what the core has done,
//! without a thread of the core ever touching that language.
//!
//! ```text
//! core threads                                          the binding's thread
//! Ticket::complete ─┐                                 ┌─▶ drain: completions in bulk
//! Ticket::complete ─┼─▶ queue ─▶ descriptor readable ─┤    token → promise, future, …
//! Source::ready    ─┘                                 └   (epoll, asyncio, libuv, poll)
//! any thread, signal handler: wakeup ─▶ descriptor readable
//! ```
//!
//! A binding makes one queue, gives each call a [`Ticket`] with a token of its
//! own, and watches one descriptor. It is readable exactly while something is
//! in the queue, and so is made for level-triggered watching: `epoll` without
//! `EPOLLET`, asyncio's `add_reader`, `uv_poll`. However many completions come
//! between two drains, the descriptor becomes readable once.
//!
//! Invariant: bounded, and nothing is lost. A place in the queue is taken when
//! the ticket is made, so that completing never waits and never fails; a
//! ticket that is dropped completes as `closed`.

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
use ticket::Armed;
pub use ticket::{Source, Ticket};

use crate::{Error, Kind};

/// What became of one call.
#[derive(Debug, Clone)]
pub struct Completion {
    /// The token that the call's [`Ticket`] or [`Source`] was made with.
    pub token: u64,
    /// What it gave.
    pub result: Result<Outcome, Error>,
}

/// What a call gave, if it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Records are durable; the first one's position.
    Position(u64),
    /// A flush or a close is done.
    Done,
    /// A [`Source`] has something: take from it until it has nothing left.
    Ready,
}

/// What a [`drain`](CompletionQueue::drain) found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Drained {
    /// How many completions.
    pub completions: usize,
    /// Whether [`wakeup`](CompletionQueue::wakeup) was called since the last
    /// drain.
    pub woken: bool,
}

/// A bounded queue of completions and the descriptor that tells of them. See
/// the module. Cloning shares it; all methods can be called from any thread.
#[derive(Debug, Clone)]
pub struct CompletionQueue {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Raised while `queue` has something, under its lock, or `woken` is set.
    signal: Signal,
    woken: AtomicBool,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Entry>,
    /// Tickets that are out and their completions that wait.
    places_taken: usize,
}

#[derive(Debug)]
enum Entry {
    Once(Completion),
    Ready(Arc<Armed>),
}

impl CompletionQueue {
    /// A queue in which up to `capacity` calls can be under way or wait to be
    /// drained.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new(capacity: usize) -> io::Result<CompletionQueue> {
        let shared = Shared {
            queue: Mutex::default(),
            signal: Signal::new()?,
            woken: AtomicBool::new(false),
            capacity,
        };
        Ok(CompletionQueue { shared: Arc::new(shared) })
    }

    /// A place in the queue for one call.
    ///
    /// # Errors
    /// `would_block` when all places are taken: drain, then try again.
    pub fn ticket(&self, token: u64) -> Result<Ticket, Error> {
        let mut queue = self.shared.lock();
        if queue.places_taken >= self.shared.capacity {
            let message = format!("{} calls are under way", self.shared.capacity);
            return Err(Error::new(Kind::WouldBlock, message));
        }
        queue.places_taken += 1;
        Ok(Ticket::new(token, Arc::clone(&self.shared)))
    }

    /// For something that becomes ready again and again, such as a consumer.
    /// It takes at most one place at a time, besides those of the tickets.
    #[must_use]
    pub fn source(&self, token: u64) -> Source {
        Source::new(token, Arc::clone(&self.shared))
    }

    /// Moves up to `max` completions to the end of `into`, in the order in
    /// which they came. Never waits. With [`Drained::woken`] it takes the
    /// wake-up too.
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
                Entry::Ready(armed) => armed.told(),
            });
        }
        queue.places_taken -= places;
        if queue.waiting.is_empty() {
            self.shared.signal.lower();
        }
        // After the signal was lowered: a wake-up whose signal went with it is
        // seen here. One that comes between is told of here and leaves the
        // signal raised, for one empty drain.
        let woken = self.shared.woken.swap(false, Ordering::SeqCst);
        Drained { completions, woken }
    }

    /// Makes the descriptor readable, and the next [`drain`](Self::drain) say
    /// so. Takes no lock and allocates nothing: a signal handler may call it.
    pub fn wakeup(&self) {
        if !self.shared.woken.swap(true, Ordering::SeqCst) {
            self.shared.signal.raise();
        }
    }

    /// Waits until there is something to drain, at most so long; says whether
    /// there is. A signal handler that ran ends the wait early. For bindings
    /// without an event loop, which wait in slices and look for signals between.
    #[must_use]
    pub fn wait(&self, at_most: Duration) -> bool {
        readable(self.as_fd(), Some(at_most))
    }
}

impl AsFd for CompletionQueue {
    /// The descriptor to watch for reading. Never read from it or close it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.signal.as_fd()
    }
}

impl AsRawFd for CompletionQueue {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Shared {
    /// Nothing panics under this lock, and what it guards is whole between any
    /// two statements: a poisoned one is used all the same.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, entry: Entry) {
        let mut queue = self.lock();
        if queue.waiting.is_empty() {
            // Under the lock, or a drain could come between. It never waits.
            self.signal.raise();
        }
        queue.waiting.push_back(entry);
    }
}

/// Waits until the descriptor can be read, at most so long (`None`: however
/// long); says whether it can. An interrupting signal ends the wait.
pub(crate) fn readable(fd: BorrowedFd<'_>, at_most: Option<Duration>) -> bool {
    // A longer time than the system knows is no limit.
    let timeout = at_most.and_then(|at_most| Timespec::try_from(at_most).ok());
    let mut watched = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    matches!(poll(&mut watched, timeout.as_ref()), Ok(1..))
}
