//! A consumer's events.

#[cfg(unix)]
use std::io;
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};

use super::{Outcome, Source, Ticket};
use crate::consumer::{Consumer, Start};

/// For language bindings: see [`bindings`](crate::bindings).
impl Consumer {
    /// From now on, notifies `source` whenever a call no longer has to wait, and when a
    /// [`seek`](Self::seek) or [`seek_to`](Self::seek_to) has taken place or failed. It
    /// replaces an earlier source. After a notification, call
    /// [`try_next_batch`](Self::try_next_batch) until it returns nothing.
    ///
    /// If a call would not have to wait now, it notifies `source` at once.
    pub fn notify(&self, source: Source) {
        self.queue().notify(source);
    }

    /// A descriptor that is readable exactly while a batch, the end of the read, an error
    /// or a wake-up can be taken without waiting. It is for level-triggered watching;
    /// never read from it or close it. The first call creates it. Only on Unix.
    ///
    /// Records that were given back, and the rest of a batch of which
    /// [`next_record`](Self::next_record) has returned a part, count too.
    ///
    /// # Errors
    /// The system has no free descriptor, or this is a forked child.
    #[cfg(unix)]
    pub fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        self.queue().signal().map(AsFd::as_fd)
    }

    /// As [`seek`](Self::seek), but returns at once. The ticket completes with
    /// [`Outcome::Done`] when the seek has taken place, or with the
    /// error that `seek` returns. Either also notifies the source of
    /// [`notify`](Self::notify).
    ///
    /// Calls in between wait for records of the new place. If another seek replaces this
    /// one, or the consumer is closed, the ticket completes with `closed`.
    pub fn seek_to(&mut self, start: impl Into<Start>, ticket: Ticket) {
        let mut ticket = Some(ticket);
        let result = self.begin_seek(start.into(), &mut ticket);
        if let (Err(error), Some(ticket)) = (result, ticket) {
            ticket.complete(Err(error));
            self.queue().tell_source();
        }
    }

    /// As [`commit`](Self::commit), but tells the ticket when the position is stored. It
    /// completes with [`Outcome::Position`] and the stored position,
    /// which is a later one if the consumer has committed more meanwhile. Otherwise it completes
    /// with the error of `commit` or of [`Commit::position`](crate::consumer::Commit::position).
    pub fn commit_to(&mut self, ticket: Ticket) {
        match self.commit() {
            Ok(commit) => self
                .client()
                .complete(ticket, async move { commit.position().await.map(Outcome::Position) }),
            Err(error) => ticket.complete(Err(error)),
        }
    }
}
