//! [`ConsumerCursor`]: the cursor that a consumer has taken over, and the positions that it
//! commits.
//!
//! ```text
//! open ───▶ take over: get, then set the same position on the version ─▶ a version of our own
//! commit ─▶ wanted position ─▶ task: set on our version ─▶ outcome ─▶ Commit::position
//!                                │  412: another version ─▶ cursor_taken, for good
//!                                └─ no answer ─▶ set the same position again on the same version
//! ```
//!
//! Invariant: a commit succeeds only while nobody else has changed the cursor since it was taken
//! over, and the stored position never moves backwards.

mod take_over;
mod task;

pub(super) use take_over::{Opened, TakeOver};

use std::fmt;
use std::sync::Arc;

use styx_protocol::CursorInfo;
use tokio::sync::watch;

use self::task::CommitTask;
use crate::client::Client;
use crate::error::Error;
use crate::logs::CursorPlace;
use crate::process::{ForgetInChild, Process};

/// The last requested commit.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    /// The number of the request; 0 is the position at which the cursor was taken over.
    number: u64,
    position: u64,
}

/// The results of the requests.
#[derive(Debug, Clone)]
struct Outcome {
    /// Requests up to this number are durable.
    done: u64,
    /// The stored position.
    position: u64,
    /// The last request that was given up, and why. Later ones may succeed.
    failed: Option<(u64, Error)>,
    /// Why no request can succeed any more.
    lost: Option<Error>,
}

/// See the module.
pub(super) struct ConsumerCursor {
    process: Process,
    wanted: ForgetInChild<watch::Sender<Wanted>>,
    outcome: ForgetInChild<watch::Receiver<Outcome>>,
}

/// A commit of a consumer: a position that is being stored in its cursor.
/// [`Consumer::commit`](super::Consumer::commit) returns it.
///
/// Wait for it, poll it or drop it: the commit takes place in any case. It may outlive its
/// consumer, and may be used from any thread and any number of times.
#[derive(Clone)]
pub struct Commit {
    number: u64,
    process: Process,
    outcome: ForgetInChild<watch::Receiver<Outcome>>,
}

impl ConsumerCursor {
    /// Starts the task that stores positions in a cursor that was taken over.
    pub(super) fn start(client: &Client, place: CursorPlace, taken: &CursorInfo) -> ConsumerCursor {
        let process = client.runtime().process();
        let position = taken.position;
        let (wanted, requests) = watch::channel(Wanted { number: 0, position });
        let first = Outcome { done: 0, position, failed: None, lost: None };
        let (results, outcome) = watch::channel(first);
        let task = CommitTask::new(Arc::clone(client.transport()), place, taken);
        drop(client.runtime().spawn(task.run(requests, results)));
        ConsumerCursor {
            process,
            wanted: ForgetInChild::new(process, wanted),
            outcome: ForgetInChild::new(process, outcome),
        }
    }

    /// Requests that the position is stored, unless one at or after it was requested before.
    pub(super) fn commit(&self, position: u64) -> Result<Commit, Error> {
        self.process.check()?;
        let failed = {
            let outcome = self.outcome.borrow();
            if let Some(lost) = &outcome.lost {
                return Err(lost.clone());
            }
            outcome.failed.as_ref().map(|(number, _)| *number)
        };
        self.wanted.send_if_modified(|wanted| {
            let is_new = position > wanted.position || failed == Some(wanted.number);
            if is_new {
                wanted.position = wanted.position.max(position);
                wanted.number += 1;
            }
            is_new
        });
        let number = self.wanted.borrow().number;
        Ok(Commit { number, process: self.process, outcome: self.outcome.clone() })
    }

    /// Waits until the requested commits are done or were given up.
    pub(super) async fn finish(self) {
        let ConsumerCursor { wanted, mut outcome, .. } = self;
        // The task ends after the last request.
        drop(wanted);
        while outcome.changed().await.is_ok() {}
    }
}

impl Commit {
    /// Waits until the position is durable, and returns the stored position. This is the
    /// committed one, or a later one if the consumer has committed more meanwhile.
    ///
    /// Cancel safe: dropping the future stops the waiting, not the commit.
    ///
    /// # Errors
    /// - `cursor_taken`: another consumer has taken the cursor over, or it was set or deleted.
    ///   The position was not stored, or it was stored and replaced before its answer arrived.
    ///   Later commits fail too.
    /// - `log_changed`, `log_not_found`: the log was truncated or deleted.
    /// - `timed_out`: the position was not stored within the client's
    ///   [timeout](crate::client::Builder::timeout). It may be stored all the same. A later
    ///   commit tries again.
    /// - `closed`, if the client ended first; `forked`; and other errors of the server.
    pub async fn position(&self) -> Result<u64, Error> {
        self.process.check()?;
        let mut outcome = self.outcome.clone();
        loop {
            if let Some(result) = self.look(&outcome.borrow_and_update()) {
                return result;
            }
            if outcome.changed().await.is_err() {
                // The last outcome may have come together with the end.
                let last = self.look(&outcome.borrow());
                return last
                    .unwrap_or_else(|| Err(Error::closed("client").with_maybe_appended(true)));
            }
        }
    }

    /// The result of [`position`](Self::position), if it is known already.
    #[must_use]
    pub fn try_position(&self) -> Option<Result<u64, Error>> {
        match self.process.check() {
            Ok(()) => self.look(&self.outcome.borrow()),
            Err(error) => Some(Err(error)),
        }
    }

    fn look(&self, outcome: &Outcome) -> Option<Result<u64, Error>> {
        if outcome.done >= self.number {
            return Some(Ok(outcome.position));
        }
        if let Some(lost) = &outcome.lost {
            return Some(Err(lost.clone()));
        }
        let failed = outcome.failed.as_ref().filter(|(number, _)| *number >= self.number);
        failed.map(|(_, error)| Err(error.clone()))
    }
}

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commit").field("number", &self.number).finish_non_exhaustive()
    }
}

/// The error for a commit of a consumer without a cursor.
pub(super) fn no_cursor() -> Error {
    Error::invalid_argument(
        "this consumer has no cursor: name one before it is opened, or store its checkpoint",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn calls_in_a_forked_child_fail_instead_of_waiting() {
        let process = Process::of_a_parent();
        let (wanted, _requests) = watch::channel(Wanted { number: 0, position: 0 });
        let first = Outcome { done: 0, position: 0, failed: None, lost: None };
        let (_results, outcome) = watch::channel(first);
        let outcome = ForgetInChild::new(process, outcome);
        let commit = Commit { number: 1, process, outcome: outcome.clone() };
        let cursor =
            ConsumerCursor { process, wanted: ForgetInChild::new(process, wanted), outcome };
        assert_eq!(cursor.commit(1).expect_err("forked").kind(), Kind::Forked);
        let waited = crate::wait::block_on(commit.position());
        assert_eq!(waited.expect_err("forked").kind(), Kind::Forked);
        let polled = commit.try_position().expect("an answer");
        assert_eq!(polled.expect_err("forked").kind(), Kind::Forked);
    }
}
