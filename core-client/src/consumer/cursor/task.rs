//! [`CommitTask`]: stores the wanted positions of a consumer in its cursor, one at a time and
//! always the newest one.
//!
//! An attempt without an answer may have stored its position. Until that is known, the task sets
//! the same position again on the same version. If the first attempt was carried out, the server
//! answers 412 with the cursor's state: our position, and our version as the replaced one. Another
//! consumer's takeover replaces a version too, but either not ours, or with a position that we have
//! not sent. So the task can tell its own change from a takeover, however often connections break.

use std::sync::Arc;
use std::time::Duration;

use styx_protocol::cursor::NewPosition;
use styx_protocol::{Code, CursorInfo, LogId};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Outcome, Wanted};
use crate::backoff::Backoff;
use crate::error::{Error, Kind};
use crate::logs::{CursorCondition, CursorPlace};
use crate::runtime::catch_panic;
use crate::transport::Transport;

/// See the module.
pub(super) struct CommitTask {
    transport: Arc<Transport>,
    place: CursorPlace,
    log_id: LogId,
    /// The stored position, and the version that stands for our ownership.
    position: u64,
    version: u64,
    /// A position that was sent on this version, with an unknown outcome.
    unresolved: Option<u64>,
}

impl CommitTask {
    pub(super) fn new(
        transport: Arc<Transport>,
        place: CursorPlace,
        taken: &CursorInfo,
    ) -> CommitTask {
        CommitTask {
            transport,
            place,
            log_id: taken.log_id,
            position: taken.position,
            version: taken.version,
            unresolved: None,
        }
    }

    /// Stores positions until the cursor is lost, or until the consumer is gone and its last
    /// request is done. After a panic, commits fail with its text.
    pub(super) async fn run(
        mut self,
        mut requests: watch::Receiver<Wanted>,
        results: watch::Sender<Outcome>,
    ) {
        if let Err(error) = catch_panic(self.store_all(&mut requests, &results)).await {
            results.send_modify(|outcome| outcome.lost = Some(error));
        }
    }

    /// # Errors
    /// Why no position can be stored any more.
    async fn store_all(
        &mut self,
        requests: &mut watch::Receiver<Wanted>,
        results: &watch::Sender<Outcome>,
    ) -> Result<(), Error> {
        while requests.changed().await.is_ok() {
            let wanted = *requests.borrow_and_update();
            match self.store(wanted.position).await {
                Ok(()) => results.send_modify(|outcome| {
                    (outcome.done, outcome.position) = (wanted.number, self.position);
                }),
                Err(error) if error.is_retriable() => {
                    results.send_modify(|outcome| outcome.failed = Some((wanted.number, error)));
                }
                Err(error) => {
                    tracing::debug!("a cursor was lost: {error}");
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Stores a position, within the call timeout.
    async fn store(&mut self, target: u64) -> Result<(), Error> {
        let timeout = self.transport.options().call_timeout;
        let end = Instant::now() + timeout;
        let mut backoff = Backoff::random();
        while self.position < target {
            let position = *self.unresolved.get_or_insert(target);
            let error = match self.attempt(position, timeout / 3).await {
                Ok(stored) => {
                    self.stored(stored.position, stored.version);
                    continue;
                }
                Err(error) => error,
            };
            if let Some(version) = own_version(&error, self.version, position) {
                self.stored(position, version);
                continue;
            }
            if error.is(Code::CursorTaken) {
                return Err(taken(&self.place, &error));
            }
            if !error.is_retriable() {
                return Err(error);
            }
            let wait = backoff.next(error.facts().retry_after);
            if end.saturating_duration_since(Instant::now()) <= wait {
                let text = format!(
                    "the cursor {} was not stored within {timeout:?}; the last attempt failed: {error}",
                    self.place.cursor
                );
                return Err(Error::new(Kind::TimedOut, text).with_maybe_appended(true));
            }
            tokio::time::sleep(wait).await;
            self.transport.counts().retried();
        }
        Ok(())
    }

    async fn attempt(&self, position: u64, timeout: Duration) -> Result<CursorInfo, Error> {
        let to = NewPosition { position, log_id: Some(self.log_id) };
        let condition = CursorCondition::Version(self.version);
        let setting = self.place.set(&self.transport, to, condition);
        tokio::time::timeout(timeout, setting).await.unwrap_or_else(|_| {
            let text = format!("{} did not respond within {timeout:?}", self.transport.address());
            Err(Error::new(Kind::TimedOut, text).with_maybe_appended(true))
        })
    }

    fn stored(&mut self, position: u64, version: u64) {
        (self.position, self.version, self.unresolved) = (position, version, None);
    }
}

/// The cursor's version, if the error shows that our change from this version to this position was
/// carried out.
fn own_version(error: &Error, version: u64, position: u64) -> Option<u64> {
    let facts = error.facts();
    let is_own = error.is(Code::CursorTaken)
        && facts.replaced_version == Some(version)
        && facts.position == Some(position);
    facts.version.filter(|_| is_own)
}

fn taken(place: &CursorPlace, error: &Error) -> Error {
    let text = format!(
        "another consumer has taken the cursor {} over, or it was set or deleted: stop, or open \
         the consumer again ({error})",
        place.cursor
    );
    Error::with_facts(Kind::Code(Code::CursorTaken), text, *error.facts())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Facts;

    fn refused(position: u64, version: u64, replaced: u64) -> Error {
        let facts = Facts {
            position: Some(position),
            version: Some(version),
            replaced_version: Some(replaced),
            ..Facts::default()
        };
        Error::with_facts(Kind::Code(Code::CursorTaken), "m", facts)
    }

    #[test]
    fn only_our_own_change_has_our_version_and_our_position() {
        let own = |error: &Error| own_version(error, 5, 20);
        assert_eq!(own(&refused(20, 9, 5)), Some(9));
        // A takeover of our version keeps the position before.
        assert_eq!(own(&refused(10, 9, 5)), None);
        // A takeover after our change was carried out.
        assert_eq!(own(&refused(20, 12, 9)), None);
        let deleted = Error::code_error(Code::CursorTaken, "m");
        assert_eq!(own(&deleted), None);
    }
}
