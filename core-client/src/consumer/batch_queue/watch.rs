//! How others than the taking caller learn that a [`BatchQueue`] is readable: by its
//! descriptor, by a source of a completion queue, or on a thread that waits.
//!
//! ```text
//! change ─ under the lock ─▶ descriptor, waiting threads
//!        └ after it ───────▶ waker, source, ticket     News: they may run a caller's code
//! wakeup ─ without it ─────▶ woken, descriptor ─ Bell ─▶ deliver_wakeup ─▶ waker, source
//! ```
//! `wakeup` may be called in a signal handler, so it only sets a flag and writes to
//! descriptors. A thread of the client does the rest.
//!
//! Invariant: the descriptor is readable while the queue is. A wake-up that is raised
//! while another call takes it may leave the descriptor readable until the next call that
//! finds nothing.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::{BatchQueue, BatchQueueState};
#[cfg(unix)]
use crate::completion::Signal;
use crate::completion::{Outcome, Source, Ticket};
use crate::error::Error;

/// Notifications to deliver after the lock is released.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct News {
    waker: Option<Waker>,
    source: Option<Source>,
    ticket: Option<(Ticket, Result<Outcome, Error>)>,
}

impl News {
    /// Completes the ticket, if there is one.
    pub(super) fn complete(&mut self, ticket: Option<Ticket>, result: Result<Outcome, Error>) {
        if let Some(ticket) = ticket {
            self.ticket = Some((ticket, result));
        }
    }

    /// Notifies the source, even if the queue did not become readable.
    pub(super) fn tell_source(&mut self, state: &BatchQueueState) {
        self.source.clone_from(&state.source);
    }

    fn tell(self) {
        if let Some(waker) = self.waker {
            waker.wake();
        }
        if let Some((ticket, result)) = self.ticket {
            ticket.complete(result);
        }
        if let Some(source) = self.source {
            source.ready();
        }
    }
}

impl BatchQueue {
    /// Makes a waiting call, or the next call that would wait, return
    /// [`QueueItem::Woken`](super::QueueItem::Woken). Returns whether
    /// [`deliver_wakeup`](Self::deliver_wakeup) has to be called. Does nothing in a forked
    /// child.
    ///
    /// It takes no lock and allocates nothing, so a signal handler may call it.
    pub(in crate::consumer) fn wakeup(&self) -> bool {
        if !self.process.is_current() || self.woken.swap(true, Ordering::SeqCst) {
            return false;
        }
        #[cfg(unix)]
        if let Some(signal) = self.signal.get() {
            signal.raise();
        }
        true
    }

    /// Tells everything that waits of a wake-up, unless a call has already returned
    /// because of it.
    pub(in crate::consumer) fn deliver_wakeup(&self) {
        if !self.woken.load(Ordering::SeqCst) {
            return;
        }
        let news = {
            let mut state = self.lock();
            if !self.woken.load(Ordering::SeqCst) {
                return;
            }
            self.raise(&state);
            News { waker: state.waker.take(), source: state.source.clone(), ticket: None }
        };
        news.tell();
    }

    /// From now on, notifies `source` whenever the queue becomes readable. If it is
    /// readable already, it notifies `source` at once. In a forked child, where no call
    /// waits, it only does that.
    pub(crate) fn notify(&self, source: Source) {
        let is_readable = match self.lock_here() {
            Some(mut state) => {
                state.source = Some(source.clone());
                self.is_readable(&state)
            }
            None => true,
        };
        if is_readable {
            source.ready();
        }
    }

    /// Notifies the source, whether the queue is readable or not.
    pub(crate) fn tell_source(&self) {
        let source = self.lock_here().and_then(|state| state.source.clone());
        if let Some(source) = source {
            source.ready();
        }
    }

    /// The descriptor that is readable while the queue is.
    ///
    /// # Errors
    /// The system has no free descriptor; [`Kind::Forked`](crate::Kind::Forked).
    #[cfg(unix)]
    pub(crate) fn signal(&self) -> std::io::Result<&Signal> {
        self.process.check().map_err(std::io::Error::other)?;
        let state = self.lock();
        if let Some(signal) = self.signal.get() {
            return Ok(signal);
        }
        let signal = Signal::new()?;
        let signal = self.signal.get_or_init(|| signal);
        // Now that it is stored, later wake-ups raise it themselves.
        if self.is_readable(&state) {
            signal.raise();
        }
        Ok(signal)
    }

    /// Waits up to `at_most` until the queue is readable, and returns whether it is. In a
    /// forked child, where calls fail instead of waiting, it returns `true` at once.
    pub(in crate::consumer) fn wait(&self, at_most: Duration) -> bool {
        // A time that is too long for the clock means no limit.
        let end = Instant::now().checked_add(at_most);
        let Some(mut state) = self.lock_here() else { return true };
        state.waiting += 1;
        let is_readable = loop {
            if self.is_readable(&state) {
                break true;
            }
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            state = match left {
                None => self.readable.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => break false,
                Some(left) => {
                    let waited = self.readable.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        };
        state.waiting -= 1;
        is_readable
    }

    /// Changes the state, then tells the waiting caller and everything that watches.
    pub(super) fn change(&self, change: impl FnOnce(&mut BatchQueueState, &mut News)) {
        let mut news = News::default();
        {
            let mut state = self.lock();
            let had_item = state.has_item();
            change(&mut state, &mut news);
            match (had_item, state.has_item()) {
                (false, true) => {
                    self.raise(&state);
                    news.tell_source(&state);
                }
                (true, false) => self.lower_unless_readable(&state),
                _ => {}
            }
            news.waker = state.waker.take();
        }
        news.tell();
    }

    /// Makes the descriptor readable and wakes the threads in [`wait`](Self::wait).
    fn raise(&self, state: &BatchQueueState) {
        #[cfg(unix)]
        if let Some(signal) = self.signal.get() {
            signal.raise();
        }
        if state.waiting > 0 {
            self.readable.notify_all();
        }
    }

    /// Makes the descriptor unreadable if the queue is not readable. Called after every
    /// take, also after one that found nothing: a wake-up may have raised the descriptor
    /// after it was taken.
    pub(super) fn lower_unless_readable(&self, state: &BatchQueueState) {
        #[cfg(unix)]
        if let Some(signal) = self.signal.get().filter(|_| !state.has_item()) {
            signal.lower();
            // Looked at afterwards: a wake-up before this has been lowered, and one
            // after it raises the signal itself.
            if self.woken.load(Ordering::SeqCst) {
                signal.raise();
            }
        }
        #[cfg(not(unix))]
        let _ = state;
    }

    fn is_readable(&self, state: &BatchQueueState) -> bool {
        state.has_item() || self.woken.load(Ordering::SeqCst)
    }
}
