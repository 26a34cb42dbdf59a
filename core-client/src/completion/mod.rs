//! [`CompletionQueue`]: how a language binding learns that calls are done. The contract
//! is in [`bindings`](crate::bindings), which makes these types public.
//!
//! ```text
//! Ticket::complete ─┐
//! Source::ready    ─┼─▶ queue ─▶ descriptor readable, or notifier called ─▶ drain
//! wakeup           ─┘
//! ```
//!
//! Invariant: the queue is bounded and loses nothing. A ticket takes its place in the
//! queue when it is made, so completing it never waits and never fails. A ticket that
//! is dropped completes with `closed`.

mod announcer;
#[cfg(unix)]
mod descriptor;
#[cfg(unix)]
mod signal;
#[cfg(test)]
mod tests;
mod ticket;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use announcer::Announcer;
#[cfg(all(unix, test))]
pub(crate) use descriptor::readable;
#[cfg(unix)]
pub(crate) use signal::Signal;
use ticket::SourceState;
pub use ticket::{Source, Ticket};

use crate::process::{ForgetInChild, Process};
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
    /// Records are durable; this is the position of the first one. Of a commit, the position
    /// that the cursor has.
    Position(u64),
    /// A flush, a close or a seek is done.
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
/// any, or a function that is called when it has some again. Clones share the queue. All
/// methods may be called from any thread.
///
/// In a forked child, an inherited queue is empty and does nothing: make another one.
#[derive(Debug, Clone)]
pub struct CompletionQueue {
    shared: Arc<CompletionShared>,
}

#[derive(Debug)]
struct CompletionShared {
    queue: Mutex<Queue>,
    /// Raised while `queue` has an entry or `woken` is set. Changed under the lock of
    /// `queue`, except by `wakeup`.
    announcer: Announcer,
    woken: AtomicBool,
    capacity: usize,
    process: Process,
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
    /// A queue for hosts that have no use for a descriptor. It has space for up to
    /// `capacity` calls that are running or were not drained.
    ///
    /// `notifier` is called when the queue has something to drain again, and once for each
    /// wake-up: at most once between two drains that leave the queue empty. So after a
    /// call, drain until nothing is left. It may be called from any thread, also from
    /// several at a time and while a drain runs, and it may be called although nothing is
    /// left. No lock is held meanwhile, so it may call anything of this crate that does
    /// not wait. It must not wait or panic.
    pub fn with_notifier(
        capacity: usize,
        notifier: impl Fn() + Send + Sync + 'static,
    ) -> CompletionQueue {
        let notifier = ForgetInChild::new(Process::current(), Box::new(notifier) as _);
        let filled = Condvar::new();
        CompletionQueue::announced_by(Announcer::Notifier { notifier, filled }, capacity)
    }

    fn announced_by(announcer: Announcer, capacity: usize) -> CompletionQueue {
        let shared = CompletionShared {
            queue: Mutex::default(),
            announcer,
            woken: AtomicBool::new(false),
            capacity,
            process: Process::current(),
        };
        CompletionQueue { shared: Arc::new(shared) }
    }

    /// Reserves a place in the queue for one call.
    ///
    /// # Errors
    /// `would_block` if all places are taken: drain, then retry. `forked` in a forked
    /// child.
    pub fn ticket(&self, token: u64) -> Result<Ticket, Error> {
        self.shared.process.check()?;
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
        let Some(mut queue) = self.shared.lock_here() else {
            return Drained { completions: 0, woken: false };
        };
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
            self.shared.announcer.lower();
        }
        // Checked after the signal was lowered. A wake-up whose signal was lowered with
        // it is seen here. One that comes in between is seen here too, and leaves the
        // signal raised for one empty drain.
        let woken = self.shared.woken.swap(false, Ordering::SeqCst);
        Drained { completions, woken }
    }

    /// Makes the descriptor readable or calls the notifier, and sets [`Drained::woken`] of
    /// the next [`drain`](Self::drain).
    ///
    /// If the queue has a descriptor, a signal handler may call it: it takes no lock and
    /// allocates nothing. With a notifier it takes a lock.
    pub fn wakeup(&self) {
        let CompletionShared { announcer, woken, process, .. } = &*self.shared;
        if !process.is_current() || woken.swap(true, Ordering::SeqCst) {
            return;
        }
        match announcer {
            #[cfg(unix)]
            Announcer::Descriptor(_) => announcer.raise(),
            Announcer::Notifier { .. } => {
                let queue = self.shared.lock();
                announcer.raise();
                drop(queue);
                announcer.call();
            }
        }
    }

    /// Waits up to `at_most` until there is something to drain, and returns whether there
    /// is. If the queue has a descriptor, a signal handler that runs meanwhile ends the
    /// wait early. This is for bindings without an event loop, which wait in short slices
    /// and check for signals between them. In a forked child it returns `false` at once.
    #[must_use]
    pub fn wait(&self, at_most: Duration) -> bool {
        if !self.shared.process.is_current() {
            return false;
        }
        match &self.shared.announcer {
            #[cfg(unix)]
            Announcer::Descriptor(signal) => descriptor::readable(signal, Some(at_most)),
            Announcer::Notifier { filled, .. } => self.shared.wait(filled, at_most),
        }
    }
}

impl CompletionShared {
    /// No code panics under this lock, and the state is consistent between any two
    /// statements. So a poisoned lock can be used.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock; `None` in a forked child, where its holder may not exist.
    fn lock_here(&self) -> Option<MutexGuard<'_, Queue>> {
        self.process.is_current().then(|| self.lock())
    }

    fn push(&self, entry: Entry) {
        let Some(mut queue) = self.lock_here() else { return };
        let was_empty = queue.waiting.is_empty();
        if was_empty {
            // Under the lock, because otherwise a drain could happen in between. This
            // never waits.
            self.announcer.raise();
        }
        queue.waiting.push_back(entry);
        drop(queue);
        if was_empty {
            self.announcer.call();
        }
    }

    fn wait(&self, filled: &Condvar, at_most: Duration) -> bool {
        // A time that is too long for the clock means no limit.
        let end = Instant::now().checked_add(at_most);
        let mut queue = self.lock();
        loop {
            if !queue.waiting.is_empty() || self.woken.load(Ordering::SeqCst) {
                return true;
            }
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            queue = match left {
                None => filled.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return false,
                Some(left) => {
                    filled.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}
