//! [`TakeOver`]: makes a cursor that of a new consumer.
//!
//! The cursor gets a new version at the same position, so the consumer that used it until now
//! cannot commit any more. A lost answer needs no care here: taking the cursor over once more has
//! the same effect.

use std::sync::Arc;

use styx_protocol::cursor::NewPosition;
use styx_protocol::{Checkpoint, Code, CursorInfo};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::error::Error;
use crate::logs::{CursorCondition, CursorPlace};
use crate::transport::Transport;

/// See the module.
#[derive(Debug, Clone)]
pub(in crate::consumer) struct TakeOver {
    transport: Arc<Transport>,
    place: CursorPlace,
    end: Instant,
}

/// The result of an attempt to create a cursor.
#[derive(Debug)]
pub(in crate::consumer) enum Opened {
    /// The cursor is ours.
    Taken(CursorInfo),
    /// Somebody else has created the cursor, or a lost request of ours has: take it over.
    Exists,
}

impl TakeOver {
    /// Begins the call timeout.
    pub(in crate::consumer) fn new(transport: Arc<Transport>, place: CursorPlace) -> TakeOver {
        let end = Instant::now() + transport.options().call_timeout;
        TakeOver { transport, place, end }
    }

    /// Takes over an existing cursor; `None` if there is none.
    pub(in crate::consumer) async fn existing(self) -> Result<Option<CursorInfo>, Error> {
        let mut backoff = Backoff::random();
        loop {
            let Some(found) = self.place.get(&self.transport).await? else { return Ok(None) };
            let to = NewPosition { position: found.position, log_id: Some(found.log_id) };
            match self.set(to, CursorCondition::Version(found.version)).await {
                Ok(taken) => return Ok(Some(taken)),
                // Somebody else was faster.
                Err(error) if error.is(Code::CursorTaken) => {
                    self.pause(&mut backoff, error).await?
                }
                Err(error) => self.pause_if_retriable(&mut backoff, error).await?,
            }
        }
    }

    /// Creates a cursor that did not exist.
    pub(in crate::consumer) async fn create(self, at: Checkpoint) -> Result<Opened, Error> {
        let to = NewPosition { position: at.next.0, log_id: Some(at.log_id) };
        match self.set(to, CursorCondition::Absent).await {
            Ok(taken) => Ok(Opened::Taken(taken)),
            Err(error) if error.is(Code::CursorTaken) => Ok(Opened::Exists),
            Err(error) => {
                self.pause_if_retriable(&mut Backoff::random(), error).await?;
                Ok(Opened::Exists)
            }
        }
    }

    async fn set(&self, to: NewPosition, condition: CursorCondition) -> Result<CursorInfo, Error> {
        let setting = self.place.set(&self.transport, to, condition);
        tokio::time::timeout_at(self.end, setting)
            .await
            .unwrap_or_else(|_| Err(self.transport.too_late(self.transport.options().call_timeout)))
    }

    async fn pause_if_retriable(&self, backoff: &mut Backoff, error: Error) -> Result<(), Error> {
        match error.is_retriable() && self.transport.options().retry {
            true => self.pause(backoff, error).await,
            false => Err(error),
        }
    }

    /// Waits before the next attempt. If that would be too late, returns the error.
    async fn pause(&self, backoff: &mut Backoff, error: Error) -> Result<(), Error> {
        let wait = backoff.next(error.facts().retry_after);
        if self.end.saturating_duration_since(Instant::now()) <= wait {
            return Err(error);
        }
        tokio::time::sleep(wait).await;
        self.transport.counts().retried();
        Ok(())
    }
}
